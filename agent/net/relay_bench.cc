// What the relay adds: the same load direct, through the relay, and through the relay with 50 ms of latency on the answers.
// Prints percentiles of each round and what the delay achieved beyond the pass-through of the same round. Then a stream over
// 10 MiB/s of bandwidth: what arrived in each second after the first, on one connection and on four together.
//
//   bazel-bin/agent/net/relay_bench PATH_TO_RECOMMEND [RATE] [SECONDS] [ROUNDS]

#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "agent/load/load_generator.h"
#include "agent/net/relay.h"
#include "base/clock.h"
#include "base/fd.h"

namespace squall {
namespace {

struct Percentiles {
  double p50_ms, p99_ms, lag_p99_ms;
  size_t count;
};

double At(std::vector<double>& values, double q) {
  std::sort(values.begin(), values.end());
  return values.empty() ? 0 : values[std::min(values.size() - 1, static_cast<size_t>(q * static_cast<double>(values.size())))];
}

Percentiles Measure(int port, double rate, double seconds) {
  Load load;
  load.set_name("bench");
  load.mutable_http()->set_url(absl::StrCat("http://127.0.0.1:", port, "/recommend"));
  load.mutable_http()->set_method("GET");
  load.set_rate(rate);
  load.mutable_give_up_after()->set_seconds(5);
  load.set_max_in_flight(4000);
  std::vector<double> latencies, lags;
  auto running = LoadGenerator::Start(load, "bench", 1, [&](Record record) {
    for (int i = 0; i < record.requests().latency_us_size(); ++i) {
      const double lag = record.requests().lag_us(i) / 1e3;
      latencies.push_back(record.requests().latency_us(i) / 1e3 - lag);
      lags.push_back(lag);
    }
  });
  if (!running.ok()) {
    fprintf(stderr, "%s\n", std::string(running.status().message()).c_str());
    exit(1);
  }
  absl::SleepFor(absl::Seconds(seconds));
  (*running)->Stop(absl::Seconds(2));
  return {At(latencies, 0.5), At(latencies, 0.99), At(lags, 0.99), latencies.size()};
}

// Sends without end to whoever connects.
[[noreturn]] void Pour(int port) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  signal(SIGPIPE, SIG_IGN);
  const Fd listener(socket(AF_INET, SOCK_STREAM, 0));
  const int one = 1;
  setsockopt(listener.get(), SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
  sockaddr_storage storage;
  const socklen_t length = ResolveAddress(absl::StrCat("127.0.0.1:", port))->front().ToSockaddr(storage);
  if (bind(listener.get(), reinterpret_cast<sockaddr*>(&storage), length) != 0 || listen(listener.get(), 16) != 0) _exit(1);
  while (true) {
    const int fd = accept(listener.get(), nullptr, nullptr);
    std::thread([fd] {
      const std::string piece(64 << 10, 'x');
      while (send(fd, piece.data(), piece.size(), 0) > 0) {
      }
      close(fd);
    }).detach();
  }
}

// Bytes per second that arrive over these connections together, in each of `seconds` after the first.
std::vector<double> Arriving(int port, int connections, int seconds) {
  std::atomic<int64_t> arrived = 0;
  std::vector<Fd> fds;
  std::vector<std::thread> readers;
  for (int i = 0; i < connections; ++i) {
    fds.emplace_back(socket(AF_INET, SOCK_STREAM, 0));
    sockaddr_storage storage;
    const socklen_t length = ResolveAddress(absl::StrCat("127.0.0.1:", port))->front().ToSockaddr(storage);
    if (connect(fds.back().get(), reinterpret_cast<sockaddr*>(&storage), length) != 0) exit(1);
    readers.emplace_back([&arrived, fd = fds.back().get()] {
      std::vector<char> buffer(64 << 10);
      for (ssize_t size; (size = read(fd, buffer.data(), buffer.size())) > 0;) arrived += size;
    });
  }
  std::vector<double> rates;
  absl::SleepFor(absl::Seconds(1));
  for (int i = 0; i < seconds; ++i) {
    const int64_t before = arrived, begin = BootNanos();
    absl::SleepFor(absl::Seconds(1));
    const int64_t after = arrived;
    rates.push_back(static_cast<double>(after - before) / (static_cast<double>(BootNanos() - begin) / 1e9));
  }
  for (const Fd& fd : fds) shutdown(fd.get(), SHUT_RDWR);
  for (std::thread& reader : readers) reader.join();
  return rates;
}

void BenchBandwidth(Relay& relay, int port, int seconds, int rounds) {
  constexpr double kRate = 10 << 20;
  Fault fault;
  fault.mutable_bandwidth()->set_edge("stream");
  fault.mutable_bandwidth()->set_rate(10 << 20);
  printf("\n%d s each, after the first second; rates in bytes/s\n", seconds);
  printf("%-6s %-12s %-12s %-26s %-22s %s\n", "round", "connections", "requested", "arrived, least to most", "off by at most",
         "evidence");
  for (int round = 1; round <= rounds; ++round) {
    for (const int connections : {1, 4}) {
      relay.SetFault(fault, 1).IgnoreError();
      const std::vector<double> rates = Arriving(port, connections, seconds);
      const Evidence evidence = relay.FaultEvidence("stream", Fault::kBandwidth);
      relay.ClearFault("stream", Fault::kBandwidth).IgnoreError();
      const auto [least, most] = std::minmax_element(rates.begin(), rates.end());
      printf("%-6d %-12d %-12.0f %11.0f to %-11.0f %+.2f %% to %+.2f %%     %lld\n", round, connections, kRate, *least, *most,
             (*least / kRate - 1) * 100, (*most / kRate - 1) * 100, static_cast<long long>(evidence.achieved_rate()));
      fflush(stdout);
    }
  }
}

int Main(int argc, char** argv) {
  const std::string program = argv[1];
  const double rate = argc > 2 ? atof(argv[2]) : 1000;
  const double seconds = argc > 3 ? atof(argv[3]) : 5;
  const int rounds = argc > 4 ? atoi(argv[4]) : 5;
  constexpr int kServer = 41290, kRelay = 41291, kSource = 41292, kStream = 41293;
  const pid_t server = fork();
  if (server == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    execl(program.c_str(), program.c_str(), absl::StrCat("--port=", kServer).c_str(), "--service-time=0ms", nullptr);
    _exit(127);
  }
  const pid_t source = fork();
  if (source == 0) Pour(kSource);
  const NetNamespace ns = *NetNamespace::Own();
  Relay relay([](const std::string&, const SeenCall&) {});
  Relay::EdgeOptions edge;
  edge.name = "edge";
  edge.to = *ResolveAddress(absl::StrCat("127.0.0.1:", kServer));
  edge.relay_at = ResolveAddress(absl::StrCat("127.0.0.1:", kRelay))->front();
  absl::SleepFor(absl::Seconds(1));
  if (const absl::Status status = relay.Open(edge, ns); !status.ok()) {
    fprintf(stderr, "%s\n", std::string(status.message()).c_str());
    return 1;
  }
  edge.name = "stream";
  edge.to = *ResolveAddress(absl::StrCat("127.0.0.1:", kSource));
  edge.relay_at = ResolveAddress(absl::StrCat("127.0.0.1:", kStream))->front();
  if (const absl::Status status = relay.Open(edge, ns); !status.ok()) {
    fprintf(stderr, "%s\n", std::string(status.message()).c_str());
    return 1;
  }
  double load[1] = {};
  getloadavg(load, 1);
  printf("load average %.1f\n", load[0]);
  Fault fault;
  Latency& latency = *fault.mutable_latency();
  latency.set_edge("edge");
  latency.mutable_delay()->set_nanos(50'000'000);
  latency.set_direction(DIRECTION_RESPONSE);
  printf("%.0f requests/s, %.0f s each; times in ms\n", rate, seconds);
  printf("%-6s %-22s %-22s %-22s %-24s %s\n", "round", "direct p50/p99", "relay p50/p99", "relay + 50 p50/p99",
         "beyond pass-through", "send lag p99");
  for (int round = 1; round <= rounds; ++round) {
    const Percentiles direct = Measure(kServer, rate, seconds);
    const Percentiles through = Measure(kRelay, rate, seconds);
    relay.SetFault(fault, 1).IgnoreError();
    const Percentiles delayed = Measure(kRelay, rate, seconds);
    relay.ClearFault("edge", Fault::kLatency).IgnoreError();
    printf("%-6d %7.3f / %-7.3f      %7.3f / %-7.3f      %7.3f / %-7.3f      p50 %+6.3f p99 %+6.3f   %.3f\n", round,
           direct.p50_ms, direct.p99_ms, through.p50_ms, through.p99_ms, delayed.p50_ms, delayed.p99_ms,
           delayed.p50_ms - through.p50_ms - 50, delayed.p99_ms - through.p99_ms - 50, delayed.lag_p99_ms);
    fflush(stdout);
  }
  BenchBandwidth(relay, kStream, std::max(1, static_cast<int>(seconds)), rounds);
  for (const pid_t child : {server, source}) {
    kill(child, SIGKILL);
    waitpid(child, nullptr, 0);
  }
  return 0;
}

}  // namespace
}  // namespace squall

int main(int argc, char** argv) {
  if (argc < 2) {
    fprintf(stderr, "usage: relay_bench PATH_TO_RECOMMEND [RATE] [SECONDS] [ROUNDS]\n");
    return 64;
  }
  return squall::Main(argc, argv);
}
