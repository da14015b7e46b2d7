// A circuit breaker: stops calls to a dependency that keeps failing, and tries again after a while.
#pragma once

#include <cstdint>
#include <mutex>
#include <string>

#include "absl/time/time.h"

namespace squall::target {

// Each breaks one promise of the breaker and keeps the others.
enum class BreakerMutant {
  kNone,
  // However many calls fail.
  kNeverOpens,
  // Opens anew after a probe that succeeded, too.
  kNeverCloses,
  // Waits for ever for a probe that failed, as one that has no time-out for its probe does when that hangs.
  kWedgesHalfOpen,
  // Half-open, allows every call until one has reported.
  kFloodsWithProbes,
};

// Closed, until so many calls in a row have failed; then open for `open_time`, in which no call is allowed;
// then half-open, in which one call at a time is allowed: its success closes the breaker, its failure opens
// it anew. Thread-safe. It has no clock of its own: times are passed in and never run backwards.
class Breaker {
 public:
  // Allows every call when `open_time` is zero.
  Breaker(int failures_to_trip, absl::Duration open_time, BreakerMutant mutant = BreakerMutant::kNone)
      : failures_to_trip_(failures_to_trip), open_time_(open_time), mutant_(mutant) {}

  // Belongs to one allowed call. A call that was allowed before the breaker last changed says nothing about
  // the state that it is in now, and is ignored when it reports.
  class Permit {
   public:
    bool allowed() const { return epoch_ >= 0; }

   private:
    friend class Breaker;
    int64_t epoch_ = -1;
  };

  // Every allowed permit must be returned through Report.
  Permit Ask(absl::Time now);
  void Report(Permit permit, bool success, absl::Time now);

  // Whether Ask would refuse at this moment. Counts a refusal as one.
  bool Refuses(absl::Time now);

  // Its state (0 closed, 1 open, 2 half-open) and counters, in Prometheus' text format.
  std::string Metrics() const;

 private:
  bool RefusesLocked(absl::Time now) const;
  void Open(absl::Time now);

  enum class State { kClosed, kOpen, kProbing };

  const int failures_to_trip_;
  const absl::Duration open_time_;
  const BreakerMutant mutant_;
  mutable std::mutex mutex_;
  State state_ = State::kClosed;
  int64_t epoch_ = 0;  // grows with every change of state
  int failures_ = 0;   // in a row, while closed
  absl::Time open_until_ = absl::InfinitePast();
  int64_t opened_ = 0;
  int64_t refused_ = 0;
};

}  // namespace squall::target
