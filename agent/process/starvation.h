#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "agent/process/proc.h"
#include "proto/timeline.pb.h"

namespace squall {

// How a service and everybody else used the cores in a short time. Nanoseconds of processor time, but for wall_ns.
struct CoreUse {
  int64_t wall_ns = 0;
  int cores = 0;
  int64_t waited_ns = 0;  // its threads could run and had no core, summed over them
  int64_t ran_ns = 0;
  int64_t slices = 0;     // how often a thread of its got a core
  int64_t others_ns = 0;  // used by all but the run's services and the agent; stolen by the hypervisor included
};

// Others had the cores that the service needed: it waited for longer than it ran, for more than 0.3 of a core and for half a
// millisecond on average each time, and others used a fifth of all cores. On an idle machine of two cores, a service that answers
// 150 requests/s waited 0.06 of a core (0.22 at the most, 100 samples of 200 ms), 0.07 ms each time (0.21), and ran 0.05; beside seven
// more such runs and a compiler, when its latencies went up by tens of milliseconds, 0.5 to 17 of a core and 0.5 to 20 ms each time. A wait
// that adds up from many short ones is not felt. One that crowds itself out of the cores is not starved, however long its threads
// wait: it is what is tested.
bool IsStarved(const CoreUse& use);

// Looks regularly how long services waited for a core (/proc/PID/task/TID/schedstat). A kernel without CONFIG_SCHED_INFO tells
// nothing, and then nothing is told. Not thread-safe.
class StarvationWatch {
 public:
  // Those services that were starved since the call before, with the time between the two calls.
  std::vector<Stall> Look(const std::map<std::string, std::vector<ProcessId>>& services);

 private:
  struct Sums {
    int64_t ran_ns = 0, waited_ns = 0, slices = 0;
  };
  struct Host {
    int64_t busy_ns = 0;
    int cores = 0;
  };
  using Threads = std::map<pid_t, Sums>;

  static Host ReadHost();
  static int64_t OwnNs();
  static Threads ReadThreads(const std::vector<ProcessId>& processes);
  static Sums Since(const Threads& before, const Threads& now);

  int64_t last_ns_ = 0;  // 0: has not looked yet
  Host last_host_;
  int64_t last_own_ns_ = 0;
  std::map<std::string, Threads> last_threads_;
};

}  // namespace squall
