#include "controller/fault_clock.h"

#include <algorithm>

namespace squall {

FaultClock::FaultClock(const Plan& plan) {
  for (const PlannedFault& planned : plan.faults) {
    actions_.push_back({planned.at, true, planned.fault});
    actions_.push_back({planned.until, false, planned.fault});
  }
  // What ends makes room before what begins; a fault without length begins before it ends.
  std::stable_sort(actions_.begin(), actions_.end(), [](const Action& a, const Action& b) {
    if (a.at != b.at) return a.at < b.at;
    return !a.inject && b.inject && a.fault != b.fault;
  });
}

absl::Span<const Action> FaultClock::Next() const {
  const auto left = absl::MakeConstSpan(actions_).subspan(done_);
  size_t count = 0;
  while (count < left.size() && left[count].at == left[0].at && left[count].inject == left[0].inject) ++count;
  return left.first(count);
}

void FaultClock::Done(absl::Duration took) {
  const absl::Span<const Action> done = Next();
  const bool waited = std::any_of(done.begin(), done.end(), [](const Action& action) {
    return !action.inject && action.fault->kill().has_supervisor_within();
  });
  if (done.front().inject || waited) stood_ += took;
  done_ += done.size();
}

}  // namespace squall
