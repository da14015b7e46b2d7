// fds (scope: process): leaves a service few descriptors.
//
// What and to whom: the soft RLIMIT_NOFILE of each process of the service is lowered to the number below which exactly `leave` are
//   free. A new descriptor takes the lowest free number, so that many more can be opened, and the next open, accept or socket gets
//   EMFILE; what is open stays open, above the limit too. What a process forks inherits its limit. The hard limit is never touched:
//   it could not be raised again without privileges. A process that has fewer left already keeps its limit. As with every such
//   limit, poll() takes no more entries than it says, and dup2() no higher number.
// Proof: EMFILE returned to the service, counted by the kernel where that can be asked; the fewest that were left.
// Undo while the agent lives: each soft limit that still is what the fault set is as before, of what was forked meanwhile too.
// Undo when the agent was killed: the same, by the guardian, from the journal. It says since when the limit is inherited and
//   whether anybody had such a limit before, so that what was forked and has lost its parents is found without being known.

#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <limits>
#include <optional>
#include <set>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "agent/faults/fault.h"
#include "agent/faults/regularly.h"
#include "agent/process/find.h"
#include "agent/process/refusals.h"
#include "agent/undo.h"
#include "base/clock.h"

namespace squall {
namespace {

constexpr absl::Duration kEvery = absl::Milliseconds(250);
constexpr int kMostRounds = 20;

// The numbers that are taken.
absl::StatusOr<std::set<rlim_t>> OpenNumbers(const ProcessId& process) {
  const std::string folder = absl::StrCat("/proc/", process.pid, "/fd");
  std::error_code error;
  std::set<rlim_t> open;
  for (std::filesystem::directory_iterator entry(folder, error), end; !error && entry != end; entry.increment(error)) {
    uint64_t number = 0;
    if (absl::SimpleAtoi(entry->path().filename().string(), &number)) open.insert(number);
  }
  if (error) return absl::ErrnoToStatus(error.value(), absl::StrCat("cannot see what pid ", process.pid, " has open"));
  return open;
}

absl::StatusOr<rlimit> LimitOf(const ProcessId& process) {
  rlimit limit;
  if (prlimit(process.pid, RLIMIT_NOFILE, nullptr, &limit) == 0) return limit;
  return absl::ErrnoToStatus(errno, absl::StrCat("cannot tell the limit of open files of pid ", process.pid));
}

// The number below which `leave` are free.
rlim_t LimitFor(const std::set<rlim_t>& open, int64_t leave) {
  rlim_t number = 0;
  for (const rlim_t taken : open) {
    if (static_cast<int64_t>(taken - number) > leave) break;  // enough are free before it
    leave -= static_cast<int64_t>(taken - number);
    number = taken + 1;
  }
  return number + static_cast<rlim_t>(leave);
}

int64_t FreeBelow(const std::set<rlim_t>& open, rlim_t limit) {
  return static_cast<int64_t>(limit) - std::distance(open.begin(), open.lower_bound(limit));
}

absl::Status MayLower(const ProcessId& process) {
  absl::Status status = OpenNumbers(process).status();
  status.Update(LimitOf(process).status());
  return status.ok() || IsAlive(process) ? status : absl::OkStatus();
}

class FdsFault : public ActiveFault {
 public:
  FdsFault(const Fds& fds, const FaultContext& context)
      : fds_(fds), context_(context), service_(*context.services->at(fds.service())) {}

  absl::Status Inject() override {
    const absl::Status status = TryInject();
    if (status.ok()) return status;
    Heal(HealFor::kFaultOver).IgnoreError();
    return absl::Status(status.code(), absl::StrCat("service ", fds_.service(), ": ", status.message()));
  }

  absl::Status Heal(HealFor) override {
    if (looking_ != nullptr) Look();
    looking_.reset();
    absl::Status status;
    for (Pending& each : pending_) {
      if (each.number == 0) continue;
      const absl::Status taken_back = TakeBack(each.undo);
      status.Update(taken_back);
      if (!taken_back.ok()) continue;
      context_.journal->Done(each.number);
      each.number = 0;
    }
    absl::MutexLock lock(&mutex_);
    CountRefusals();
    refusals_.reset();
    return status;
  }

  Evidence Seen() override {
    if (looking_ != nullptr) Look();
    absl::MutexLock lock(&mutex_);
    Evidence evidence;
    evidence.set_requested_left(fds_.leave());
    evidence.set_fewest_left(fewest_.value_or(0));
    CountRefusals();
    evidence.set_refusals(refused_);
    evidence.set_refusals_seen(refusals_seen_);
    return evidence;
  }

 private:
  struct Pending {
    uint64_t number = 0;
    Undo undo;
  };

  absl::Status TryInject() {
    std::vector<ProcessId> processes = service_.Processes();
    if (processes.empty()) return absl::FailedPreconditionError("it has no process");
    StartCounting(processes);
    since_ticks_ = static_cast<uint64_t>(BootNanos() / (1'000'000'000 / sysconf(_SC_CLK_TCK)));
    for (const pid_t pid : AllPids()) {
      if (const absl::StatusOr<rlimit> limit = LimitOf({pid, 0}); limit.ok()) had_before_.insert(limit->rlim_cur);
    }
    // What is forked before its parent's limit is lowered is found the next time.
    for (int round = 0; round < kMostRounds; ++round) {
      std::erase_if(processes, [&](const ProcessId& process) { return looked_at_.count(process) > 0; });
      if (processes.empty()) {
        Look();
        looking_ = std::make_unique<Regularly>(kEvery, [this] { Look(); });
        return absl::OkStatus();
      }
      const absl::Status lowered = Lower(processes);
      if (!lowered.ok()) return lowered;
      processes = service_.Processes();
    }
    return absl::DeadlineExceededError("it forks faster than its limits can be lowered");
  }

  absl::Status Lower(const std::vector<ProcessId>& processes) {
    Undo undo;
    SoftLimitUndo& limits = *undo.mutable_soft_limit();
    limits.set_since_ticks(since_ticks_);
    std::vector<rlimit> now;
    for (const ProcessId& process : processes) {
      looked_at_.insert(process);
      const absl::StatusOr<std::set<rlim_t>> open = OpenNumbers(process);
      const absl::StatusOr<rlimit> limit = LimitOf(process);
      if (!IsAlive(process)) continue;
      if (!open.ok()) return open.status();
      if (!limit.ok()) return limit.status();
      const rlim_t set = LimitFor(*open, fds_.leave());
      // Inherited from one that was lowered already: taken back with that.
      if (process.start_ticks >= since_ticks_ && set_.count(limit->rlim_cur) > 0) continue;
      if (set >= limit->rlim_cur) continue;
      SoftLimitUndo::OfProcess& each = *limits.add_processes();
      *each.mutable_process() = ToProto(process);
      each.set_before(limit->rlim_cur);
      each.set_set(set);
      if (had_before_.count(set) > 0) limits.set_only_descendants(true);
      now.push_back({set, limit->rlim_max});
    }
    if (limits.processes().empty()) return absl::OkStatus();
    const absl::StatusOr<uint64_t> number = context_.journal->Pend(undo);
    if (!number.ok()) return number.status();
    pending_.push_back({*number, undo});
    for (size_t i = 0; i < now.size(); ++i) {
      const ProcessId process = FromProto(limits.processes(static_cast<int>(i)).process());
      set_.insert(now[i].rlim_cur);
      if (prlimit(process.pid, RLIMIT_NOFILE, &now[i], nullptr) != 0 && IsAlive(process)) {
        return absl::ErrnoToStatus(errno, absl::StrCat("cannot lower the soft limit of open files of pid ", process.pid));
      }
    }
    return absl::OkStatus();
  }

  void StartCounting(const std::vector<ProcessId>& processes) {
    absl::StatusOr<std::unique_ptr<Refusals>> refusals = Refusals::Start(service_.IsRun() ? service_.CgroupFolder().value_or("") : "");
    if (!refusals.ok() || !(*refusals)->Watch(processes).ok()) return;
    absl::MutexLock lock(&mutex_);
    refusals_ = *std::move(refusals);
    refusals_seen_ = true;
  }

  void CountRefusals() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    if (refusals_ != nullptr) refused_ = refusals_->Seen({EMFILE});
  }

  void Look() {
    const std::vector<ProcessId> processes = service_.Processes();
    std::optional<int64_t> fewest;
    for (const ProcessId& process : processes) {
      const absl::StatusOr<std::set<rlim_t>> open = OpenNumbers(process);
      const absl::StatusOr<rlimit> limit = LimitOf(process);
      if (!open.ok() || !limit.ok() || open->empty()) continue;  // one that is ending has nothing open
      const int64_t left = FreeBelow(*open, limit->rlim_cur);
      fewest = std::min(left, fewest.value_or(left));
    }
    absl::MutexLock lock(&mutex_);
    if (refusals_ != nullptr) refusals_->Watch(processes).IgnoreError();
    if (fewest) fewest_ = std::min(*fewest, fewest_.value_or(*fewest));
  }

  const Fds fds_;
  const FaultContext context_;
  const RunningService& service_;
  uint64_t since_ticks_ = 0;
  std::set<rlim_t> had_before_;  // the soft limits of all processes of the host
  std::set<rlim_t> set_;
  std::set<ProcessId> looked_at_;
  std::vector<Pending> pending_;
  absl::Mutex mutex_;
  std::unique_ptr<Refusals> refusals_ ABSL_GUARDED_BY(mutex_);
  bool refusals_seen_ ABSL_GUARDED_BY(mutex_) = false;
  int64_t refused_ ABSL_GUARDED_BY(mutex_) = 0;
  std::optional<int64_t> fewest_ ABSL_GUARDED_BY(mutex_);
  std::unique_ptr<Regularly> looking_;  // last: it ends first
};

}  // namespace

absl::Status CheckFds(const Fds& fds, const Service& service) {
  if (!service.has_attach()) return absl::OkStatus();  // squall's own child, and nobody but root gives it to another user
  const absl::StatusOr<ProcessId> leader = FindTarget(service.attach());
  if (!leader.ok()) return leader.status();
  for (const ProcessId& process : WithDescendants({*leader})) {
    const absl::Status may = MayLower(process);
    if (may.ok()) continue;
    return absl::FailedPreconditionError(
        absl::StrCat("leaving ", service.name(), " few descriptors needs the right to lower its limit: ", may.message(),
                     "; run squall as root, or as the user whose process that is"));
  }
  return absl::OkStatus();
}

std::unique_ptr<ActiveFault> MakeFds(const Fds& fds, const FaultContext& context) { return std::make_unique<FdsFault>(fds, context); }

}  // namespace squall
