#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>

#include "base/fd.h"

namespace squall {

// What all threads of a process together have had of the cores since they began. Nanoseconds, but for slices.
struct CoreTimes {
  int64_t ran_ns = 0;
  int64_t waited_ns = 0;  // could run and had no core
  int64_t slices = 0;     // how often a thread got a core
};

// Asks the kernel how long processes waited for a core (CONFIG_SCHED_INFO): one question for each process, by taskstats
// (Documentation/accounting/taskstats.rst), which counts threads that have ended too. Where the kernel does not let the agent ask,
// as in a user namespace, it is a file for each thread, /proc/PID/task/TID/schedstat: for a process of 500 threads 5 ms instead of
// 0.02 ms. Not thread-safe.
class CoreTimesReader {
 public:
  CoreTimesReader();
  // Nothing when there is no such process, or the kernel does not count.
  std::optional<CoreTimes> Read(pid_t pid);

 private:
  std::optional<CoreTimes> Ask(pid_t pid);

  Fd fd_;                // not open: taskstats may not be asked
  uint16_t family_ = 0;  // the number under which generic netlink knows taskstats here
  uint32_t sequence_ = 0;
};

}  // namespace squall
