#include "controller/assertions/baseline.h"

#include "controller/assertions/timeline_builder.h"
#include "gtest/gtest.h"

namespace squall {
namespace {

using Reply = TimelineBuilder::Reply;

constexpr auto Ns = TimelineBuilder::Ns;

Baseline Of(const TimelineBuilder& builder) {
  const Timeline timeline = builder.Build();
  return BaselineOf(timeline, *FindLoad(timeline, "checkout"));
}

// A load from `start` until a fault at `injected`.
TimelineBuilder Before(double start, double injected) {
  return TimelineBuilder().Latency("slow", injected, injected + 10).Answer(start, injected + 20, Reply{});
}

TEST(Baseline, LeavesOutTheFirstWindow) {
  const Baseline baseline = Of(Before(0.5, 13));
  EXPECT_EQ(baseline.begin_ns, Ns(1.5));
  EXPECT_EQ(baseline.windows.size(), 11u);
  EXPECT_EQ(baseline.end_ns, Ns(12.5));
}

TEST(Baseline, KeepsTenWindowsWhereTheLoadBeganALittleLate) {
  EXPECT_EQ(Of(Before(0.1, 11)).windows.size(), 10u);
  EXPECT_EQ(Of(Before(0.25, 11)).windows.size(), 10u);
  EXPECT_EQ(Of(Before(0.26, 11)).windows.size(), 9u);
}

TEST(Baseline, EndsAtTheFirstFaultOfAll) {
  TimelineBuilder builder = Before(0, 20);
  EXPECT_EQ(Of(builder.Latency("sooner", 15, 16)).windows.size(), 14u);
}

TEST(Baseline, ReachesToTheNewestRecordWhereNothingIsInjected) {
  EXPECT_EQ(Of(TimelineBuilder().Answer(0, 11.2, Reply{}).StillRunningAt(11.3)).windows.size(), 10u);
}

TEST(Baseline, TakesMediansOverItsWindows) {
  TimelineBuilder builder;
  // 3 of 10 windows are slow and fail.
  builder.Latency("slow", 11, 21).Answer(0, 8, Reply{10, OK}).Answer(8, 11, Reply{500, ERROR, 500});
  Baseline baseline = Of(builder);
  EXPECT_EQ(baseline.p50_ns, 10e6);
  EXPECT_EQ(baseline.p95_ns, 10e6);
  EXPECT_EQ(baseline.error_percent, 0);
  EXPECT_EQ(baseline.ok_percent, 100);
  EXPECT_EQ(baseline.left_out, 0);
  baseline = Of(builder.StandStill(2.2, 500));
  EXPECT_EQ(baseline.left_out, 1);
}

TEST(Baseline, KnowsTheFastestGoodAnswer) {
  TimelineBuilder builder = Before(0, 12);
  builder.Add(5.001, {4, OK}).Add(5.002, {1, REFUSED, 0}).Add(0.5, {2, OK}).Add(20.001, {3, OK});
  EXPECT_EQ(Of(builder).fastest_ns, 4'000'000);
}

TEST(Baseline, IsEmptyWithoutRequests) {
  EXPECT_TRUE(Of(TimelineBuilder().Latency("slow", 12, 20)).windows.empty());
}

TEST(FindLoad, FindsLoadsByName) {
  const Timeline timeline = TimelineBuilder().Build();
  EXPECT_EQ(FindLoad(timeline, "checkout"), &timeline.header.scenario().load(0));
  EXPECT_EQ(FindLoad(timeline, "other"), nullptr);
}

}  // namespace
}  // namespace squall
