#include "controller/assertions/words.h"

#include "gtest/gtest.h"

namespace squall {
namespace {

TEST(Grouped, SetsCommasBetweenThousands) {
  EXPECT_EQ(Grouped(0), "0");
  EXPECT_EQ(Grouped(999), "999");
  EXPECT_EQ(Grouped(1000), "1,000");
  EXPECT_EQ(Grouped(9'876'543'210), "9,876,543,210");
  EXPECT_EQ(Grouped(-100), "-100");
  EXPECT_EQ(Grouped(-1000), "-1,000");
}

TEST(Counted, TakesThePluralExceptForOne) {
  EXPECT_EQ(Counted(0, "call"), "0 calls");
  EXPECT_EQ(Counted(1, "call"), "1 call");
  EXPECT_EQ(Counted(1234, "call"), "1,234 calls");
}

TEST(Tenths, ShowsOneDecimalAlways) {
  EXPECT_EQ(Tenths(0), "0.0 ms");
  EXPECT_EQ(Tenths(500'140'000), "500.1 ms");
  EXPECT_EQ(Tenths(999'949'000), "999.9 ms");
  EXPECT_EQ(Tenths(999'960'000), "1.0 s");
  EXPECT_EQ(Tenths(-12'000'000'000), "-12.0 s");
}

}  // namespace
}  // namespace squall
