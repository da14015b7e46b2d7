// How near burners come to the load asked for: one on each core, at 10, 25, 50, 75 and 90 %. Prints, for each burner, its
// share of the core as /proc/PID/stat counts it, and for each core how busy it was in all (/proc/stat). On a core that
// others use too the two differ, and the scheduler decides what a burner gets.
//
//   bazel-bin/agent/faults/cpu_bench [SECONDS] [ROUNDS]

#include <time.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <map>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/time/clock.h"
#include "agent/faults/burner.h"

namespace squall {
namespace {

struct CoreTicks {
  double busy = 0;
  double all = 0;
};

// By core. proc(5): cpuN user nice system idle iowait irq softirq steal
std::map<int, CoreTicks> ReadCores() {
  std::map<int, CoreTicks> cores;
  const std::string stat = Slurp("/proc/stat");
  for (const absl::string_view line : absl::StrSplit(stat, '\n')) {
    const std::vector<absl::string_view> fields = absl::StrSplit(line, ' ', absl::SkipEmpty());
    int core = 0;
    if (fields.size() < 9 || fields[0].substr(0, 3) != "cpu" || !absl::SimpleAtoi(fields[0].substr(3), &core)) continue;
    for (size_t i = 1; i <= 8; ++i) {
      double ticks = 0;
      if (!absl::SimpleAtod(fields[i], &ticks)) continue;
      cores[core].all += ticks;
      if (i != 4 && i != 5) cores[core].busy += ticks;
    }
  }
  return cores;
}

int Main(int seconds, int rounds) {
  const std::vector<int> cores = CoresOf(getpid()).value();
  printf("%-6s %-6s %-10s %-24s %-10s %s\n", "round", "core", "requested", "achieved by the burner", "off by", "core busy");
  for (int round = 1; round <= rounds; ++round) {
    for (const double percent : {10.0, 25.0, 50.0, 75.0, 90.0}) {
      auto burners = Burners::Start({percent, cores, ""});
      if (!burners.ok()) {
        fprintf(stderr, "%s\n", std::string(burners.status().message()).c_str());
        return 1;
      }
      absl::SleepFor(absl::Milliseconds(250));  // past the first periods
      std::map<int, CoreTicks> before = ReadCores();
      std::vector<double> used;
      for (const ProcessId& burner : (*burners)->processes()) used.push_back(ReadStat(burner.pid)->cpu_seconds);
      const absl::Time began = absl::Now();
      absl::SleepFor(absl::Seconds(seconds));
      const double wall = absl::ToDoubleSeconds(absl::Now() - began);
      std::map<int, CoreTicks> after = ReadCores();
      for (size_t i = 0; i < cores.size(); ++i) {
        const double burned = ReadStat((*burners)->processes()[i].pid)->cpu_seconds - used[i];
        const double achieved = 100 * burned / wall;
        const CoreTicks& from = before[cores[i]];
        const CoreTicks& to = after[cores[i]];
        printf("%-6d %-6d %6.1f %%   %12.2f %%           %+7.2f    %6.1f %%\n", round, cores[i], percent, achieved,
               achieved - percent, 100 * (to.busy - from.busy) / (to.all - from.all));
      }
      fflush(stdout);
    }
  }
  return 0;
}

}  // namespace
}  // namespace squall

int main(int argc, char** argv) {
  const int seconds = argc > 1 ? atoi(argv[1]) : 5;
  const int rounds = argc > 2 ? atoi(argv[2]) : 3;
  if (argc > 3 || seconds < 1 || rounds < 1) {
    fprintf(stderr, "usage: cpu_bench [SECONDS] [ROUNDS]\n");
    return 64;
  }
  return squall::Main(seconds, rounds);
}
