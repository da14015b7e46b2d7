#pragma once

#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "proto/assertion.pb.h"

namespace squall {

// What a circuit breaker of a known library does unless it is told otherwise. docs/circuit-breakers.md says
// where each figure comes from.
struct BreakerProfile {
  CircuitBreaker::Profile profile;
  absl::Duration open_time;  // zero: the library has no default
  int failures = 0;          // in a row that open it; 0: it goes by share, or has no default
  double failure_share = 0;  // percent
  int minimum_calls = 0;     // over at least so many calls
  absl::Duration over;       // or so much time
  absl::Duration sweep;      // it acts on failures only so often
  int probes = 1;            // 0: half-open has no limit, or there is no half-open
  absl::string_view metric;  // that tells its state; empty: none known
  absl::string_view opened;  // counter that grows with openings or calls turned away
};

// nullptr for PROFILE_UNSPECIFIED.
const BreakerProfile* FindProfile(CircuitBreaker::Profile profile);

// Fills in what is left out and can be known: the profile's figures, the state metric where the service that
// calls `has_metrics`, and the budgets. `rate` is that of the load, per second, at its lowest; 0: not known.
// What neither the scenario nor the profile tells stays unset; `probes` 0 means no limit.
void FillBreaker(CircuitBreaker& breaker, double rate, bool has_metrics);

}  // namespace squall
