// cpu: takes processor time away.
//
// quota (scope: process)
// What and to whom: all processes of the service together get a share of what they may use now: of their cfs quota, where
//   they or a cgroup above have one, else of the cores that they may run on. A service that squall runs has a cgroup of
//   its own from its start. One that runs already is limited in its cgroup where nothing else is in that; otherwise its
//   processes are moved into a cgroup made for them below the one where they are (v1; v2 allows that at its root only, and
//   elsewhere the fault is refused before anything is touched). squall's own processes are never in it.
// Proof: the time for which the kernel throttled the service, and the share that it used.
// Undo while the agent lives: the limit is as before, read back; what was moved, and what it has forked since, is put back,
//   and the cgroup is gone.
// Undo when the agent was killed: the kernel does nothing. The old limit and the cgroup to make are in the journal before either is
//   touched, and the guardian takes them back within a second; where it was killed too, the next agent or `squall-agent heal`.
//
// load (scope: host)
// What and to whom: a burner is pinned on each core and steers by the processor time that it has used, so that the core is
//   busy for the share asked for where nobody else wants it. Where others do, the scheduler decides what it gets. It runs
//   in the service's cgroup where that has one of its own, and so shares its limits.
// Proof: processor time that the burners used, as the kernel counts it.
// Undo while the agent lives: the burners are killed and waited for.
// Undo when the agent was killed: the kernel kills them (PR_SET_PDEATHSIG).

#include <unistd.h>

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "agent/faults/burner.h"
#include "agent/faults/fault.h"
#include "agent/faults/service_limit.h"
#include "agent/process/cpu_cgroup.h"
#include "agent/undo.h"
#include "base/clock.h"
#include "base/lately.h"

namespace squall {
namespace {

constexpr int64_t kSecondNs = 1'000'000'000;

absl::Status About(const std::string& service, const absl::Status& status) {
  return absl::Status(status.code(), absl::StrCat("service ", service, ": ", status.message()));
}

// Processor time used by processes and by the children that they have waited for.
double CpuSeconds(const std::vector<ProcessId>& processes) {
  double seconds = 0;
  for (const ProcessId& process : processes) {
    const absl::StatusOr<ProcStat> stat = ReadStat(process.pid);
    if (stat.ok() && stat->id == process) seconds += stat->cpu_seconds + stat->waited_for_cpu_seconds;
  }
  return seconds;
}

class QuotaFault : public ActiveFault {
 public:
  QuotaFault(const Cpu& cpu, const FaultContext& context)
      : cpu_(cpu), context_(context), service_(*context.services->at(cpu.service())) {}

  absl::Status Inject() override {
    const absl::Status status = TryInject();
    if (status.ok()) return status;
    Heal(HealFor::kFaultOver).IgnoreError();
    return About(cpu_.service(), status);
  }

  // What is in the journal says which values are ours: the next one has to be there before it is written.
  absl::Status Change(const Fault& fault) override {
    const absl::StatusOr<CpuLimit> limit = ShareOf(fault.cpu().quota(), cores_);
    if (!limit.ok()) return About(cpu_.service(), limit.status());
    Undo undo = undo_;
    uint64_t pending = pending_;
    if (undo.has_cpu_limit()) {
      undo.mutable_cpu_limit()->set_during_quota_us(limit->quota_us);
      undo.mutable_cpu_limit()->set_during_period_us(limit->period_us);
      const absl::StatusOr<uint64_t> pended = context_.journal->Pend(undo);
      if (!pended.ok()) return About(cpu_.service(), pended.status());
      pending = *pended;
    }
    const absl::Status written = WriteLimit(cgroup_, *limit);
    if (written.ok()) {
      std::swap(undo_, undo);
      std::swap(pending_, pending);
      cpu_.set_quota(fault.cpu().quota());
      lately_.Changed(MightHaveUsed(), Used());
    } else if (const absl::StatusOr<CpuLimit> before = ShareOf(cpu_.quota(), cores_); before.ok()) {
      WriteLimit(cgroup_, *before).IgnoreError();  // it may have been written, and not be confirmed
    }
    if (pending != pending_) context_.journal->Done(pending);
    return About(cpu_.service(), written);
  }

  absl::Status Heal(HealFor) override {
    if (pending_ == 0 || healed_) return absl::OkStatus();
    Look();
    const absl::Status status = TakeBack(undo_);
    if (!status.ok()) return status;
    context_.journal->Done(pending_);
    healed_ = true;
    return status;
  }

  Evidence Seen() override {
    if (pending_ != 0 && !healed_) Look();
    Evidence evidence;
    evidence.set_throttled_ns(throttled_ns_);
    evidence.set_requested_percent(cpu_.quota());
    evidence.set_achieved_percent(used_percent_);
    return evidence;
  }

 private:
  absl::Status TryInject() {
    const std::vector<ProcessId> processes = service_.Processes();
    if (processes.empty()) return absl::FailedPreconditionError("it has no process");
    const absl::StatusOr<LimitPlace> place = PlaceOfService("cpu", service_);
    if (!place.ok()) return place.status();
    const absl::StatusOr<std::vector<int>> cores = CoresOf(processes[0].pid);
    if (!cores.ok()) return cores.status();
    cores_ = CoresAllowed(static_cast<int>(cores->size()), LimitsOver(place->cgroup));
    const absl::StatusOr<CpuLimit> limit = ShareOf(cpu_.quota(), cores_);
    if (!limit.ok()) return limit.status();

    if (place->own) {
      const absl::Status alone = CheckAlone(*place);
      if (!alone.ok()) return alone;
      const absl::StatusOr<CpuLimit> before = ReadLimit(place->cgroup);
      if (!before.ok()) return before.status();
      CpuLimitUndo& undo = *undo_.mutable_cpu_limit();
      undo.set_version(place->cgroup.version);
      undo.set_folder(place->cgroup.folder);
      undo.set_quota_us(before->quota_us);
      undo.set_period_us(before->period_us);
      undo.set_during_quota_us(limit->quota_us);
      undo.set_during_period_us(limit->period_us);
      cgroup_ = place->cgroup;
    } else {
      const absl::StatusOr<LimitCgroup> below = BelowOf(place->cgroup, service_.name());
      if (!below.ok()) return below.status();
      undo_.mutable_made_cgroup()->set_folder(below->folder);
      cgroup_ = *below;
    }
    const absl::StatusOr<uint64_t> pending = context_.journal->Pend(undo_);
    if (!pending.ok()) return pending.status();
    pending_ = *pending;
    if (!place->own) {
      const absl::StatusOr<LimitCgroup> made = MakeBelow(place->cgroup, service_.name());
      if (!made.ok()) return made.status();
    }
    throttled_before_ns_ = ThrottledNs(cgroup_).value_or(0);
    used_before_ = CpuSeconds(processes);
    began_ns_ = BootNanos();
    const absl::Status limited = WriteLimit(cgroup_, *limit);
    if (!limited.ok() && place->own) {
      // What the kernel made of it TakeBack would take for somebody else's.
      WriteLimit(cgroup_, {undo_.cpu_limit().quota_us(), undo_.cpu_limit().period_us()}).IgnoreError();
    }
    if (!limited.ok() || place->own) return limited;
    return MoveAllInto(cgroup_, [this] { return service_.Processes(); });
  }

  // Each of two would put back what the other had set.
  absl::Status CheckAlone(const LimitPlace& place) const {
    for (const PendingUndo& pending : context_.journal->Pending()) {
      if (pending.undo().cpu_limit().folder() != place.cgroup.folder) continue;
      return absl::FailedPreconditionError("another fault has set its quota already; let one end before the other begins");
    }
    return CheckNotMoved(place, service_, *context_.journal);
  }

  void Look() {
    const absl::StatusOr<int64_t> throttled = ThrottledNs(cgroup_);
    if (throttled.ok()) throttled_ns_ = *throttled - throttled_before_ns_;
    // What has ended without being waited for is no longer seen.
    const int64_t might = MightHaveUsed(), used = Used();
    if (might > 0 && used >= 0) used_percent_ = lately_.Percent(might, used);
  }

  // Nanoseconds of processor time since it began: what the service might have used without the limit, and used.
  int64_t MightHaveUsed() const { return static_cast<int64_t>(static_cast<double>(BootNanos() - began_ns_) * cores_); }
  int64_t Used() const { return static_cast<int64_t>(1e9 * (CpuSeconds(service_.Processes()) - used_before_)); }

  Cpu cpu_;
  const FaultContext context_;
  const RunningService& service_;
  Undo undo_;
  uint64_t pending_ = 0;
  LimitCgroup cgroup_;
  bool healed_ = false;
  double cores_ = 0;  // that it might use before
  int64_t began_ns_ = 0;
  int64_t throttled_before_ns_ = 0;
  double used_before_ = 0;
  int64_t throttled_ns_ = 0;
  Lately lately_{kSecondNs};
  double used_percent_ = 0;
};

class LoadFault : public ActiveFault {
 public:
  LoadFault(const Cpu& cpu, const FaultContext& context)
      : cpu_(cpu), context_(context), service_(*context.services->at(cpu.service())) {}

  absl::Status Inject() override {
    Burners::Options options;
    options.percent = cpu_.load();
    const std::optional<ProcessId> leader = service_.Leader();
    if (!leader) return About(cpu_.service(), absl::FailedPreconditionError("it does not run"));
    absl::StatusOr<std::vector<int>> cores = CoresOf(leader->pid);
    if (!cores.ok()) return About(cpu_.service(), cores.status());
    options.cores = *std::move(cores);
    if (cpu_.cores() > 0) {
      if (options.cores.size() < static_cast<size_t>(cpu_.cores())) {
        return About(cpu_.service(),
                     absl::FailedPreconditionError(absl::StrCat("it may run on ", options.cores.size(), " cores only, and ",
                                                                cpu_.cores(), " are to be loaded")));
      }
      options.cores.resize(static_cast<size_t>(cpu_.cores()));
    }
    options.cgroup = FindCgroup();
    absl::StatusOr<std::unique_ptr<Burners>> burners = absl::CancelledError("the agent is stopping");
    context_.main_thread->Run([&] { burners = Burners::Start(options); });
    if (!burners.ok()) return burners.status();
    burners_ = *std::move(burners);
    service_.Disregard(burners_->processes());
    return absl::OkStatus();
  }

  absl::Status Change(const Fault& fault) override {
    if (burners_ == nullptr) return ActiveFault::Change(fault);
    const Used used = SeenUsed();
    lately_.Changed(used.wall_ns, used.cpu_ns);
    cpu_.set_load(fault.cpu().load());
    burners_->SetPercent(cpu_.load());
    return absl::OkStatus();
  }

  absl::Status Heal(HealFor) override {
    if (burners_ == nullptr) return absl::OkStatus();
    const absl::Status status = burners_->Stop();
    if (status.ok()) service_.Disregard({});
    return status;
  }

  Evidence Seen() override {
    Evidence evidence;
    evidence.set_requested_percent(cpu_.load());
    if (burners_ == nullptr) return evidence;
    const Used used = SeenUsed();
    evidence.set_burned_ns(used.cpu_ns);
    evidence.set_achieved_percent(lately_.Percent(used.wall_ns, used.cpu_ns));
    return evidence;
  }

 private:
  // By all burners together.
  struct Used {
    int64_t wall_ns = 0;
    int64_t cpu_ns = 0;
  };
  Used SeenUsed() {
    Used all;
    for (const Burners::Used& used : burners_->Seen()) {
      all.wall_ns += used.wall_ns;
      all.cpu_ns += used.cpu_ns;
    }
    return all;
  }

  // The service's, where it is its own and may be entered; else the agent's.
  std::string FindCgroup() const {
    const absl::StatusOr<LimitPlace> place = PlaceOfService("cpu", service_);
    if (!place.ok() || !place->own) return "";
    return access(FileOf(place->cgroup, "cgroup.procs").c_str(), W_OK) == 0 ? place->cgroup.folder : "";
  }

  Cpu cpu_;
  const FaultContext context_;
  RunningService& service_;
  std::unique_ptr<Burners> burners_;
  Lately lately_{kSecondNs};
};

}  // namespace

absl::Status CheckCpu(const Cpu& cpu, const Service& service) {
  if (cpu.how_case() != Cpu::kQuota) return absl::OkStatus();
  return CheckLimit("a cpu quota", "cpu", service, ", or use cpu: {load: ...}, which needs no privileges");
}

std::unique_ptr<ActiveFault> MakeCpu(const Cpu& cpu, const FaultContext& context) {
  if (cpu.how_case() == Cpu::kQuota) return std::make_unique<QuotaFault>(cpu, context);
  return std::make_unique<LoadFault>(cpu, context);
}

}  // namespace squall
