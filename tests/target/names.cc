#include "tests/target/names.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <poll.h>

#include <array>
#include <cstdio>
#include <cstdlib>

#include "absl/strings/str_join.h"
#include "tests/target/flags.h"
#include "tests/target/now.h"

namespace squall::target {
namespace {

// More than fit in any deadline: who asks says how long.
constexpr int kTries = 10;

struct Outcome {
  bool over = false;
  int status = ARES_SUCCESS;
  std::string v4, v6;
};

void Take(void* out, int status, int, ares_addrinfo* found) {
  Outcome& outcome = *static_cast<Outcome*>(out);
  outcome.over = true;
  outcome.status = status;
  for (const ares_addrinfo_node* node = found == nullptr ? nullptr : found->nodes; node != nullptr; node = node->ai_next) {
    std::array<char, INET6_ADDRSTRLEN> text;
    const bool v4 = node->ai_family == AF_INET;
    const void* address = v4 ? static_cast<const void*>(&reinterpret_cast<const sockaddr_in*>(node->ai_addr)->sin_addr)
                             : &reinterpret_cast<const sockaddr_in6*>(node->ai_addr)->sin6_addr;
    std::string& to = v4 ? outcome.v4 : outcome.v6;
    if (to.empty() && inet_ntop(node->ai_family, address, text.data(), text.size()) != nullptr) to = text.data();
  }
  if (found != nullptr) ares_freeaddrinfo(found);
}

}  // namespace

NameLookup::NameLookup(const Names& names) {
  ares_library_init(ARES_LIB_INIT_ALL);
  ares_options options = {};
  options.timeout = static_cast<int>(absl::ToInt64Milliseconds(names.ask_again_after));
  options.tries = kTries;
  char lookups[] = "b";  // name servers only
  options.lookups = lookups;
  if (ares_init_options(&channel_, &options, ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES | ARES_OPT_LOOKUPS) != ARES_SUCCESS ||
      (!names.servers.empty() && ares_set_servers_ports_csv(channel_, absl::StrJoin(names.servers, ",").c_str()) != ARES_SUCCESS)) {
    fprintf(stderr, "cannot look names up\n");
    exit(1);
  }
}

NameLookup::~NameLookup() {
  ares_destroy(channel_);
  ares_library_cleanup();
}

NameLookup::Answer NameLookup::Ask(const std::string& name, absl::Duration timeout) {
  const absl::Time until = Now() + timeout;
  Outcome outcome;
  ares_addrinfo_hints hints = {};
  hints.ai_family = AF_UNSPEC;
  hints.ai_flags = ARES_AI_NOSORT;
  ares_getaddrinfo(channel_, name.c_str(), nullptr, &hints, &Take, &outcome);
  while (!outcome.over) {
    const absl::Duration left = until - Now();
    if (left <= absl::ZeroDuration()) {
      ares_cancel(channel_);
      return {"", true};
    }
    std::array<ares_socket_t, ARES_GETSOCK_MAXNUM> sockets;
    const int bits = ares_getsock(channel_, sockets.data(), static_cast<int>(sockets.size()));
    std::array<pollfd, ARES_GETSOCK_MAXNUM> polled;
    nfds_t count = 0;
    for (size_t i = 0; i < sockets.size(); ++i) {
      const int events = (ARES_GETSOCK_READABLE(bits, i) ? POLLIN : 0) | (ARES_GETSOCK_WRITABLE(bits, i) ? POLLOUT : 0);
      if (events != 0) polled[count++] = {sockets[i], static_cast<short>(events), 0};
    }
    timeval most = absl::ToTimeval(absl::Ceil(left, absl::Milliseconds(1)));
    timeval wait;
    const timeval* next = ares_timeout(channel_, &most, &wait);
    poll(polled.data(), count, static_cast<int>(next->tv_sec * 1000 + (next->tv_usec + 999) / 1000));
    if (count == 0) ares_process_fd(channel_, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
    for (nfds_t i = 0; i < count; ++i) {
      const bool readable = (polled[i].revents & (POLLIN | POLLERR | POLLHUP)) != 0;
      const bool writable = (polled[i].revents & POLLOUT) != 0;
      // Also looks at what has waited for too long.
      ares_process_fd(channel_, readable ? polled[i].fd : ARES_SOCKET_BAD, writable ? polled[i].fd : ARES_SOCKET_BAD);
    }
  }
  return {outcome.v4.empty() ? outcome.v6 : outcome.v4, outcome.status == ARES_ETIMEOUT};
}

bool IsNameServer(const std::string& text) {
  const std::optional<HostPort> split = ParseHostPort(text);
  in6_addr address;
  return split && (inet_pton(AF_INET, split->host.c_str(), &address) == 1 ||
                   inet_pton(AF_INET6, split->host.c_str(), &address) == 1);
}

}  // namespace squall::target
