// squall-front: speaks to the network in squall-agent's place, without privileges. Started by squall-agent only (front.h), with the
// descriptors of front_wire.h and the number of listeners as its argument.

#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <pwd.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "agent/front_gate.h"
#include "agent/front_wire.h"
#include "base/fd.h"

namespace {

using squall::Fd;

constexpr int kBadUsage = 64;
constexpr int kFailed = 3;
constexpr rlim_t kMostConnections = 1024;
constexpr rlim_t kOtherFiles = 128;  // what is open besides: control, listeners, handshakes on their way out
[[maybe_unused]] constexpr rlim_t kMostMemory = 512 << 20;

#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SQUALL_SANITIZED
#endif
#endif

absl::Status Failed(const char* what) { return absl::ErrnoToStatus(errno, absl::StrCat("cannot ", what)); }

void Tell(squall::FrontSays what, const std::string& text) {
  squall::FromFront message = {};
  message.what = what;
  squall::SetText(message.text, text);
  (void)!send(squall::kFrontControl, &message, sizeof(message), MSG_NOSIGNAL);
}

std::string ReadAll(int fd) {
  const Fd file(fd);
  std::string text;
  char part[4096];
  ssize_t size;
  while ((size = read(fd, part, sizeof(part))) > 0) text.append(part, static_cast<size_t>(size));
  return text;
}

// A root of which there is nothing, and in which nothing can be made: a folder that is already removed.
bool EnterEmptyRoot() {
  char folder[] = "/tmp/squall-front-XXXXXX";
  if (mkdtemp(folder) == nullptr) return false;
  const bool inside = chdir(folder) == 0;
  rmdir(folder);
  return inside && chroot(".") == 0;
}

// `files` are allowed to be open at once. What cannot be had without them being lowered is lowered: none of it is needed here.
absl::Status LimitMyself(rlim_t files) {
  const auto limit = [](__rlimit_resource what, rlim_t most) {
    const rlimit both = {most, most};
    return setrlimit(what, &both) == 0;
  };
  bool good = limit(RLIMIT_NOFILE, files) && limit(RLIMIT_NPROC, 0) && limit(RLIMIT_FSIZE, 0) && limit(RLIMIT_CORE, 0) &&
              limit(RLIMIT_MEMLOCK, 0) && limit(RLIMIT_MSGQUEUE, 0);
#ifndef SQUALL_SANITIZED
  good = good && limit(RLIMIT_AS, kMostMemory);
#endif
  return good ? absl::OkStatus() : Failed("lower its limits");
}

absl::Status DropCapabilities() {
  prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
  __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct none[2] = {};
  return syscall(SYS_capset, &header, none) == 0 ? absl::OkStatus() : Failed("give up its capabilities");
}

// Gives up what it can; says what it runs as then.
absl::StatusOr<std::string> GiveUpPrivileges(rlim_t files) {
  std::string as = absl::StrCat("as uid ", getuid(), ", as the agent");
  if (geteuid() == 0) {
    const passwd* const entry = getpwnam("nobody");
    const uid_t uid = entry == nullptr ? 65534 : entry->pw_uid;
    const gid_t gid = entry == nullptr ? 65534 : entry->pw_gid;
    const bool empty_root = EnterEmptyRoot();
    for (int capability = 0; prctl(PR_CAPBSET_READ, capability, 0, 0, 0) >= 0; ++capability) {
      prctl(PR_CAPBSET_DROP, capability, 0, 0, 0);
    }
    if (setgroups(0, nullptr) != 0 || setresgid(gid, gid, gid) != 0 || setresuid(uid, uid, uid) != 0) return Failed("become nobody");
    if (setuid(0) == 0) return absl::InternalError("it could become root again");
    as = absl::StrCat("as nobody (uid ", uid, ")", empty_root ? ", in an empty root" : "");
  }
  const absl::Status dropped = DropCapabilities();
  if (!dropped.ok()) return dropped;
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return Failed("do without new privileges");
  // Others who run as nobody may not look into its memory, where the key is.
  prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
  const absl::Status limited = LimitMyself(files);
  if (!limited.ok()) return limited;
  return absl::StrCat(as, ", without capabilities");
}

absl::Status Serve(int listener_count) {
  close_range(static_cast<unsigned>(squall::kFrontListeners + listener_count), ~0u, 0);
  for (const int signal : {SIGINT, SIGTERM, SIGHUP, SIGPIPE}) ::signal(signal, SIG_IGN);  // it ends with the agent
  std::vector<Fd> listeners;
  for (int i = 0; i < listener_count; ++i) listeners.emplace_back(squall::kFrontListeners + i);
  const std::string cert = ReadAll(squall::kFrontCert);
  std::string key = ReadAll(squall::kFrontKey);
  const std::string ca = ReadAll(squall::kFrontCa);
  const absl::StatusOr<std::unique_ptr<squall::FrontGate>> gate = squall::FrontGate::Make(cert, key, ca);
  explicit_bzero(key.data(), key.size());
  if (!gate.ok()) return gate.status();

  rlimit now = {};
  getrlimit(RLIMIT_NOFILE, &now);
  const rlim_t files = std::min(now.rlim_max, 2 * kMostConnections + kOtherFiles);
  if (files < kOtherFiles + 2) return absl::ResourceExhaustedError("it may open too few files (ulimit -n)");
  const absl::StatusOr<std::string> as = GiveUpPrivileges(files);
  if (!as.ok()) return as.status();
  // After the change of user, which clears it. If the agent is gone already, its end of `control` is closed.
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  Tell(squall::FrontSays::kReady, *as);
  (*gate)->Serve(Fd(squall::kFrontControl), std::move(listeners), static_cast<size_t>(files - kOtherFiles) / 2);
  return absl::OkStatus();
}

}  // namespace

int main(int argc, char** argv) {
  struct stat control;
  int listeners = 0;
  if (argc != 2 || !absl::SimpleAtoi(argv[1], &listeners) || listeners < 1 || listeners > 64 ||
      fstat(squall::kFrontControl, &control) != 0 || !S_ISSOCK(control.st_mode)) {
    fprintf(stderr, "squall-front: squall-agent --listen=HOST:PORT starts this program; it does nothing by itself\n");
    return kBadUsage;
  }
  const absl::Status served = Serve(listeners);
  if (served.ok()) return 0;
  Tell(squall::FrontSays::kFailed, std::string(served.message()));
  return kFailed;
}
