#include "controller/confidence.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace squall {
namespace {

using ::testing::DoubleNear;
using ::testing::Le;

TEST(MostOf, IsWhatSoManyRunsProve) {
  // The rule of three, and tables of the binomial distribution.
  EXPECT_THAT(MostOf(0, 100), DoubleNear(0.0295, 0.0001));
  EXPECT_THAT(MostOf(0, 3), DoubleNear(0.6316, 0.0001));
  EXPECT_THAT(MostOf(1, 10), DoubleNear(0.3942, 0.0001));
  EXPECT_EQ(MostOf(5, 5), 1);
  EXPECT_THAT(MostOf(0, 1), Le(0.9501));
}

}  // namespace
}  // namespace squall
