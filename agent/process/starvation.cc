#include "agent/process/starvation.h"

#include <unistd.h>

#include <algorithm>
#include <optional>
#include <utility>

#include "base/clock.h"

namespace squall {
namespace {

constexpr int64_t kFeltNs = 250'000;

}  // namespace

bool IsStarved(const CoreUse& use) {
  if (use.wall_ns <= 0 || use.cores <= 0) return false;
  const bool waited = use.service.waited_ns > use.service.ran_ns && use.service.waited_ns > use.wall_ns / 10;
  const bool felt = use.service.waited_ns > use.service.slices * kFeltNs;
  return waited && felt && use.others_ns > use.wall_ns * use.cores / 5;
}

int64_t StarvationWatch::BusyNs(const CpuTicks& host) {
  return (host.total - host.idle) * (1'000'000'000 / sysconf(_SC_CLK_TCK));
}

CoreTimes StarvationWatch::Since(const Processes& before, const Processes& now) {
  CoreTimes since;
  for (const auto& [process, times] : now) {
    const auto found = before.find(process);
    // What is new has counted from zero.
    const CoreTimes last = found == before.end() ? CoreTimes() : found->second;
    since.ran_ns += std::max<int64_t>(0, times.ran_ns - last.ran_ns);
    since.waited_ns += std::max<int64_t>(0, times.waited_ns - last.waited_ns);
    since.slices += std::max<int64_t>(0, times.slices - last.slices);
  }
  return since;
}

StarvationWatch::Processes StarvationWatch::ReadAll(const std::vector<ProcessId>& processes) {
  Processes read;
  for (const ProcessId& process : processes) {
    if (const std::optional<CoreTimes> times = reader_.Read(process.pid)) read[process] = *times;
  }
  return read;
}

StarvationWatch::Processes StarvationWatch::ReadOwn(const std::map<Waiter, std::vector<ProcessId>>& waiters) {
  std::vector<ProcessId> own = Children();
  for (const auto& [waiter, processes] : waiters) {
    for (const ProcessId& process : processes) std::erase(own, process);
  }
  if (absl::StatusOr<ProcStat> self = ReadStat(getpid()); self.ok()) own.push_back(self->id);
  return ReadAll(own);
}

std::vector<Stall> StarvationWatch::Look(const std::map<Waiter, std::vector<ProcessId>>& waiters) {
  const int64_t now_ns = BootNanos();
  const CpuTicks host = ReadCpuTicks();
  Processes own = ReadOwn(waiters);
  std::map<Waiter, Processes> all;
  std::map<Waiter, CoreTimes> since;
  int64_t ours_ns = Since(last_own_, own).ran_ns;
  for (const auto& [waiter, processes] : waiters) {
    all[waiter] = ReadAll(processes);
    // The first look at one tells nothing: what it did before is not of this moment.
    const auto before = last_waiters_.find(waiter);
    since[waiter] = before == last_waiters_.end() ? CoreTimes() : Since(before->second, all[waiter]);
    ours_ns += since[waiter].ran_ns;
  }
  std::vector<Stall> starved;
  if (last_ns_ > 0) {
    CoreUse use;
    use.wall_ns = now_ns - last_ns_;
    use.cores = host.cores;
    use.others_ns = std::max<int64_t>(0, BusyNs(host) - BusyNs(last_host_) - ours_ns);
    for (const auto& [waiter, times] : since) {
      use.service = times;
      if (!IsStarved(use)) continue;
      Stall stall;
      stall.set_start_ns(last_ns_);
      stall.set_length_ns(use.wall_ns);
      stall.set_service(waiter.service);
      stall.set_edge(waiter.edge);
      stall.set_waited_ns(times.waited_ns);
      stall.set_others(100.0 * static_cast<double>(use.others_ns) / static_cast<double>(use.wall_ns * use.cores));
      starved.push_back(std::move(stall));
    }
  }
  last_ns_ = now_ns;
  last_host_ = host;
  last_own_ = std::move(own);
  last_waiters_ = std::move(all);
  return starved;
}

}  // namespace squall
