#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "agent/process/proc.h"

namespace squall {

// How a burner steers: it looks at the processor time that it has used (CLOCK_THREAD_CPUTIME_ID), not at how long it has
// been busy, so that time it was not given does not count as burned.
inline constexpr int64_t kBurnPeriodNs = 100'000'000;

// One period: use processor time until `until_cpu_ns` of it are used or `end_ns` has come, then sleep until `end_ns`.
struct BurnPeriod {
  int64_t end_ns = 0;        // of the wall clock
  int64_t until_cpu_ns = 0;  // of the processor time
};

// The period that follows `before`, which ended at or before `now_ns`, when `cpu_ns` of processor time have been used so
// far. What the periods before came short of or went over is made up for, up to a tenth of a period: a burner that could not
// run because others had the core must not press harder than it was asked to. `share` is 0.75 for 75 %. Pure function.
BurnPeriod NextBurnPeriod(double share, const BurnPeriod& before, int64_t now_ns, int64_t cpu_ns);

// Processes that each keep one core busy for a share of the time. The kernel ends them when the agent dies. Not thread-safe.
class Burners {
 public:
  struct Options {
    double percent = 0;
    std::vector<int> cores;  // one burner on each
    std::string cgroup;      // the folder of the cgroup to run in; empty: the agent's
  };
  // Once this returns, every burner is on its core and in its cgroup; on error none is left. REQUIRES: called on the
  // main thread (see MainThread).
  static absl::StatusOr<std::unique_ptr<Burners>> Start(const Options& options);
  ~Burners();
  Burners(const Burners&) = delete;

  // They keep their cores busy for another share from their next periods on.
  void SetPercent(double percent) { *share_ = percent / 100; }

  struct Used {
    int core = 0;
    int64_t wall_ns = 0;  // since it began, until it was stopped
    int64_t cpu_ns = 0;   // as the kernel counts it
  };
  std::vector<Used> Seen();
  const std::vector<ProcessId>& processes() const { return processes_; }
  // Ends them and waits until they are gone. Idempotent.
  absl::Status Stop();

 private:
  struct Burner {
    pid_t pid = -1;  // -1: stopped
    clockid_t clock = 0;
    int64_t began_ns = 0;
    Used used;
  };
  Burners() = default;
  absl::Status ShareMemory();
  absl::Status Add(const Options& options, int core);
  static void Look(Burner& burner);

  std::atomic<double>* share_ = nullptr;  // 0.75 for 75 %; in memory that the burners read
  std::vector<Burner> burners_;
  std::vector<ProcessId> processes_;
};

}  // namespace squall
