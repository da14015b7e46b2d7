#pragma once

#include <compare>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "agent/process/core_times.h"
#include "agent/process/proc.h"
#include "proto/timeline.pb.h"

namespace squall {

// How a service and everybody else used the cores in a short time. Nanoseconds of processor time, but for wall_ns.
struct CoreUse {
  int64_t wall_ns = 0;
  int cores = 0;
  CoreTimes service;
  int64_t others_ns = 0;  // used by all but the services, the agent and its children; stolen by the hypervisor included
};

// Others had the cores that the service needed: it waited for longer than it ran, for more than a tenth of the time and a quarter of
// a millisecond on average each time, and others used a fifth of all cores. On an idle machine of two cores, a service that answers
// 150 requests/s waited 0.06 of a core (0.22 at the most, 100 samples of 200 ms), 0.07 ms each time (0.21), and ran 0.05; beside seven
// more such runs and a compiler, when its latencies went up by tens of milliseconds, 0.5 to 17 of a core and 0.5 to 20 ms each time.
// At 200 requests/s a wait of a tenth of the time is enough for a p95 that is longer by 20 ms: 0.3 of a core, asked for before, let
// a sound service fail. A wait that adds up from many short ones is not felt. One that crowds itself out of the cores is not
// starved, however long its threads wait: it is what is tested.
bool IsStarved(const CoreUse& use);

// Whose processes are looked at: a service's own, or (edge not empty) those of its peer on that edge.
struct Waiter {
  std::string service;
  std::string edge;
  friend auto operator<=>(const Waiter&, const Waiter&) = default;
};

// Looks regularly how long services waited for a core. Not thread-safe.
class StarvationWatch {
 public:
  // Those that were starved since the call before, with the time between the two calls. None where the kernel does
  // not tell (see CoreTimesReader).
  std::vector<Stall> Look(const std::map<Waiter, std::vector<ProcessId>>& waiters);

 private:
  using Processes = std::map<ProcessId, CoreTimes>;

  // Stolen time included.
  static int64_t BusyNs(const CpuTicks& host);
  static CoreTimes Since(const Processes& before, const Processes& now);
  Processes ReadAll(const std::vector<ProcessId>& processes);
  // The agent, and its children that nobody is looked at for: burners, for one.
  Processes ReadOwn(const std::map<Waiter, std::vector<ProcessId>>& waiters);

  CoreTimesReader reader_;
  int64_t last_ns_ = 0;  // 0: has not looked yet
  CpuTicks last_host_;
  Processes last_own_;
  std::map<Waiter, Processes> last_waiters_;
};

}  // namespace squall
