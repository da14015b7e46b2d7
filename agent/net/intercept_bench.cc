// What the redirection of an attached service costs others on the host, whose connects pass its programs too: a TCP connect over
// loopback of a process that is not meant, without it and with it at the root of the cgroups. Needs root.
#include <sys/socket.h>

#include <algorithm>
#include <cstdio>
#include <vector>

#include "absl/time/clock.h"
#include "agent/net/intercept.h"
#include "agent/process/cgroup.h"
#include "base/fd.h"

namespace squall {
namespace {

constexpr int kConnects = 20'000;
constexpr int kRounds = 5;

// Microseconds for a socket, a connect and the accept.
double Measure(const Fd& listener, const sockaddr_storage& at, socklen_t length) {
  const absl::Time start = absl::Now();
  for (int i = 0; i < kConnects; ++i) {
    const Fd client(socket(AF_INET, SOCK_STREAM, 0));
    // Closed by a reset: no port stays in TIME_WAIT.
    const linger now = {1, 0};
    setsockopt(client.get(), SOL_SOCKET, SO_LINGER, &now, sizeof(now));
    if (connect(client.get(), reinterpret_cast<const sockaddr*>(&at), length) != 0) perror("connect");
    const Fd accepted(accept(listener.get(), nullptr, nullptr));
  }
  return absl::ToDoubleMicroseconds(absl::Now() - start) / kConnects;
}

int Main() {
  const Fd listener(socket(AF_INET, SOCK_STREAM, 0));
  Address any = *ParseAddress("127.0.0.1:1");
  any.port = 0;
  sockaddr_storage at;
  socklen_t length = any.ToSockaddr(at);
  if (bind(listener.get(), reinterpret_cast<sockaddr*>(&at), length) != 0 || listen(listener.get(), 64) != 0) return 1;
  getsockname(listener.get(), reinterpret_cast<sockaddr*>(&at), &length);
  std::vector<double> without, with;
  for (int round = 0; round < kRounds; ++round) {
    without.push_back(Measure(listener, at, length));
    auto intercept = Intercept::Attach(*CgroupV2Mount(), /*by_process=*/true);
    const auto own = NetNamespace::Own();
    if (!intercept.ok() || !own.ok() || !(*intercept)->SetNamespace(*own).ok()) {
      fprintf(stderr, "%s\n", intercept.status().ToString().c_str());
      return 1;
    }
    with.push_back(Measure(listener, at, length));
  }
  const auto best = [](const std::vector<double>& all) { return *std::min_element(all.begin(), all.end()); };
  printf("connect, accept and close of a process that is not meant, best of %d times %d: %.2f us; with the redirection at the "
         "root %.2f us (+%.2f)\n",
         kRounds, kConnects, best(without), best(with), best(with) - best(without));
  return 0;
}

}  // namespace
}  // namespace squall

int main() { return squall::Main(); }
