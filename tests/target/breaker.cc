#include "tests/target/breaker.h"

#include "absl/strings/str_cat.h"

namespace squall::target {

Breaker::Permit Breaker::Ask(absl::Time now) {
  const std::lock_guard<std::mutex> lock(mutex_);
  Permit permit;
  if (RefusesLocked(now)) {
    ++refused_;
    return permit;
  }
  if (state_ == State::kOpen) {
    state_ = State::kProbing;
    ++epoch_;
  }
  permit.epoch_ = epoch_;
  return permit;
}

void Breaker::Report(Permit permit, bool success, absl::Time now) {
  const std::lock_guard<std::mutex> lock(mutex_);
  if (open_time_ == absl::ZeroDuration() || permit.epoch_ != epoch_) return;
  if (success) {
    if (state_ == State::kProbing && mutant_ == BreakerMutant::kNeverCloses) return Open(now);
    if (state_ == State::kProbing) {
      state_ = State::kClosed;
      ++epoch_;
    }
    failures_ = 0;
  } else if (state_ == State::kProbing) {
    if (mutant_ != BreakerMutant::kWedgesHalfOpen) Open(now);
  } else if (mutant_ != BreakerMutant::kNeverOpens && ++failures_ >= failures_to_trip_) {
    Open(now);
  }
}

bool Breaker::Refuses(absl::Time now) {
  const std::lock_guard<std::mutex> lock(mutex_);
  const bool refuses = RefusesLocked(now);
  refused_ += refuses;
  return refuses;
}

std::string Breaker::Metrics() const {
  const std::lock_guard<std::mutex> lock(mutex_);
  return absl::StrCat("# HELP circuit_breaker_state 0 closed, 1 open, 2 half-open.\n",
                      "# TYPE circuit_breaker_state gauge\n",
                      "circuit_breaker_state ", static_cast<int>(state_), "\n",
                      "# HELP circuit_breaker_opened_total How often it opened.\n",
                      "# TYPE circuit_breaker_opened_total counter\n",
                      "circuit_breaker_opened_total ", opened_, "\n",
                      "# HELP circuit_breaker_refused_total Calls that it did not allow.\n",
                      "# TYPE circuit_breaker_refused_total counter\n",
                      "circuit_breaker_refused_total ", refused_, "\n");
}

bool Breaker::RefusesLocked(absl::Time now) const {
  if (state_ == State::kProbing) return mutant_ != BreakerMutant::kFloodsWithProbes;
  return state_ == State::kOpen && now < open_until_;
}

void Breaker::Open(absl::Time now) {
  state_ = State::kOpen;
  ++epoch_;
  ++opened_;
  failures_ = 0;
  open_until_ = now + open_time_;
}

}  // namespace squall::target
