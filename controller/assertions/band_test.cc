#include "controller/assertions/band.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace squall {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

constexpr Standing kIn = Standing::kIn;
constexpr Standing kOut = Standing::kOut;
constexpr Standing kFar = Standing::kFarOut;
constexpr Standing kNone = Standing::kEmpty;
constexpr Standing kLeft = Standing::kLeftOut;

// In band: p50 and p95 up to 15 ms, errors up to 1 %, 95 % ok.
Band TestBand() { return {15e6, 15e6, 1, 95, 92.5, 100}; }

Window WindowOf(int64_t requests, int64_t ok, int64_t errors, int64_t p50_ms, int64_t p95_ms) {
  Window window;
  window.requests = requests;
  window.ok = ok;
  window.errors = errors;
  window.waited = requests;
  window.p50_ns = p50_ms * 1'000'000;
  window.p95_ns = p95_ms * 1'000'000;
  return window;
}

Standing Of(const Window& window) { return StandingOf(window, TestBand()); }

TEST(Band, TakesTheWidestOfItsBounds) {
  Recovery spec;
  spec.set_latency_factor(1.2);
  spec.mutable_latency_slack()->set_nanos(5'000'000);
  spec.set_errors_slack(0.5);
  spec.set_goodput(95);
  Steady steady;
  steady.set_errors(1);
  Baseline baseline;
  baseline.p50_ns = 10e6;
  baseline.p95_ns = 100e6;
  baseline.error_percent = 0.2;
  baseline.ok_percent = 80;
  const Band band = BandOf(spec, steady, baseline);
  EXPECT_DOUBLE_EQ(band.p50_ns, 15e6);
  EXPECT_DOUBLE_EQ(band.p95_ns, 120e6);
  EXPECT_DOUBLE_EQ(band.error_percent, 1);
  EXPECT_DOUBLE_EQ(band.ok_percent, 76);
  EXPECT_DOUBLE_EQ(band.far_ok_percent, 74);
  baseline.error_percent = 3;
  EXPECT_DOUBLE_EQ(BandOf(spec, steady, baseline).error_percent, 3.5);
}

TEST(Standing, TellsInFromOutFromFar) {
  EXPECT_EQ(Of(WindowOf(1000, 950, 10, 15, 15)), kIn);
  EXPECT_EQ(Of(WindowOf(1000, 949, 10, 15, 15)), kOut);
  EXPECT_EQ(Of(WindowOf(1000, 925, 10, 15, 15)), kOut);
  EXPECT_EQ(Of(WindowOf(1000, 924, 10, 15, 15)), kFar);
  EXPECT_EQ(Of(WindowOf(1000, 950, 11, 15, 15)), kOut);
  EXPECT_EQ(Of(WindowOf(1000, 950, 15, 15, 15)), kOut);
  EXPECT_EQ(Of(WindowOf(1000, 950, 16, 15, 15)), kFar);
  EXPECT_EQ(Of(WindowOf(1000, 950, 10, 15, 16)), kOut);
  EXPECT_EQ(Of(WindowOf(1000, 950, 10, 15, 23)), kFar);
  EXPECT_EQ(Of(WindowOf(1000, 950, 10, 23, 23)), kFar);
  EXPECT_EQ(Of(WindowOf(0, 0, 0, 0, 0)), kNone);
}

TEST(Standing, AlwaysAllowsOneError) {
  EXPECT_EQ(Of(WindowOf(20, 19, 1, 10, 10)), kIn);
  EXPECT_EQ(Of(WindowOf(40, 38, 2, 10, 10)), kFar);
}

TEST(Standing, InAWindowInWhichTheMachineStoodStillWhatLooksGoodIsAndWhatLooksBadMayBe) {
  const Window bad = WindowOf(1000, 0, 1000, 99, 99);
  const Window good = WindowOf(1000, 1000, 0, 10, 10);
  const auto of = [](Window window, const Window& untouched) {
    window.stalled = true;
    return StandingOf(window, untouched, TestBand());
  };
  EXPECT_EQ(of(good, good), kIn);
  EXPECT_EQ(of(good, bad), kIn);
  EXPECT_EQ(of(bad, good), kLeft) << "the stall may have made it so";
  EXPECT_EQ(of(bad, bad), kFar) << "it is so without the stall";
  EXPECT_EQ(of(bad, WindowOf(0, 0, 0, 0, 0)), kLeft);
  Window little = bad;
  little.left_out = true;
  EXPECT_EQ(of(bad, little), kLeft);
  EXPECT_EQ(of(little, good), kLeft);
  EXPECT_EQ(StandingOf(bad, good, TestBand()), kFar) << "nothing stood still";
}

TEST(WorstSeries, IsTheOneFurthestOutOfBand) {
  EXPECT_THAT(WorstSeries(WindowOf(1000, 1000, 0, 10, 10), TestBand()), IsEmpty());
  EXPECT_EQ(WorstSeries(WindowOf(1000, 900, 0, 10, 60), TestBand()), "p95 60 ms (at most 15 ms)");
  EXPECT_EQ(WorstSeries(WindowOf(1000, 900, 0, 10, 10), TestBand()),
            "goodput 90 % of baseline (95 % needed)");
  EXPECT_EQ(WorstSeries(WindowOf(1000, 700, 300, 20, 20), TestBand()), "30 % errors (at most 1 %)");
  EXPECT_EQ(WorstSeries(WindowOf(0, 0, 0, 0, 0), TestBand()), "no request was sent");
}

TEST(Follow, FindsTheFirstRun) {
  const Course course = Follow({kOut, kFar, kIn, kIn, kOut, kIn, kIn}, 4);
  EXPECT_EQ(course.recovered, 2u);
  EXPECT_EQ(course.run_end, 6u);
  EXPECT_THAT(course.relapses, IsEmpty());
}

TEST(Follow, WantsARunToBeginInBand) { EXPECT_EQ(Follow({kOut, kIn, kIn, kIn}, 3).recovered, 1u); }

TEST(Follow, AllowsOneOutOfBandInARunAndNoMore) {
  EXPECT_EQ(Follow({kIn, kOut, kIn, kOut, kIn, kIn}, 4).recovered, 2u);
  EXPECT_EQ(Follow({kIn, kOut, kOut, kIn}, 4).recovered, std::nullopt);
}

TEST(Follow, AllowsNoEmptyWindowInARun) { EXPECT_EQ(Follow({kIn, kNone, kIn, kIn, kIn}, 3).recovered, 2u); }

TEST(Follow, SkipsWindowsThatAreLeftOut) {
  const Course course = Follow({kIn, kLeft, kIn, kLeft, kIn}, 3);
  EXPECT_EQ(course.recovered, 0u);
  EXPECT_EQ(course.run_end, 5u);
}

TEST(Follow, SkipsWindowsInWhichClientsHungUp) {
  constexpr Standing kHungUp = Standing::kHungUp;
  EXPECT_EQ(Follow({kIn, kHungUp, kIn, kHungUp, kIn}, 3).recovered, 0u);
  EXPECT_THAT(Follow({kIn, kIn, kFar, kHungUp, kFar, kHungUp, kFar}, 2).relapses, ElementsAre(2u));
  EXPECT_EQ(Follow({kHungUp, kHungUp}, 2).pending, std::nullopt);
}

TEST(Follow, KnowsWhereARunMayStillCome) {
  EXPECT_EQ(Follow({kOut, kIn, kIn}, 3).pending, 1u);
  EXPECT_EQ(Follow({kIn, kOut, kOut}, 3).pending, std::nullopt);
  EXPECT_EQ(Follow({kIn, kIn, kIn}, 3).pending, std::nullopt);
}

TEST(Follow, SeesThreeFarWindowsInARowAsARelapse) {
  EXPECT_THAT(Follow({kIn, kIn, kFar, kFar, kIn, kFar, kIn}, 2).relapses, IsEmpty());
  EXPECT_THAT(Follow({kIn, kIn, kOut, kOut, kOut, kIn}, 2).relapses, IsEmpty());
  const Course course = Follow({kIn, kIn, kFar, kLeft, kNone, kFar, kIn, kIn}, 2);
  EXPECT_THAT(course.relapses, ElementsAre(2u));
  EXPECT_EQ(course.recovered, 6u);
  EXPECT_EQ(Follow({kIn, kIn, kFar, kFar, kFar}, 2).recovered, std::nullopt);
}

}  // namespace
}  // namespace squall
