// surge: more load.
//
// What and to whom: the rate of one load is multiplied, that of its steps too. Requests stay evenly spaced and keep their
//   intended times, and there is no burst where the fault begins or ends. Several surges multiply with each other.
// Proof: requests per second that would have been due without it, that were due, and that were sent.
// Undo while the agent lives: the rate is as without it from the next request on.
// Undo when the agent was killed: the load dies with the agent, and nothing is left.

#include <cmath>

#include "absl/strings/str_cat.h"
#include "agent/faults/load_fault.h"
#include "base/clock.h"

namespace squall {
namespace {

class SurgeFault : public ActiveFault {
 public:
  SurgeFault(const Surge& surge, const FaultContext& context) : surge_(surge), context_(context) {}

  absl::Status Inject() override {
    const absl::StatusOr<LoadGenerator*> load = LoadOf(surge_.load(), context_);
    if (!load.ok()) return load.status();
    const absl::Status possible = CheckTimes(surge_.times());
    if (!possible.ok()) return possible;
    load_ = *load;
    Start(surge_.times());
    return absl::OkStatus();
  }

  // One surge ends, and another begins.
  absl::Status Change(const Fault& fault) override {
    if (load_ == nullptr) return ActiveFault::Change(fault);
    const absl::Status possible = CheckTimes(fault.surge().times());
    if (!possible.ok()) return possible;
    load_->EndSurge(id_);
    AddTo(before_);
    Start(fault.surge().times());
    return absl::OkStatus();
  }

  absl::Status Heal(HealFor) override {
    if (load_ == nullptr || over_) return absl::OkStatus();
    load_->EndSurge(id_);
    AddTo(before_);
    over_ = true;
    return absl::OkStatus();
  }

  Evidence Seen() override {
    Evidence evidence;
    if (load_ == nullptr) return evidence;
    Requests seen = before_;
    if (!over_) AddTo(seen);
    if (seen.seconds <= 0) return evidence;
    evidence.set_base_rate(seen.base / seen.seconds);
    evidence.set_requested_requests_rate(seen.requested / seen.seconds);
    evidence.set_achieved_requests_rate(seen.achieved / seen.seconds);
    return evidence;
  }

 private:
  // How many, as SurgeRates has them per second.
  struct Requests {
    double seconds = 0;
    double base = 0;
    double requested = 0;
    double achieved = 0;
  };

  static absl::Status CheckTimes(double times) {
    if (std::isfinite(times) && times > 0) return absl::OkStatus();
    return absl::InvalidArgumentError(absl::StrCat("the load cannot be multiplied by ", times, "; write for example 3"));
  }

  void Start(double times) {
    began_ns_ = BootNanos();
    id_ = load_->StartSurge(times);
  }

  // Those of the surge that was started last.
  void AddTo(Requests& requests) const {
    const SurgeRates seen = load_->SeenSurge(id_);
    const double seconds = static_cast<double>(BootNanos() - began_ns_) / 1e9;
    requests.seconds += seconds;
    requests.base += seconds * seen.base;
    requests.requested += seconds * seen.requested;
    requests.achieved += seconds * seen.achieved;
  }

  const Surge surge_;
  const FaultContext context_;
  LoadGenerator* load_ = nullptr;
  int id_ = 0;
  int64_t began_ns_ = 0;
  Requests before_;  // of the surges that were ended
  bool over_ = false;
};

}  // namespace

std::unique_ptr<ActiveFault> MakeSurge(const Surge& surge, const FaultContext& context) {
  return std::make_unique<SurgeFault>(surge, context);
}

}  // namespace squall
