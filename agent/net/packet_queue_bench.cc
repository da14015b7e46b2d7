// What the packet queue adds: datagrams at a set rate to an echo over loopback, in a network namespace of its own: untouched, through
// the queue without delay (a reordering that hits one packet in a million), and with 50 ms asked on the requests. Prints
// percentiles of the round trips and what the delay was beyond what was asked and the queue's own.
//
//   bazel-bin/agent/net/packet_queue_bench [RATE] [SECONDS] [ROUNDS]      (as root)

#include <netinet/in.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <memory>
#include <thread>
#include <vector>

#include "absl/time/clock.h"
#include "agent/net/packet_queue.h"
#include "agent/process/cgroup.h"
#include "base/clock.h"
#include "base/fd.h"

namespace squall {
namespace {

constexpr int64_t kAskedNs = 50'000'000;

Address Peer() { return ParseAddress("127.0.0.1:42001").value(); }

[[noreturn]] void Die(const std::string& why) {
  fprintf(stderr, "packet_queue_bench: %s\n", why.c_str());
  exit(1);
}

Fd Datagrams() { return Fd(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0)); }

[[noreturn]] void Echo() {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  const Fd fd = Datagrams();
  sockaddr_storage storage;
  socklen_t length = Peer().ToSockaddr(storage);
  if (bind(fd.get(), reinterpret_cast<sockaddr*>(&storage), length) != 0) _exit(1);
  char buffer[64];
  while (true) {
    length = sizeof(storage);
    const ssize_t size = recvfrom(fd.get(), buffer, sizeof(buffer), 0, reinterpret_cast<sockaddr*>(&storage), &length);
    if (size > 0) sendto(fd.get(), buffer, static_cast<size_t>(size), 0, reinterpret_cast<sockaddr*>(&storage), length);
  }
}

struct Percentiles {
  double p50_ms = 0, p99_ms = 0;
  size_t sent = 0, came_back = 0;
};

Percentiles Measure(double rate, double seconds) {
  const Fd fd = Datagrams();
  sockaddr_storage storage;
  const socklen_t length = Peer().ToSockaddr(storage);
  if (connect(fd.get(), reinterpret_cast<sockaddr*>(&storage), length) != 0) Die("no echo");
  const timeval patience = {0, 200'000};
  setsockopt(fd.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
  const auto count = static_cast<size_t>(rate * seconds);
  std::vector<double> took;
  std::thread receiver([&] {
    int64_t sent_ns = 0;
    while (took.size() < count && recv(fd.get(), &sent_ns, sizeof(sent_ns), 0) == sizeof(sent_ns)) {
      took.push_back(static_cast<double>(BootNanos() - sent_ns) / 1e6);
    }
  });
  const int64_t start = BootNanos();
  for (size_t i = 0; i < count; ++i) {
    const int64_t due = start + static_cast<int64_t>(1e9 * static_cast<double>(i) / rate);
    absl::SleepFor(absl::Nanoseconds(std::max<int64_t>(0, due - BootNanos())));
    const int64_t now = BootNanos();
    (void)!send(fd.get(), &now, sizeof(now), 0);
  }
  receiver.join();
  std::sort(took.begin(), took.end());
  if (took.empty()) Die("nothing came back");
  return {took[took.size() / 2], took[took.size() * 99 / 100], count, took.size()};
}

void Print(const char* what, const Percentiles& of) {
  printf("%-22s p50 %8.3f ms   p99 %8.3f ms   %zu of %zu came back\n", what, of.p50_ms, of.p99_ms, of.came_back, of.sent);
}

int Main(int argc, char** argv) {
  const double rate = argc > 1 ? atof(argv[1]) : 1000, seconds = argc > 2 ? atof(argv[2]) : 5;
  const int rounds = argc > 3 ? atoi(argv[3]) : 3;
  if (unshare(CLONE_NEWNET) != 0 || system("ip link set lo up") != 0) Die("needs root");
  const pid_t echo = fork();
  if (echo == 0) Echo();
  const absl::StatusOr<NetNamespace> ns = NetNamespace::Own();
  const absl::StatusOr<std::string> mount = CgroupV2Mount();
  if (!ns.ok() || !mount.ok()) Die("no namespace or no cgroup2");
  // Everybody in this namespace.
  PacketQueue::Target target;
  target.cgroup = MatchCgroup(*mount).value();
  absl::SleepFor(absl::Milliseconds(100));
  for (int i = 0; i < rounds; ++i) {
    PacketQueue queue(*ns, target);
    const auto with = [&](PacketAction action) {
      action.to = {Peer()};
      action.protocol = IPPROTO_UDP;
      action.on_request = true;
      const absl::Status set = queue.Set("bench", std::move(action));
      if (!set.ok()) Die(std::string(set.message()));
      const Percentiles seen = Measure(rate, seconds);
      const absl::Status cleared = queue.Clear("bench");
      if (!cleared.ok()) Die(std::string(cleared.message()));
      return seen;
    };
    const Percentiles direct = Measure(rate, seconds);
    PacketAction hardly;
    hardly.what = PacketAction::What::kReorder;
    hardly.percent = 0.0001;
    hardly.delay_ns = [] { return 1000; };
    const Percentiles queued = with(std::move(hardly));
    PacketAction delay;
    delay.delay_ns = [] { return kAskedNs; };
    delay.requested_ns = kAskedNs;
    const Percentiles late = with(std::move(delay));
    printf("round %d, %.0f packets/s\n", i + 1, rate);
    Print("  untouched", direct);
    Print("  through the queue", queued);
    Print("  and 50 ms asked", late);
    printf("  beyond the queue and what was asked: p50 %+.3f ms, p99 %+.3f ms\n", late.p50_ms - queued.p50_ms - kAskedNs / 1e6,
           late.p99_ms - queued.p99_ms - kAskedNs / 1e6);
  }
  kill(echo, SIGKILL);
  waitpid(echo, nullptr, 0);
  return 0;
}

}  // namespace
}  // namespace squall

int main(int argc, char** argv) { return squall::Main(argc, argv); }
