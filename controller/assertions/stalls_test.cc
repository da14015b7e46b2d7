#include "controller/assertions/stalls.h"

#include "gtest/gtest.h"

namespace squall {
namespace {

constexpr int64_t kMs = 1'000'000;

Stall At(int64_t start_ms, int64_t length_ms) {
  Stall stall;
  stall.set_start_ns(start_ms * kMs);
  stall.set_length_ns(length_ms * kMs);
  return stall;
}

TEST(Stalls, TouchWhatOverlapsThem) {
  const Stalls stalls({At(1000, 100)});
  EXPECT_FALSE(stalls.Touch(0, 999 * kMs));
  EXPECT_TRUE(stalls.Touch(0, 1000 * kMs));
  EXPECT_TRUE(stalls.Touch(1050 * kMs, 1051 * kMs));
  EXPECT_TRUE(stalls.Touch(0, 9999 * kMs));
}

TEST(Stalls, LastUntilTheBacklogIsWorkedOff) {
  const Stalls stalls({At(1000, 100)});
  EXPECT_TRUE(stalls.Touch(1149 * kMs, 2000 * kMs));
  EXPECT_FALSE(stalls.Touch(1150 * kMs, 2000 * kMs));
}

TEST(Stalls, MayOverlapAndComeInAnyOrder) {
  const Stalls stalls({At(3000, 10), At(1000, 500), At(1100, 10)});
  EXPECT_TRUE(stalls.Touch(1400 * kMs, 1401 * kMs));
  EXPECT_FALSE(stalls.Touch(1600 * kMs, 2999 * kMs));
  EXPECT_TRUE(stalls.Touch(1600 * kMs, 3000 * kMs));
}

TEST(Stalls, SayHowMuchOfASpanTheyTook) {
  const Stalls stalls({At(1000, 100), At(2000, 100)});
  EXPECT_EQ(stalls.Within(0, 900 * kMs), 0);
  EXPECT_EQ(stalls.Within(0, 1050 * kMs), 50 * kMs);
  EXPECT_EQ(stalls.Within(1100 * kMs, 2010 * kMs), 60 * kMs);
  EXPECT_EQ(stalls.Within(0, 9000 * kMs), 300 * kMs);
}

TEST(Stalls, TouchNothingWhereThereAreNone) {
  EXPECT_FALSE(Stalls({}).Touch(0, INT64_MAX));
  EXPECT_EQ(Stalls({}).Within(0, INT64_MAX), 0);
}

}  // namespace
}  // namespace squall
