#pragma once

#include <vector>

#include "absl/time/time.h"
#include "absl/types/span.h"
#include "controller/plan.h"

namespace squall {

// One action of the faults' clock.
struct Action {
  absl::Duration at;  // from the start of the faults, as planned
  bool inject;        // or heal
  const Fault* fault;
};

// What is injected and healed, in order, and when. The clock stands still while something is injected, and while a killed
// service's supervisor is waited for: a fault acts for the whole of its `for`, however long that took, and nothing changes places.
class FaultClock {
 public:
  explicit FaultClock(const Plan& plan);

  // What is done next, all at the same instant: on one agent or on several. Empty: all is done.
  absl::Span<const Action> Next() const;
  // When that is due, from the start of the faults.
  absl::Duration Due() const { return actions_[done_].at + stood_; }
  // It was done, and took so long.
  void Done(absl::Duration took);

 private:
  std::vector<Action> actions_;
  size_t done_ = 0;
  absl::Duration stood_;
};

}  // namespace squall
