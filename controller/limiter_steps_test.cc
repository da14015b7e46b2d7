#include "controller/limiter_steps.h"

#include <string>

#include "gtest/gtest.h"

namespace squall {
namespace {

constexpr int64_t kMs = 1'000'000;

RateLimiter Limiter(double rate, int burst, RateLimiter::Model model = RateLimiter::MODEL_TOKEN_BUCKET) {
  RateLimiter spec;
  spec.set_load("checkout");
  spec.set_rate(rate);
  spec.set_burst(burst);
  spec.set_model(model);
  spec.set_instances(1);
  spec.mutable_period()->set_seconds(1);
  return spec;
}

double Seconds(const Step& step) { return static_cast<double>(step.for_().seconds()) + step.for_().nanos() / 1e9; }
double Offered(const Step& step) { return step.rate() * Seconds(step); }

TEST(LimitOf, IsBurstAndRateAndOneForRounding) {
  const AdmissionLimit limit = LimitOf(Limiter(100, 20));
  EXPECT_DOUBLE_EQ(limit.Most(0), 21);
  EXPECT_DOUBLE_EQ(limit.Most(1000 * kMs), 121);
  EXPECT_DOUBLE_EQ(limit.burst, 20);
}

TEST(LimitOf, NginxLetsOneMoreThroughThanItsQueueHolds) {
  const AdmissionLimit limit = LimitOf(Limiter(100, 20, RateLimiter::MODEL_NGINX));
  EXPECT_DOUBLE_EQ(limit.burst, 21);
  EXPECT_GE(limit.Most(0), 22);
  EXPECT_LT(limit.Most(0), 23);
}

TEST(LimitOf, InstancesThatDoNotKnowEachOtherAddUp) {
  RateLimiter spec = Limiter(100, 20);
  spec.set_instances(3);
  const AdmissionLimit limit = LimitOf(spec);
  EXPECT_DOUBLE_EQ(limit.rate, 300);
  EXPECT_DOUBLE_EQ(limit.Most(0), 63);
}

TEST(LimitOf, FixedWindowsMayMeetAndSlidingOnesMayNot) {
  const AdmissionLimit fixed = LimitOf(Limiter(100, 100, RateLimiter::MODEL_FIXED_WINDOW));
  EXPECT_DOUBLE_EQ(fixed.MostWithin(1), 201);
  EXPECT_DOUBLE_EQ(fixed.MostWithin(3), 401);
  const AdmissionLimit sliding = LimitOf(Limiter(100, 100, RateLimiter::MODEL_SLIDING_LOG));
  EXPECT_DOUBLE_EQ(sliding.MostWithin(1), 101);
  EXPECT_DOUBLE_EQ(sliding.MostWithin(3), 301);
}

TEST(LimiterSteps, OfferBurstsAfterQuietTimesAndRatesBelowAndAboveTheLimit) {
  const std::vector<Step> steps = LimiterSteps(Limiter(100, 20), absl::ZeroDuration());
  ASSERT_EQ(steps.size(), 10u);
  EXPECT_EQ(steps[0].rate(), 50);
  EXPECT_EQ(steps[1].rate(), 0);
  EXPECT_GE(Seconds(steps[1]), 0.21);
  EXPECT_GE(Offered(steps[2]), 21 + 100 * Seconds(steps[2]) + 19);  // the burst is more than it may admit, well more
  EXPECT_LE(Seconds(steps[2]), 0.1);
  EXPECT_EQ(steps[3].rate(), 0);
  EXPECT_EQ(steps[4].rate(), 80);
  EXPECT_GE(Seconds(steps[4]), 10);
  EXPECT_EQ(steps[5].rate(), 200);
  EXPECT_GE(Seconds(steps[5]), 10 + 0.2);
  EXPECT_EQ(steps[6].rate(), 0);
  EXPECT_EQ(steps[7].rate(), steps[2].rate());
  EXPECT_EQ(steps[9].rate(), 50);
}

TEST(LimiterSteps, SlowLimitersAreGivenTheTimeTheyNeed) {
  const std::vector<Step> steps = LimiterSteps(Limiter(0.1, 5), absl::Seconds(7));
  EXPECT_EQ(Seconds(steps[0]), 7);
  EXPECT_GE(Seconds(steps[1]), 60);   // the burst refills in 50 s, and one more in 10 s
  EXPECT_GE(Offered(steps[4]), 20);   // enough requests to judge
  EXPECT_GE(Offered(steps[5]), 2 * 40);
}

TEST(LimiterSteps, BurstsAreNeverFasterThanALoadMayBe) {
  for (const auto& [rate, burst] : {std::pair(100.0, 1'000'000), std::pair(100'000.0, 10), std::pair(0.1, 1)}) {
    for (const Step& step : LimiterSteps(Limiter(rate, burst), absl::ZeroDuration())) {
      EXPECT_LE(step.rate(), 100'000);
      EXPECT_GT(Seconds(step), 0);
    }
  }
}

TEST(LimiterSteps, QuietTimesHaveRoomForWhatIsSentAgain) {
  RateLimiter spec = Limiter(100, 20);
  const double without = Seconds(LimiterSteps(spec, absl::ZeroDuration())[3]);
  spec.set_retry_after(true);
  const double with = Seconds(LimiterSteps(spec, absl::ZeroDuration())[3]);
  // A second that Retry-After rounds up to, and 20 of them at the limiter's own rate.
  EXPECT_GE(with - without, 1.2 + 0.2 - 1e-9);
  EXPECT_GE(absl::ToDoubleSeconds(RetryRest(spec)), 0.21);
  EXPECT_EQ(RetryEvery(spec), absl::Milliseconds(10));
}

TEST(LimiterSteps, OfAWindowRestForAWholeOne) {
  const std::vector<Step> steps = LimiterSteps(Limiter(100, 100, RateLimiter::MODEL_FIXED_WINDOW), absl::ZeroDuration());
  EXPECT_GE(Seconds(steps[3]), 1);
  EXPECT_GE(Offered(steps[2]), 2 * 100 + 1 + 100 * Seconds(steps[2]));  // two windows may meet in it
}

}  // namespace
}  // namespace squall
