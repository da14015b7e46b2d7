#pragma once

#include <cstdint>
#include <vector>

#include "absl/time/time.h"
#include "proto/assertion.pb.h"
#include "proto/scenario.pb.h"

namespace squall {

// What a rate limiter promises in numbers, of all its instances together. Pure arithmetic over its spec.
struct AdmissionLimit {
  double rate = 0;          // per second, in the long run
  double burst = 0;         // at least so many at once, after a quiet time of `refill`
  double at_once = 0;       // at most so many in an instant
  double slack = 0;         // one for each instance: limiters round
  int64_t window_ns = 0;    // of fixed_window and sliding_log; 0: no window
  double per_window = 0;    // admitted in a window
  bool aligned = false;     // windows follow the clock, so that one end may meet the next begin
  absl::Duration refill;    // quiet time after which the whole burst is there again

  // The most that may be admitted in any interval of this length, for models without a window exactly, for the others
  // a bound that is exact from afar.
  double Most(int64_t length_ns) const { return at_once + rate * static_cast<double>(length_ns) / 1e9 + slack; }
  // The same in any interval shorter than `windows` windows. REQUIRES: window_ns > 0.
  double MostWithin(int windows) const { return per_window * (windows + (aligned ? 1 : 0)) + slack; }
};
AdmissionLimit LimitOf(const RateLimiter& spec);

// What a load offers that a rate limiter judges, where the file gives it neither rate nor steps: half of the rate, quiet
// until the burst is whole, a burst, quiet again, 0.8 R, 2 R, quiet, a burst, quiet, and on at half of the rate. The first
// step lasts for `first`; with `retry_after` the quiet times have room for requests that are sent again.
std::vector<Step> LimiterSteps(const RateLimiter& spec, absl::Duration first);

// A load of which the plan made the steps. Only they stand beside a rate, which is that of the baseline.
bool HasPlannedSteps(const Load& load);

// The least time between two requests that are sent again, and how long before the end of a quiet time there is none.
absl::Duration RetryEvery(const RateLimiter& spec);
absl::Duration RetryRest(const RateLimiter& spec);

}  // namespace squall
