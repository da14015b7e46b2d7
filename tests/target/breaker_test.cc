#include "tests/target/breaker.h"

#include <gtest/gtest.h>

namespace squall::target {
namespace {

const absl::Time kStart = absl::UnixEpoch();
constexpr absl::Duration kOpenTime = absl::Seconds(2);
constexpr absl::Duration kTick = absl::Nanoseconds(1);

// A call that ends as soon as it began. False: it was not allowed.
bool Call(Breaker& breaker, bool success, absl::Time now = kStart) {
  const Breaker::Permit permit = breaker.Ask(now);
  if (permit.allowed()) breaker.Report(permit, success, now);
  return permit.allowed();
}

void Trip(Breaker& breaker) {
  for (int i = 0; i < 5; ++i) ASSERT_TRUE(Call(breaker, false));
}

TEST(Breaker, OpensAtTheFifthFailureInARow) {
  Breaker breaker(5, kOpenTime);
  for (int i = 0; i < 4; ++i) EXPECT_TRUE(Call(breaker, false));
  EXPECT_FALSE(breaker.Refuses(kStart));
  EXPECT_TRUE(Call(breaker, false));
  EXPECT_TRUE(breaker.Refuses(kStart));
  EXPECT_FALSE(Call(breaker, true));
}

TEST(Breaker, StaysClosedWhenASuccessComesInBetween) {
  Breaker breaker(5, kOpenTime);
  for (int i = 0; i < 4; ++i) Call(breaker, false);
  Call(breaker, true);
  for (int i = 0; i < 4; ++i) Call(breaker, false);
  EXPECT_FALSE(breaker.Refuses(kStart));
}

TEST(Breaker, LetsOneProbeThroughOnceTheOpenTimeIsOver) {
  Breaker breaker(5, kOpenTime);
  Trip(breaker);
  EXPECT_FALSE(breaker.Ask(kStart + kOpenTime - kTick).allowed());
  EXPECT_FALSE(breaker.Refuses(kStart + kOpenTime));
  EXPECT_TRUE(breaker.Ask(kStart + kOpenTime).allowed());
  EXPECT_FALSE(breaker.Ask(kStart + kOpenTime).allowed());
  EXPECT_FALSE(breaker.Ask(kStart + 10 * kOpenTime).allowed());
}

TEST(Breaker, ClosesWithTheProbesSuccess) {
  Breaker breaker(5, kOpenTime);
  Trip(breaker);
  EXPECT_TRUE(Call(breaker, true, kStart + kOpenTime));
  for (int i = 0; i < 4; ++i) EXPECT_TRUE(Call(breaker, false, kStart + kOpenTime));
  EXPECT_TRUE(Call(breaker, true, kStart + kOpenTime));
}

TEST(Breaker, OpensAnewForTheWholeOpenTimeWithTheProbesFailure) {
  Breaker breaker(5, kOpenTime);
  Trip(breaker);
  const absl::Time begun = kStart + kOpenTime;
  const absl::Time failed = begun + absl::Seconds(1);
  breaker.Report(breaker.Ask(begun), false, failed);
  EXPECT_TRUE(breaker.Refuses(failed + kOpenTime - kTick));
  EXPECT_FALSE(breaker.Refuses(failed + kOpenTime));
}

TEST(Breaker, IgnoresCallsThatBeganBeforeItChanged) {
  Breaker breaker(5, kOpenTime);
  const Breaker::Permit late_success = breaker.Ask(kStart);
  const Breaker::Permit late_failure = breaker.Ask(kStart);
  Trip(breaker);
  breaker.Report(late_success, true, kStart);
  EXPECT_TRUE(breaker.Refuses(kStart));
  const Breaker::Permit probe = breaker.Ask(kStart + kOpenTime);
  breaker.Report(late_failure, false, kStart + kOpenTime);
  breaker.Report(probe, true, kStart + kOpenTime);
  EXPECT_FALSE(breaker.Refuses(kStart + kOpenTime));
}

TEST(Breaker, TellsItsStateAndHowOftenItOpened) {
  Breaker breaker(5, kOpenTime);
  EXPECT_NE(breaker.Metrics().find("\ncircuit_breaker_state 0\n"), std::string::npos) << breaker.Metrics();
  Trip(breaker);
  EXPECT_TRUE(breaker.Refuses(kStart));
  EXPECT_NE(breaker.Metrics().find("\ncircuit_breaker_state 1\n"), std::string::npos) << breaker.Metrics();
  EXPECT_NE(breaker.Metrics().find("\ncircuit_breaker_opened_total 1\n"), std::string::npos) << breaker.Metrics();
  EXPECT_NE(breaker.Metrics().find("\ncircuit_breaker_refused_total 1\n"), std::string::npos) << breaker.Metrics();
  breaker.Ask(kStart + kOpenTime);
  EXPECT_NE(breaker.Metrics().find("\ncircuit_breaker_state 2\n"), std::string::npos) << breaker.Metrics();
}

TEST(BreakerMutant, NeverOpens) {
  Breaker breaker(5, kOpenTime, BreakerMutant::kNeverOpens);
  for (int i = 0; i < 100; ++i) EXPECT_TRUE(Call(breaker, false));
}

TEST(BreakerMutant, NeverCloses) {
  Breaker breaker(5, kOpenTime, BreakerMutant::kNeverCloses);
  Trip(breaker);
  EXPECT_TRUE(Call(breaker, true, kStart + kOpenTime));
  EXPECT_FALSE(Call(breaker, true, kStart + kOpenTime));
  EXPECT_TRUE(Call(breaker, true, kStart + 2 * kOpenTime)) << "it tries on";
}

TEST(BreakerMutant, WedgesHalfOpen) {
  Breaker breaker(5, kOpenTime, BreakerMutant::kWedgesHalfOpen);
  Trip(breaker);
  EXPECT_TRUE(Call(breaker, false, kStart + kOpenTime));
  EXPECT_FALSE(Call(breaker, true, kStart + 100 * kOpenTime));
}

TEST(BreakerMutant, FloodsWithProbes) {
  Breaker breaker(5, kOpenTime, BreakerMutant::kFloodsWithProbes);
  Trip(breaker);
  const Breaker::Permit first = breaker.Ask(kStart + kOpenTime);
  for (int i = 0; i < 100; ++i) EXPECT_TRUE(breaker.Ask(kStart + kOpenTime).allowed());
  breaker.Report(first, false, kStart + kOpenTime);
  EXPECT_FALSE(breaker.Ask(kStart + kOpenTime).allowed());
}

TEST(Breaker, WithoutAnOpenTimeAllowsEverything) {
  Breaker breaker(5, absl::ZeroDuration());
  for (int i = 0; i < 100; ++i) EXPECT_TRUE(Call(breaker, false));
}

}  // namespace
}  // namespace squall::target
