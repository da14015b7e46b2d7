#include "agent/guardian.h"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "base/beside.h"
#include "base/clock.h"

namespace squall {
namespace {

constexpr char kProgram[] = "squall-guardian";
constexpr absl::Duration kBetweenBeats = absl::Milliseconds(100);
constexpr int64_t kSilentNs = 2'000'000'000;
constexpr int64_t kAnnouncedWithinNs = 1'000'000'000;
constexpr absl::Duration kBetweenLooks = absl::Milliseconds(1);

}  // namespace

absl::StatusOr<std::unique_ptr<Guardian>> Guardian::Start(Options options) {
  std::unique_ptr<Guardian> guardian(new Guardian(std::move(options)));
  {
    absl::MutexLock lock(&guardian->mutex_);
    const absl::Status status = guardian->Spawn();
    if (!status.ok()) return status;
  }
  guardian->watcher_ = std::thread([raw = guardian.get()] { raw->Watch(); });
  return guardian;
}

absl::Status Guardian::Spawn() {
  const absl::StatusOr<std::string> program = FindBeside(kProgram);
  if (!program.ok()) {
    return absl::NotFoundError(
        absl::StrCat(program.status().message(), "; it undoes faults when the agent is killed, and has to be installed with it"));
  }
  int ends[2];
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0) return absl::ErrnoToStatus(errno, "cannot make a socket pair");
  Fd ours(ends[0]), theirs(ends[1]);
  std::vector<std::string> words = {kProgram, absl::StrCat(getpid()), options_.journal};
  words.insert(words.end(), options_.again.begin(), options_.again.end());
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, theirs.get(), 0);  // its standard input is the socket
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  sigset_t none;
  sigemptyset(&none);
  posix_spawnattr_setsigmask(&attributes, &none);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSID);
  pid_t pid = 0;
  const int error = posix_spawn(&pid, program->c_str(), &actions, &attributes, argv.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  posix_spawnattr_destroy(&attributes);
  if (error != 0) return absl::ErrnoToStatus(error, absl::StrCat("cannot start ", *program));
  socket_ = std::move(ours);
  pid_ = pid;
  answered_ns_ = BootNanos();
  known_expires_ns_ = 0;
  return absl::OkStatus();
}

bool Guardian::Exchange(bool leaving) {
  const Beat beat = {options_.expires(), leaving};
  if (send(socket_.get(), &beat, sizeof(beat), MSG_DONTWAIT | MSG_NOSIGNAL) < 0 && errno != EAGAIN && errno != EINTR) return false;
  Beat answer;
  ssize_t size;
  while ((size = recv(socket_.get(), &answer, sizeof(answer), MSG_DONTWAIT)) > 0) {
    answered_ns_ = BootNanos();
    known_expires_ns_ = answer.expires_ns;
  }
  return size != 0 && BootNanos() - answered_ns_ < kSilentNs;
}

void Guardian::Announce() {
  const int64_t deadline = BootNanos() + kAnnouncedWithinNs;
  while (BootNanos() < deadline) {
    {
      absl::MutexLock lock(&mutex_);
      const int64_t expires_ns = options_.expires();
      if (Exchange(/*leaving=*/false) && expires_ns != 0 && known_expires_ns_ >= expires_ns) return;
    }
    absl::SleepFor(kBetweenLooks);
  }
}

void Guardian::Watch() {
  int64_t looked_ns = BootNanos();
  while (!stop_) {
    {
      absl::MutexLock lock(&mutex_);
      const int64_t now = BootNanos();
      // This process was stopped, or the machine stood still: that it heard nothing is no fault of the guardian's.
      if (now - looked_ns > kSilentNs / 2) answered_ns_ = now;
      looked_ns = now;
      if (!Exchange(/*leaving=*/false)) {
        options_.log(absl::StrCat("its guardian, pid ", pid_.load(), ", is gone or does not answer: replaced"));
        End();
        const absl::Status status = Spawn();
        if (!status.ok()) options_.log(absl::StrCat("NO GUARDIAN: ", status.message()));
      }
    }
    absl::SleepFor(kBetweenBeats);
  }
}

void Guardian::End() {
  socket_.Reset();
  if (pid_ == 0) return;
  kill(pid_, SIGKILL);
  waitpid(pid_, nullptr, 0);
  pid_ = 0;
}

Guardian::~Guardian() {
  stop_ = true;
  if (watcher_.joinable()) watcher_.join();
  absl::MutexLock lock(&mutex_);
  if (pid_ == 0) return;
  Exchange(/*leaving=*/true);
  socket_.Reset();
  // It has nothing to do and ends at once.
  const int64_t deadline = BootNanos() + kSilentNs;
  while (BootNanos() < deadline) {
    if (waitpid(pid_, nullptr, WNOHANG) != 0) return;
    absl::SleepFor(absl::Milliseconds(1));
  }
  End();
}

}  // namespace squall
