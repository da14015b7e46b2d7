#include "controller/breaker_profiles.h"

#include "base/durations.h"
#include "controller/scalars.h"
#include "gtest/gtest.h"

namespace squall {
namespace {

CircuitBreaker Filled(CircuitBreaker::Profile profile, double rate = 200, bool has_metrics = false) {
  CircuitBreaker breaker;
  breaker.set_profile(profile);
  FillBreaker(breaker, rate, has_metrics);
  return breaker;
}

absl::Duration OpensWithin(const CircuitBreaker& breaker) { return ToDuration(breaker.opens_within()); }

TEST(BreakerProfiles, EveryOneIsKnown) {
  for (int i = CircuitBreaker::Profile_MIN + 1; i <= CircuitBreaker::Profile_MAX; ++i) {
    ASSERT_NE(FindProfile(static_cast<CircuitBreaker::Profile>(i)), nullptr) << i;
    EXPECT_EQ(FindProfile(static_cast<CircuitBreaker::Profile>(i))->profile, i);
  }
  EXPECT_EQ(FindProfile(CircuitBreaker::PROFILE_UNSPECIFIED), nullptr);
}

TEST(BreakerProfiles, FillInWhatTheLibraryDoes) {
  const CircuitBreaker go = Filled(CircuitBreaker::PROFILE_GOBREAKER);
  EXPECT_EQ(ToDuration(go.open_time()), absl::Seconds(60));
  EXPECT_EQ(go.failures(), 6);
  EXPECT_EQ(go.probes(), 1);
  EXPECT_EQ(ToDuration(go.closes_within()), absl::Seconds(95));
  const CircuitBreaker java = Filled(CircuitBreaker::PROFILE_RESILIENCE4J);
  EXPECT_EQ(java.failure_share(), 50);
  EXPECT_EQ(java.minimum_calls(), 100);
  EXPECT_EQ(java.probes(), 10);
  EXPECT_EQ(ToDuration(Filled(CircuitBreaker::PROFILE_OPOSSUM).over()), absl::Seconds(10));
  EXPECT_EQ(Filled(CircuitBreaker::PROFILE_ENVOY_OUTLIER).probes(), 0) << "no half-open: no limit";
  EXPECT_EQ(ToDuration(Filled(CircuitBreaker::PROFILE_NGINX).open_time()), absl::Seconds(10));
  EXPECT_FALSE(Filled(CircuitBreaker::PROFILE_GO_RESILIENCY).has_open_time()) << "the library has no default";
}

TEST(BreakerProfiles, OpenWithinTheTimeThatTheLoadNeedsForTheFailures) {
  EXPECT_EQ(OpensWithin(Filled(CircuitBreaker::PROFILE_GOBREAKER)), absl::Seconds(2.03));
  EXPECT_EQ(OpensWithin(Filled(CircuitBreaker::PROFILE_GOBREAKER, 2)), absl::Seconds(5));
  EXPECT_EQ(OpensWithin(Filled(CircuitBreaker::PROFILE_RESILIENCE4J)), absl::Seconds(2.5));
  EXPECT_EQ(OpensWithin(Filled(CircuitBreaker::PROFILE_OPOSSUM)), absl::Seconds(12));
  EXPECT_EQ(OpensWithin(Filled(CircuitBreaker::PROFILE_ENVOY_OUTLIER)), absl::Seconds(12.025));
  EXPECT_EQ(OpensWithin(Filled(CircuitBreaker::PROFILE_NGINX, 10)), absl::Seconds(2.1));
  EXPECT_EQ(OpensWithin(Filled(CircuitBreaker::PROFILE_GO_RESILIENCY)), absl::Seconds(5))
      << "nothing is known";
  EXPECT_EQ(OpensWithin(Filled(CircuitBreaker::PROFILE_GOBREAKER, 0)), absl::Seconds(5))
      << "nor without a rate";
  EXPECT_EQ(OpensWithin(Filled(CircuitBreaker::PROFILE_GOBREAKER, 0.001)), absl::Hours(1));
}

TEST(BreakerProfiles, GiveWayToWhatIsSaid) {
  CircuitBreaker breaker;
  breaker.set_profile(CircuitBreaker::PROFILE_RESILIENCE4J);
  breaker.set_failures(4);
  breaker.set_probes(3);
  breaker.mutable_open_time()->set_seconds(2);
  FillBreaker(breaker, 2, false);
  EXPECT_EQ(breaker.failure_share(), 0) << "who says what opens it replaces what the profile says of that";
  EXPECT_EQ(OpensWithin(breaker), absl::Seconds(4));
  EXPECT_EQ(breaker.probes(), 3);
  EXPECT_EQ(ToDuration(breaker.closes_within()), absl::Seconds(8));
  breaker.mutable_opens_within()->set_seconds(7);
  FillBreaker(breaker, 2, false);
  EXPECT_EQ(OpensWithin(breaker), absl::Seconds(7));
}

TEST(BreakerProfiles, WithoutOneCountWhatTheScenarioSays) {
  CircuitBreaker breaker;
  breaker.set_failure_share(50);
  FillBreaker(breaker, 100, true);
  EXPECT_EQ(OpensWithin(breaker), absl::Seconds(5)) << "a share of how many?";
  EXPECT_EQ(breaker.probes(), 1);
  EXPECT_FALSE(breaker.has_state());
  breaker.clear_opens_within();
  breaker.set_minimum_calls(20);
  FillBreaker(breaker, 100, true);
  EXPECT_EQ(OpensWithin(breaker), absl::Seconds(2.2));
}

TEST(BreakerProfiles, KnowTheNamesOfStateMetricsWhereTheServiceHasMetrics) {
  EXPECT_FALSE(Filled(CircuitBreaker::PROFILE_RESILIENCE4J).has_state());
  EXPECT_EQ(Filled(CircuitBreaker::PROFILE_RESILIENCE4J, 1, true).state().metric(),
            "resilience4j_circuitbreaker_state");
  EXPECT_EQ(Filled(CircuitBreaker::PROFILE_OPOSSUM, 1, true).state().metric(), "circuit");
  EXPECT_FALSE(Filled(CircuitBreaker::PROFILE_GOBREAKER, 1, true).has_state()) << "gobreaker exports none";
}

}  // namespace
}  // namespace squall
