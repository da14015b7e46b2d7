// pids: leaves a service few more tasks.
//
// What and to whom: all processes of the service together may have so many more processes and threads than they have when the fault
//   begins (scope: process): pids.max. fork, clone and pthread_create fail with EAGAIN once those are used up; what runs goes on, and
//   what ends makes room. A service that squall runs has a cgroup of its own from its start. One that runs already is limited in its
//   cgroup where nothing else is in that; otherwise its processes are moved into a cgroup made for them below the one where they
//   are (v1; v2 allows that at its root only, and elsewhere the fault is refused before anything is touched).
// Proof: how often the kernel refused one, as it counts it; the fewest that were left.
// Undo while the agent lives: the limit is as before, read back; what was moved, and what it has forked since, is put back, and the
//   cgroup is gone.
// Undo when the agent was killed: the kernel does nothing. The old limit and the cgroup to make are in the journal before either is
//   touched, and the guardian takes them back within a second; where it was killed too, the next agent or `squall-agent heal`.

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "agent/faults/fault.h"
#include "agent/faults/service_limit.h"

namespace squall {
namespace {

absl::Status About(const std::string& service, const absl::Status& status) {
  return status.ok() ? status : absl::Status(status.code(), absl::StrCat("service ", service, ": ", status.message()));
}

class PidsFault : public ActiveFault {
 public:
  PidsFault(const Pids& pids, const FaultContext& context)
      : pids_(pids), limit_("pids", context.services->at(pids.service()).get(), context.journal) {}

  absl::Status Inject() override {
    const absl::Status status = TryInject();
    if (!status.ok()) limit_.TakeBack().IgnoreError();
    return About(pids_.service(), status);
  }

  absl::Status Heal(HealFor) override {
    Look();
    return About(pids_.service(), limit_.TakeBack());
  }

  Evidence Seen() override {
    Look();
    Evidence evidence;
    evidence.set_requested_left(pids_.leave());
    evidence.set_fewest_left(fewest_left_);
    evidence.set_refusals(refusals_);
    evidence.set_refusals_seen(set_);
    return evidence;
  }

 private:
  absl::Status TryInject() {
    const absl::Status entered = limit_.Enter();
    if (!entered.ok()) return entered;
    const absl::StatusOr<int64_t> tasks = ReadCgroupNumber(FileOf(limit_.cgroup(), "pids.current"));
    if (!tasks.ok()) return tasks.status();
    refusals_before_ = Refusals();
    peak_before_ = Peak();
    max_ = *tasks + pids_.leave();
    const absl::Status lowered = limit_.Lower("pids.max", max_);
    if (!lowered.ok()) return lowered;
    set_ = true;
    fewest_left_ = pids_.leave();
    Look();
    return absl::OkStatus();
  }

  // Newer kernels tell v2 cgroups of those below too; the others count where the fork was.
  int64_t Refusals() const {
    if (!IsCgroupThere(FileOf(limit_.cgroup(), "pids.events.local"))) return SumBelow(limit_.cgroup(), "pids.events", "max");
    return ReadCgroupKey(FileOf(limit_.cgroup(), "pids.events"), "max").value_or(0);
  }
  int64_t Peak() const { return ReadCgroupNumber(FileOf(limit_.cgroup(), "pids.peak")).value_or(0); }

  // What was seen last stays once the cgroup is gone, or the service is healed.
  void Look() {
    if (!set_ || !limit_.IsPending()) return;
    const absl::StatusOr<int64_t> tasks = ReadCgroupNumber(FileOf(limit_.cgroup(), "pids.current"));
    if (tasks.ok()) fewest_left_ = std::min(fewest_left_, max_ - *tasks);
    if (const int64_t peak = Peak(); peak > peak_before_) fewest_left_ = std::min(fewest_left_, max_ - peak);
    refusals_ = std::max(refusals_, Refusals() - refusals_before_);
    if (refusals_ > 0) fewest_left_ = 0;
    fewest_left_ = std::max<int64_t>(fewest_left_, 0);
  }

  const Pids pids_;
  ServiceLimit limit_;
  bool set_ = false;
  int64_t max_ = 0;
  int64_t refusals_before_ = 0, peak_before_ = 0;
  int64_t fewest_left_ = 0, refusals_ = 0;
};

}  // namespace

absl::Status CheckPids(const Pids& pids, const Service& service) { return CheckLimit("a limit of tasks", "pids", service); }

std::unique_ptr<ActiveFault> MakePids(const Pids& pids, const FaultContext& context) {
  return std::make_unique<PidsFault>(pids, context);
}

}  // namespace squall
