#include "agent/listen.h"

#include <netdb.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <set>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"
#include "absl/time/clock.h"

namespace squall {
namespace {

template <typename... Args>
absl::Status Wrong(const Args&... args) {
  return absl::InvalidArgumentError(absl::StrCat(args...));
}

// A socket to which nobody listens any more, as one leaves who is killed.
bool IsAbandoned(const std::string& path, const struct stat& there) {
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  if (!S_ISSOCK(there.st_mode) || there.st_uid != geteuid() || path.size() >= sizeof(address.sun_path)) return false;
  path.copy(address.sun_path, path.size());
  const Fd fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  return fd && connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0 && errno == ECONNREFUSED;
}

absl::StatusOr<Listening> OnUnixSocket(const std::string& listen, const std::string& path) {
  struct stat there;
  if (path.empty()) return Wrong("unix: needs a path");
  if (lstat(path.c_str(), &there) == 0 && (!IsAbandoned(path, there) || unlink(path.c_str()) != 0)) {
    return Wrong("'", path, "' is there already: another agent serves it, or remove it");
  }
  return Listening{listen, grpc::InsecureServerCredentials(), std::nullopt, ""};
}

bool IsHostAndPort(absl::string_view listen) {
  const size_t colon = listen.rfind(':');
  int port = 0;
  return colon != absl::string_view::npos && colon > 0 && absl::SimpleAtoi(listen.substr(colon + 1), &port) && port >= 0 &&
         port <= 65535 && (listen.find(':') == colon || (listen[0] == '[' && listen[colon - 1] == ']'));
}

bool HasIpv6() { return static_cast<bool>(Fd(socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0))); }

// In the network's order.
in_port_t& PortOf(sockaddr& address) {
  return address.sa_family == AF_INET6 ? reinterpret_cast<sockaddr_in6&>(address).sin6_port
                                       : reinterpret_cast<sockaddr_in&>(address).sin_port;
}

// How long to wait for an address that is taken: that of an agent that has just been killed is freed when its front is gone too.
constexpr absl::Duration kTaken = absl::Seconds(1);

// With errno when it cannot.
Fd ListenOnce(const addrinfo& at, bool both_families) {
  Fd fd(socket(at.ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  const int on = 1, only_v6 = both_families ? 0 : 1;
  if (!fd || setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) != 0 ||
      (at.ai_family == AF_INET6 && setsockopt(fd.get(), IPPROTO_IPV6, IPV6_V6ONLY, &only_v6, sizeof(only_v6)) != 0) ||
      bind(fd.get(), at.ai_addr, at.ai_addrlen) != 0 || listen(fd.get(), SOMAXCONN) != 0) {
    const int error = errno;
    fd.Reset();
    errno = error;
  }
  return fd;
}

Fd ListenAt(const addrinfo& at, bool both_families) {
  const absl::Time deadline = absl::Now() + kTaken;
  for (;;) {
    Fd fd = ListenOnce(at, both_families);
    if (fd || errno != EADDRINUSE || absl::Now() > deadline) return fd;
    absl::SleepFor(absl::Milliseconds(20));
  }
}

}  // namespace

absl::StatusOr<Listening> PrepareToListen(const std::string& listen, const TlsPaths& tls) {
  const bool any = !tls.cert.empty() || !tls.key.empty() || !tls.ca.empty();
  absl::string_view path = listen;
  if (absl::ConsumePrefix(&path, "unix:")) {
    if (any) return Wrong("--cert, --key and --ca go with --listen=HOST:PORT; a unix socket needs none");
    return OnUnixSocket(listen, std::string(path));
  }
  if (tls.cert.empty() || tls.key.empty() || tls.ca.empty()) {
    return Wrong("'", listen, "': without --cert, --key and --ca, TCP is refused: anybody who reaches the port could inject "
                 "faults. squall certs makes them, or listen on unix:PATH");
  }
  if (!IsHostAndPort(listen)) {
    return Wrong("'", listen, "' is neither unix:PATH nor HOST:PORT; an IPv6 address stands in brackets");
  }
  absl::StatusOr<TlsIdentity> identity = LoadTlsIdentity(tls, TlsRole::kAgent);
  if (!identity.ok()) return identity.status();
  const std::string as = absl::StrCat(absl::StrJoin(identity->names, ", "), ", with a certificate until ",
                                      absl::FormatTime("%Y-%m-%d", identity->until, absl::UTCTimeZone()));
  return Listening{"", nullptr, *std::move(identity), as};
}

absl::StatusOr<TcpListeners> ListenOnTcp(const std::string& listen) {
  const size_t colon = listen.rfind(':');
  std::string host = listen.substr(0, colon);
  if (host.size() > 1 && host.front() == '[' && host.back() == ']') host = host.substr(1, host.size() - 2);
  addrinfo hints = {};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_PASSIVE | AI_NUMERICSERV;
  addrinfo* found = nullptr;
  const bool any = host == "0.0.0.0" || host == "::";
  if (any) host = HasIpv6() ? "::" : "0.0.0.0";
  const int error = getaddrinfo(host.c_str(), listen.substr(colon + 1).c_str(), &hints, &found);
  if (error != 0) return Wrong("cannot serve on ", listen, ": the name ", host, " is not known here: ", gai_strerror(error));
  const std::unique_ptr<addrinfo, FreedBy<freeaddrinfo>> addresses(found);
  TcpListeners listeners;
  std::set<std::string> seen;  // a hosts file may name an address twice
  int error_of_one = EADDRNOTAVAIL;
  for (const addrinfo* at = found; at != nullptr; at = at->ai_next) {
    if (!seen.emplace(reinterpret_cast<const char*>(at->ai_addr), at->ai_addrlen).second) continue;
    // Port 0 stands for the same one on all of them.
    if (!listeners.fds.empty()) PortOf(*at->ai_addr) = htons(static_cast<uint16_t>(listeners.port));
    Fd fd = ListenAt(*at, any);
    if (!fd) {
      error_of_one = errno;
      if (errno == EADDRNOTAVAIL || errno == EAFNOSUPPORT) continue;  // a family that this host does not have
      listeners.fds.clear();
      break;
    }
    sockaddr_storage bound = {};
    socklen_t size = sizeof(bound);
    getsockname(fd.get(), reinterpret_cast<sockaddr*>(&bound), &size);
    listeners.port = ntohs(PortOf(reinterpret_cast<sockaddr&>(bound)));
    listeners.fds.push_back(std::move(fd));
  }
  if (!listeners.fds.empty()) return listeners;
  return absl::ErrnoToStatus(error_of_one, absl::StrCat("cannot serve on ", listen, ": is the address taken, or not of this host?"));
}

}  // namespace squall
