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

namespace squall {
namespace {

class SurgeFault : public ActiveFault {
 public:
  SurgeFault(const Surge& surge, const FaultContext& context) : surge_(surge), context_(context) {}

  absl::Status Inject() override {
    const absl::StatusOr<HttpLoad*> load = LoadOf(surge_.load(), context_);
    if (!load.ok()) return load.status();
    if (!(std::isfinite(surge_.times()) && surge_.times() > 0)) {
      return absl::InvalidArgumentError(absl::StrCat("the load cannot be multiplied by ", surge_.times(), "; write for example 3"));
    }
    load_ = *load;
    id_ = load_->StartSurge(surge_.times());
    return absl::OkStatus();
  }

  absl::Status Heal(HealFor) override {
    if (load_ != nullptr) load_->EndSurge(id_);
    return absl::OkStatus();
  }

  Evidence Seen() override {
    Evidence evidence;
    if (load_ == nullptr) return evidence;
    const SurgeRates seen = load_->SeenSurge(id_);
    evidence.set_base_rate(seen.base);
    evidence.set_requested_requests_rate(seen.requested);
    evidence.set_achieved_requests_rate(seen.achieved);
    return evidence;
  }

 private:
  const Surge surge_;
  const FaultContext context_;
  HttpLoad* load_ = nullptr;
  int id_ = 0;
};

}  // namespace

std::unique_ptr<ActiveFault> MakeSurge(const Surge& surge, const FaultContext& context) {
  return std::make_unique<SurgeFault>(surge, context);
}

}  // namespace squall
