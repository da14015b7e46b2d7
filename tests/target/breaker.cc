#include "tests/target/breaker.h"

namespace squall::target {

Breaker::Permit Breaker::Ask(absl::Time now) {
  const std::lock_guard<std::mutex> lock(mutex_);
  Permit permit;
  if (RefusesLocked(now)) return permit;
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
    if (state_ == State::kProbing) {
      state_ = State::kClosed;
      ++epoch_;
    }
    failures_ = 0;
  } else if (state_ == State::kProbing || ++failures_ >= failures_to_trip_) {
    Open(now);
  }
}

bool Breaker::Refuses(absl::Time now) const {
  const std::lock_guard<std::mutex> lock(mutex_);
  return RefusesLocked(now);
}

bool Breaker::RefusesLocked(absl::Time now) const {
  return state_ == State::kProbing || (state_ == State::kOpen && now < open_until_);
}

void Breaker::Open(absl::Time now) {
  state_ = State::kOpen;
  ++epoch_;
  failures_ = 0;
  open_until_ = now + open_time_;
}

}  // namespace squall::target
