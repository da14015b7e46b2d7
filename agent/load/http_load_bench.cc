// How punctually the load generator sends: against a server on loopback, in a process of its own, that
// answers, says nothing, closes, or is not there.
//
//   bazel run //agent/load:http_load_bench -- [RATE [SECONDS [REPEATS]]]
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/notification.h"
#include "absl/time/time.h"
#include "agent/load/load_generator.h"
#include "agent/load/loopback_server.h"
#include "base/clock.h"

namespace squall {
namespace {

struct Result {
  std::vector<int64_t> lag_us;
  int64_t intended = 0, not_sent = 0;
};

double CpuSeconds() {
  rusage usage;
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<double>(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
         static_cast<double>(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

int64_t Quantile(std::vector<int64_t>& values, double q) {
  if (values.empty()) return -1;
  const size_t at = std::min(values.size() - 1, static_cast<size_t>(q * static_cast<double>(values.size())));
  std::nth_element(values.begin(), values.begin() + static_cast<int64_t>(at), values.end());
  return values[at];
}

// Starts the server as a child that dies with its parent, and returns its pid and port.
pid_t ServeInChild(const LoopbackServer::Reply& reply, int& port) {
  int port_pipe[2];
  if (pipe(port_pipe) != 0) abort();
  const pid_t child = fork();
  if (child == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    LoopbackServer server([&](absl::string_view, int) { return reply; });
    const int mine = server.port();
    if (write(port_pipe[1], &mine, sizeof mine) != sizeof mine) abort();
    for (;;) pause();
  }
  if (read(port_pipe[0], &port, sizeof port) != sizeof port) abort();
  close(port_pipe[0]);
  close(port_pipe[1]);
  return child;
}

void Measure(const char* name, int port, double rate, double seconds) {
  Load load;
  load.set_name("bench");
  load.mutable_http()->set_url(absl::StrCat("http://127.0.0.1:", port, "/"));
  load.mutable_http()->set_method("GET");
  load.set_rate(rate);
  load.mutable_give_up_after()->set_seconds(1);
  load.set_max_in_flight(4000);
  Result result;
  const double cpu_before = CpuSeconds();
  const int64_t intended = static_cast<int64_t>(rate * seconds);
  absl::Notification enough;
  auto http = LoadGenerator::Start(load, "bench", 1, [&](Record record) {
    for (const uint32_t lag : record.requests().lag_us()) result.lag_us.push_back(lag);
    result.intended += record.load_stats().intended();
    result.not_sent += record.load_stats().not_sent();
    if (result.intended >= intended && !enough.HasBeenNotified()) enough.Notify();
  });
  if (!http.ok()) {
    fprintf(stderr, "%s\n", http.status().ToString().c_str());
    exit(1);
  }
  const int64_t start_ns = BootNanos();
  enough.WaitForNotification();
  (*http)->Stop(absl::InfiniteDuration());
  const double cpu = (CpuSeconds() - cpu_before) / (static_cast<double>(BootNanos() - start_ns) / 1e9) * 100;
  printf(
      "%-10s intended %7ld  not sent %4ld  send lag us p50 %5ld  p99 %6ld  p99.9 %6ld  max %6ld  cpu %3.0f "
      "%%\n",
      name, result.intended, result.not_sent, Quantile(result.lag_us, 0.5), Quantile(result.lag_us, 0.99),
      Quantile(result.lag_us, 0.999), Quantile(result.lag_us, 1), cpu);
  fflush(stdout);
}

int Main(double rate, double seconds, int repeats) {
  struct Target {
    const char* name;
    LoopbackServer::Reply reply;
  };
  const Target targets[] = {{"answers", {LoopbackServer::Http(200, "hello")}},
                            {"silent", {""}},
                            {"closes", {"", LoopbackServer::Then::kClose}},
                            {"resets", {"", LoopbackServer::Then::kReset}}};
  for (int i = 0; i < repeats; ++i) {
    for (const Target& target : targets) {
      int port = 0;
      const pid_t child = ServeInChild(target.reply, port);
      Measure(target.name, port, rate, seconds);
      kill(child, SIGKILL);
      waitpid(child, nullptr, 0);
    }
    Measure("refuses", UnusedPort(), rate, seconds);
  }
  return 0;
}

}  // namespace
}  // namespace squall

int main(int argc, char** argv) {
  return squall::Main(argc > 1 ? atof(argv[1]) : 2000, argc > 2 ? atof(argv[2]) : 5,
                      argc > 3 ? atoi(argv[3]) : 3);
}
