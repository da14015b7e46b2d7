#include "tests/target/token_bucket.h"

#include <gtest/gtest.h>

namespace squall::target {
namespace {

const absl::Time kStart = absl::UnixEpoch();

int TakeAll(TokenBucket& bucket, absl::Time now) {
  int taken = 0;
  while (bucket.Take(now)) ++taken;
  return taken;
}

TEST(TokenBucket, GivesItsBurstAtOnceAndThenItsRate) {
  TokenBucket bucket(100, 20);
  EXPECT_EQ(TakeAll(bucket, kStart), 20);
  EXPECT_EQ(TakeAll(bucket, kStart + absl::Milliseconds(100)), 10);
  EXPECT_EQ(bucket.Wait(), absl::Milliseconds(10));
}

TEST(TokenBucket, IsFullAgainAfterAQuietTimeAndNeverMoreThanFull) {
  TokenBucket bucket(100, 20);
  TakeAll(bucket, kStart);
  EXPECT_EQ(TakeAll(bucket, kStart + absl::Milliseconds(200)), 20);
  EXPECT_EQ(TakeAll(bucket, kStart + absl::Hours(1)), 20);
}

// How many of 100 requests at once are admitted.
int AdmittedAtOnce(LimiterOptions options) {
  Limiter limiter(options);
  int admitted = 0;
  for (int i = 0; i < 100; ++i) {
    httplib::Response response;
    admitted += limiter.Admit("/order", response);
  }
  return admitted;
}

TEST(Limiter, AdmitsTheBurstAndItsMutantTwiceThat) {
  EXPECT_EQ(AdmittedAtOnce({0.01, 20, LimiterMutant::kNone}), 20);
  EXPECT_EQ(AdmittedAtOnce({0.01, 20, LimiterMutant::kOffByTheBurst}), 40);
  EXPECT_EQ(AdmittedAtOnce({0, 1, LimiterMutant::kNone}), 100);
}

TEST(Limiter, HasABucketForEachRoute) {
  Limiter limiter({0.01, 1, LimiterMutant::kNone});
  httplib::Response response;
  EXPECT_TRUE(limiter.Admit("/order", response));
  EXPECT_TRUE(limiter.Admit("/quote", response));
  EXPECT_FALSE(limiter.Admit("/order", response));
}

TEST(Limiter, SaysInWholeSecondsWhenToComeAgain) {
  Limiter limiter({0.4, 1, LimiterMutant::kNone});
  httplib::Response response;
  EXPECT_TRUE(limiter.Admit("/order", response));
  EXPECT_FALSE(limiter.Admit("/order", response));
  EXPECT_EQ(response.status, 429);
  EXPECT_EQ(response.get_header_value("retry-after"), "3");
}

}  // namespace
}  // namespace squall::target
