// abandon: clients of the load that hang up.
//
// What and to whom: a share of the requests that the load sends while the fault acts; which ones follows from the fault's seed
//   and their numbers. A client of these that has no answer after `patience` closes its connection in the middle of the
//   request, as the tab of a browser does. What is answered earlier is answered, and no other request notices.
// Proof: requests that were sent meanwhile, and those of them whose client hung up.
// Undo while the agent lives: nobody hangs up any more, not even the clients of requests that are on their way.
// Undo when the agent was killed: the load dies with the agent, and nothing is left.

#include "absl/strings/str_cat.h"
#include "agent/faults/load_fault.h"

namespace squall {
namespace {

class AbandonFault : public ActiveFault {
 public:
  AbandonFault(const Abandon& abandon, const FaultContext& context) : abandon_(abandon), context_(context) {}

  absl::Status Inject() override {
    const absl::StatusOr<LoadGenerator*> load = LoadOf(abandon_.load(), context_);
    if (!load.ok()) return load.status();
    const int64_t patience_ns = absl::ToInt64Nanoseconds(ToDuration(abandon_.patience()));
    if (!(abandon_.share() > 0 && abandon_.share() <= 100)) {
      return absl::InvalidArgumentError(absl::StrCat("the share of requests is ", abandon_.share(), " %; write one above 0 % and up to 100 %"));
    }
    if (patience_ns <= 0) return absl::InvalidArgumentError("the patience must be longer than nothing");
    load_ = *load;
    id_ = load_->StartHangUps({abandon_.share(), patience_ns, context_.seed});
    return absl::OkStatus();
  }

  absl::Status Heal(HealFor) override {
    if (load_ != nullptr) load_->EndHangUps(id_);
    return absl::OkStatus();
  }

  Evidence Seen() override {
    Evidence evidence;
    if (load_ == nullptr) return evidence;
    const HungUp seen = load_->SeenHangUps(id_);
    evidence.set_requests(seen.requests);
    evidence.set_abandoned(seen.abandoned);
    return evidence;
  }

 private:
  const Abandon abandon_;
  const FaultContext context_;
  LoadGenerator* load_ = nullptr;
  int id_ = 0;
};

}  // namespace

std::unique_ptr<ActiveFault> MakeAbandon(const Abandon& abandon, const FaultContext& context) {
  return std::make_unique<AbandonFault>(abandon, context);
}

}  // namespace squall
