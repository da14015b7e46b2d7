#include "controller/report/svg.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace squall {
namespace {

using ::testing::DoubleEq;
using ::testing::DoubleNear;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr int64_t kSecond = 1'000'000'000;

TEST(Scale, MapsEndsToEnds) {
  const Scale linear = Scale::Linear(0, 10, 100, 0);
  EXPECT_DOUBLE_EQ(linear(0), 100);
  EXPECT_DOUBLE_EQ(linear(2.5), 75);
  const Scale log = Scale::Log(1, 1000, 0, 300);
  EXPECT_DOUBLE_EQ(log(10), 100);
  EXPECT_DOUBLE_EQ(log(1000), 300);
  EXPECT_DOUBLE_EQ(log(0), 0) << "zero has no logarithm";
}

TEST(LinearTicks, AreRoundAndStayWithinTheAxis) {
  EXPECT_THAT(LinearTicks(212, 4, false), ElementsAre(0, 100, 200));
  EXPECT_THAT(LinearTicks(100, 4, false), ElementsAre(0, 50, 100));
  EXPECT_THAT(LinearTicks(0.3, 3, false), ElementsAre(0, DoubleEq(0.1), DoubleEq(0.2), DoubleEq(0.3)));
}

TEST(LinearTicks, AreWholeWhenThingsAreCounted) {
  EXPECT_THAT(LinearTicks(2, 4, true), ElementsAre(0, 1, 2));
}

TEST(LinearTicks, AreRoundInTheirUnit) {
  EXPECT_THAT(LinearTicks(50 * 1048576.0, 2, true, 1048576), ElementsAre(0, 50 * 1048576.0));
}

TEST(LinearTicks, GiveAScaleEvenWithoutValues) {
  EXPECT_EQ(LinearTicks(0, 4, false).size(), 2u);
  EXPECT_THAT(LinearTicks(0, 4, true), ElementsAre(0, 1));
}

TEST(LogTicks, EncloseTheValues) {
  EXPECT_THAT(LogTicks(3, 180, 8), ElementsAre(2, 5, 10, 20, 50, 100, 200));
  EXPECT_THAT(LogTicks(1, 1, 8), ElementsAre(1, DoubleEq(2)));
}

TEST(LogTicks, AreFewerWhenTheRangeIsWide) {
  EXPECT_THAT(LogTicks(3e6, 2e9, 8),
              ElementsAre(DoubleEq(1e6), DoubleEq(1e7), DoubleEq(1e8), DoubleEq(1e9), DoubleEq(1e10)));
}

TEST(TimeTicks, AreStepsThatPeopleCountIn) {
  EXPECT_THAT(TimeTicks(45 * kSecond, 10),
              ElementsAre(0, 5 * kSecond, 10 * kSecond, 15 * kSecond, 20 * kSecond, 25 * kSecond,
                          30 * kSecond, 35 * kSecond, 40 * kSecond, 45 * kSecond));
  for (const int64_t seconds : {1, 7, 90, 3601, 86'400, 864'000}) {
    EXPECT_LE(TimeTicks(seconds * kSecond, 16).size(), 16u) << seconds;
  }
}

TEST(TimeTickLabel, FollowsTheLengthOfTheAxis) {
  EXPECT_EQ(TimeTickLabel(90 * kSecond, 100 * kSecond), "90 s");
  EXPECT_EQ(TimeTickLabel(90 * kSecond, 600 * kSecond), "1:30");
  EXPECT_EQ(TimeTickLabel(5400 * kSecond, 9000 * kSecond), "1:30 h");
}

TEST(MoveApart, LeavesAloneWhatHasRoom) { EXPECT_THAT(MoveApart({50, 10}, 12, 0, 100), ElementsAre(50, 10)); }

TEST(MoveApart, KeepsGapAndOrder) {
  EXPECT_THAT(MoveApart({50, 49, 51}, 12, 0, 100), ElementsAre(61, 49, 73));
}

TEST(MoveApart, PushesBackFromTheEndOfTheRoom) {
  EXPECT_THAT(MoveApart({98, 99, 10}, 12, 0, 100), ElementsAre(88, 100, 10));
}

TEST(Shortened, CutsBetweenCharacters) {
  EXPECT_EQ(Shortened("orders", 100, 10), "orders");
  EXPECT_EQ(Shortened("größenwahn", 48, 10), "größen…");
}

TEST(Coordinate, IsShortAndAlwaysANumber) {
  EXPECT_EQ(Coordinate(12), "12");
  EXPECT_EQ(Coordinate(12.34), "12.3");
  EXPECT_EQ(Coordinate(-0.01), "0");
  EXPECT_EQ(Coordinate(0.0 / 0.0), "0");
}

TEST(Svg, EscapesWhatUsersWrote) {
  Svg svg("a", 10, 10, "<script>", "x & y");
  svg.Rect(0, 0, 1, 1, "c", "\"tip\"");
  svg.Text(0, 0, Anchor::kEnd, "c", "</text><b>");
  const std::string out = svg.Finish();
  EXPECT_THAT(out, HasSubstr("&lt;script&gt;"));
  EXPECT_THAT(out, HasSubstr("x &amp; y"));
  EXPECT_THAT(out, HasSubstr("&quot;tip&quot;"));
  EXPECT_THAT(out, HasSubstr("&lt;/text&gt;&lt;b&gt;"));
  EXPECT_THAT(out, Not(HasSubstr("<b>")));
}

TEST(Svg, NamesItselfForScreenReaders) {
  EXPECT_THAT(
      Svg("r", 1, 1, "T", "D").Finish(),
      HasSubstr(
          "role=\"img\" aria-labelledby=\"r-t r-d\"><title id=\"r-t\">T</title><desc id=\"r-d\">D</desc>"));
}

}  // namespace
}  // namespace squall
