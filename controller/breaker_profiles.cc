#include "controller/breaker_profiles.h"

#include <algorithm>
#include <array>
#include <string>

#include "base/durations.h"
#include "controller/scalars.h"

namespace squall {
namespace {

constexpr absl::Duration kNothingKnown = absl::Seconds(5);
constexpr absl::Duration kSlack = absl::Seconds(2);
constexpr absl::Duration kLongest = absl::Hours(1);

// From the first failed call until calls have stopped.
absl::Duration OpensWithin(const CircuitBreaker& breaker, double rate, absl::Duration sweep) {
  if (rate <= 0) return kNothingKnown;
  absl::Duration needs = absl::InfiniteDuration();
  if (breaker.failures() > 0) needs = absl::Seconds(breaker.failures() / rate);
  if (breaker.failure_share() > 0 && (breaker.minimum_calls() > 0 || breaker.has_over())) {
    const absl::Duration volume = absl::Seconds(breaker.minimum_calls() / rate);
    needs = std::min(needs, std::max(volume, ToDuration(breaker.over())));
  }
  if (needs == absl::InfiniteDuration()) return kNothingKnown;
  return std::min(needs + sweep + kSlack, kLongest);
}

void FillFromProfile(CircuitBreaker& breaker, const BreakerProfile& profile) {
  if (!breaker.has_open_time() && profile.open_time > absl::ZeroDuration()) {
    *breaker.mutable_open_time() = FromDuration(profile.open_time);
  }
  // Who says what opens it replaces all that the profile says of that.
  if (breaker.failures() == 0 && breaker.failure_share() == 0) {
    breaker.set_failures(profile.failures);
    breaker.set_failure_share(profile.failure_share);
  }
  if (breaker.failure_share() > 0 && breaker.minimum_calls() == 0 && !breaker.has_over()) {
    breaker.set_minimum_calls(profile.minimum_calls);
    if (profile.over > absl::ZeroDuration()) *breaker.mutable_over() = FromDuration(profile.over);
  }
  if (breaker.probes() == 0) breaker.set_probes(profile.probes);
}

void FillState(CircuitBreaker& breaker, const BreakerProfile& profile) {
  StateMetric& state = *breaker.mutable_state();
  state.set_metric(std::string(profile.metric));
  state.set_opened(std::string(profile.opened));
  state.set_open(1);
  state.set_half_open(2);
  state.set_closed(0);
}

}  // namespace

const BreakerProfile* FindProfile(CircuitBreaker::Profile profile) {
  constexpr absl::Duration kNone = absl::ZeroDuration();
  static const auto& profiles = *new std::array<BreakerProfile, 6>{{
      {CircuitBreaker::PROFILE_GOBREAKER, absl::Seconds(60), 6, 0, 0, kNone, kNone, 1, "", ""},
      {CircuitBreaker::PROFILE_RESILIENCE4J, absl::Seconds(60), 0, 50, 100, kNone, kNone, 10,
       "resilience4j_circuitbreaker_state", "resilience4j_circuitbreaker_not_permitted_calls_total"},
      {CircuitBreaker::PROFILE_OPOSSUM, absl::Seconds(30), 0, 50, 0, absl::Seconds(10), kNone, 1, "circuit",
       ""},
      {CircuitBreaker::PROFILE_GO_RESILIENCY, kNone, 0, 0, 0, kNone, kNone, 0, "", ""},
      {CircuitBreaker::PROFILE_ENVOY_OUTLIER, absl::Seconds(30), 5, 0, 0, kNone, absl::Seconds(10), 0,
       "envoy_cluster_outlier_detection_ejections_active", ""},
      {CircuitBreaker::PROFILE_NGINX, absl::Seconds(10), 1, 0, 0, kNone, kNone, 1, "", ""},
  }};
  for (const BreakerProfile& known : profiles) {
    if (known.profile == profile) return &known;
  }
  return nullptr;
}

void FillBreaker(CircuitBreaker& breaker, double rate, bool has_metrics) {
  const BreakerProfile* profile = FindProfile(breaker.profile());
  if (profile != nullptr) FillFromProfile(breaker, *profile);
  if (profile == nullptr && breaker.probes() == 0) breaker.set_probes(1);
  if (profile != nullptr && !profile->metric.empty() && has_metrics && !breaker.has_state()) {
    FillState(breaker, *profile);
  }
  if (!breaker.has_opens_within()) {
    const absl::Duration sweep = profile == nullptr ? absl::ZeroDuration() : profile->sweep;
    *breaker.mutable_opens_within() = FromDuration(OpensWithin(breaker, rate, sweep));
  }
  if (!breaker.has_closes_within()) {
    *breaker.mutable_closes_within() =
        FromDuration(std::min(1.5 * ToDuration(breaker.open_time()) + absl::Seconds(5), kLongest));
  }
}

}  // namespace squall
