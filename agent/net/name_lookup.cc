#include "agent/net/name_lookup.h"

#include <arpa/inet.h>
#include <ares.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <netdb.h>
#include <poll.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "absl/time/clock.h"
#include "agent/net/name_paths.h"
#include "agent/process/proc.h"
#include "base/clock.h"
#include "base/fd.h"

namespace squall {
namespace {

constexpr int kAskAgainAfterMs = 500;  // doubled with each round of c-ares
constexpr int kRounds = 4;
constexpr absl::Duration kLookEvery = absl::Milliseconds(20);  // whether it was cancelled

// A file of the process's root, where its links lead within that root.
Fd OpenInRoot(pid_t process, const char* path) {
  const std::string root = process == 0 ? "/" : absl::StrCat("/proc/", process, "/root");
  const Fd folder(open(root.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!folder) return Fd();
  open_how how = {};
  how.flags = O_RDONLY | O_CLOEXEC;
  how.resolve = RESOLVE_IN_ROOT;
  return Fd(static_cast<int>(syscall(SYS_openat2, folder.get(), path, &how, sizeof(how))));
}

std::string PathOf(const Fd& fd) { return absl::StrCat("/proc/self/fd/", fd.get()); }

std::string ReadInRoot(pid_t process, const char* path) {
  const Fd fd = OpenInRoot(process, path);
  return fd ? Slurp(PathOf(fd)) : "";
}

void AddNew(const Address& address, std::vector<Address>& to) {
  if (std::find(to.begin(), to.end(), address) == to.end()) to.push_back(address);
}

struct Outcome {
  bool over = false;
  int status = ARES_SUCCESS;
  FoundAddresses found;
};

void Take(void* out, int status, int, ares_addrinfo* answer) {
  Outcome& outcome = *static_cast<Outcome*>(out);
  outcome.over = true;
  outcome.status = status;
  outcome.found.ttl = absl::InfiniteDuration();
  for (const ares_addrinfo_node* node = answer == nullptr ? nullptr : answer->nodes; node != nullptr; node = node->ai_next) {
    sockaddr_storage storage = {};
    memcpy(&storage, node->ai_addr, std::min<size_t>(node->ai_addrlen, sizeof(storage)));
    Address address = FromSockaddr(storage);
    address.port = 0;
    AddNew(address, outcome.found.addresses);
    outcome.found.ttl = std::min(outcome.found.ttl, absl::Seconds(node->ai_ttl));
  }
  if (answer != nullptr) ares_freeaddrinfo(answer);
}

// One look-up with sockets of its own. REQUIRES: called inside the network namespace.
class Asking {
 public:
  Asking() = default;
  Asking(const Asking&) = delete;
  ~Asking() {
    if (channel_ != nullptr) ares_destroy(channel_);
  }

  absl::Status SetUp(const NameWays& ways) {
    static const int initialized = ares_library_init(ARES_LIB_INIT_ALL);
    if (initialized != ARES_SUCCESS) return absl::InternalError(ares_strerror(initialized));
    const Fd resolv_conf = OpenInRoot(ways.process, "etc/resolv.conf");
    // Where it is missing, a server on this host is asked, as the C library does.
    std::string path = resolv_conf ? PathOf(resolv_conf) : "/proc/self/fd/none";
    char lookups[] = "b";  // name servers only: c-ares knows no other hosts file than our own
    ares_options options = {};
    options.timeout = kAskAgainAfterMs;
    options.tries = kRounds;
    options.lookups = lookups;
    options.resolvconf_path = path.data();
    int status = ares_init_options(&channel_, &options,
                                   ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES | ARES_OPT_LOOKUPS | ARES_OPT_RESOLVCONF);
    if (status == ARES_SUCCESS && ways.nameserver) {
      status = ares_set_servers_ports_csv(channel_, ways.nameserver->ToString().c_str());
    }
    if (status == ARES_SUCCESS) return absl::OkStatus();
    return absl::InvalidArgumentError(absl::StrCat("no name server can be asked: ", ares_strerror(status)));
  }

  absl::StatusOr<FoundAddresses> Ask(const std::string& name, absl::Duration patience, const std::atomic<bool>& cancelled) {
    Outcome outcome;
    ares_addrinfo_hints hints = {};
    hints.ai_family = AF_UNSPEC;
    hints.ai_flags = ARES_AI_NOSORT;
    ares_getaddrinfo(channel_, name.c_str(), nullptr, &hints, &Take, &outcome);
    const int64_t until = BootNanos() + absl::ToInt64Nanoseconds(patience);
    while (!outcome.over) {
      if (cancelled || BootNanos() > until) {
        ares_cancel(channel_);
        return absl::UnavailableError("no name server answers");
      }
      Turn();
    }
    if (outcome.status == ARES_ENOTFOUND || outcome.status == ARES_ENODATA) return absl::NotFoundError("it has no address");
    if (outcome.status != ARES_SUCCESS) {
      return absl::UnavailableError(absl::StrCat("no name server says: ", ares_strerror(outcome.status)));
    }
    if (outcome.found.addresses.empty()) return absl::NotFoundError("it has no address");
    return outcome.found;
  }

 private:
  void Turn() {
    std::array<ares_socket_t, ARES_GETSOCK_MAXNUM> sockets;
    const int bits = ares_getsock(channel_, sockets.data(), static_cast<int>(sockets.size()));
    std::array<pollfd, ARES_GETSOCK_MAXNUM> polled;
    nfds_t count = 0;
    for (size_t i = 0; i < sockets.size(); ++i) {
      const int events = (ARES_GETSOCK_READABLE(bits, i) ? POLLIN : 0) | (ARES_GETSOCK_WRITABLE(bits, i) ? POLLOUT : 0);
      if (events != 0) polled[count++] = {sockets[i], static_cast<short>(events), 0};
    }
    timeval most = absl::ToTimeval(kLookEvery);
    timeval wait;
    const timeval* next = ares_timeout(channel_, &most, &wait);
    poll(polled.data(), count, static_cast<int>(next->tv_sec * 1000 + (next->tv_usec + 999) / 1000));
    // Also without a socket that is ready: what has waited for too long is asked again.
    ares_process_fd(channel_, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
    for (nfds_t i = 0; i < count; ++i) {
      const bool readable = (polled[i].revents & (POLLIN | POLLERR | POLLHUP)) != 0;
      const bool writable = (polled[i].revents & POLLOUT) != 0;
      ares_process_fd(channel_, readable ? polled[i].fd : ARES_SOCKET_BAD, writable ? polled[i].fd : ARES_SOCKET_BAD);
    }
  }

  ares_channel channel_ = nullptr;
};

}  // namespace

std::vector<Address> AddressesInHosts(absl::string_view hosts, absl::string_view name) {
  name = absl::StripSuffix(name, ".");
  std::vector<Address> addresses;
  for (const absl::string_view line : absl::StrSplit(hosts, '\n')) {
    const std::vector<std::string> words =
        absl::StrSplit(line.substr(0, line.find('#')), absl::ByAnyChar(" \t\r"), absl::SkipEmpty());
    const bool named = std::any_of(words.begin() + (words.empty() ? 0 : 1), words.end(), [&](const std::string& word) {
      return absl::EqualsIgnoreCase(absl::StripSuffix(word, "."), name);
    });
    if (!named) continue;
    Address address;
    if (inet_pton(AF_INET, words[0].c_str(), &address.ip.s6_addr[12]) == 1) {
      address.ip.s6_addr[10] = address.ip.s6_addr[11] = 0xff;
    } else if (inet_pton(AF_INET6, words[0].c_str(), &address.ip) != 1) {
      continue;
    }
    AddNew(address, addresses);
  }
  return addresses;
}

absl::StatusOr<FoundAddresses> LookUpName(const std::string& name, const NameWays& ways, const NetNamespace& ns,
                                          absl::Duration patience, const std::atomic<bool>& cancelled) {
  if (ways.process != 0 && access(absl::StrCat("/proc/", ways.process, "/root/.").c_str(), F_OK) != 0) {
    return absl::UnavailableError(absl::StrCat("process ", ways.process, ", which would look it up, is gone"));
  }
  const std::string hosts = ReadInRoot(ways.process, "etc/hosts");
  const NamePaths paths = ReadNamePaths(ReadInRoot(ways.process, "etc/nsswitch.conf"), hosts, "");
  const std::vector<Address> in_hosts = AddressesInHosts(hosts, name);
  if (!in_hosts.empty() && paths.files_first) return FoundAddresses{in_hosts, absl::ZeroDuration()};
  absl::StatusOr<FoundAddresses> found = absl::NotFoundError("");
  const absl::Status inside = ns.Inside([&] {
    Asking asking;
    const absl::Status ready = asking.SetUp(ways);
    if (ready.ok()) found = asking.Ask(name, patience, cancelled);
    return ready;
  });
  if (found.ok()) return found;
  if (!in_hosts.empty()) return FoundAddresses{in_hosts, absl::ZeroDuration()};
  return inside.ok() ? found.status() : inside;
}

}  // namespace squall
