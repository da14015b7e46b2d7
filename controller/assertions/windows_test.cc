#include "controller/assertions/windows.h"

#include <numeric>

#include "controller/assertions/timeline_builder.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace squall {
namespace {

using ::testing::SizeIs;

using Reply = TimelineBuilder::Reply;

constexpr int64_t kSecond = 1'000'000'000;

std::vector<Request> RequestsOf(const TimelineBuilder& builder) {
  return builder.Build().requests.at("checkout");
}

int64_t CompleteOf(const TimelineBuilder& builder) {
  const Timeline timeline = builder.Build();
  return CompleteUntil(timeline, timeline.header.scenario().load(0));
}

TEST(Percentile, IsTheNearestRank) {
  std::vector<int64_t> values(1000);
  std::iota(values.begin(), values.end(), 1);
  std::reverse(values.begin(), values.end());
  EXPECT_EQ(Percentile(values, 50), 500);
  EXPECT_EQ(Percentile(values, 99.9), 999);
  EXPECT_EQ(Percentile(values, 99.91), 1000);
  EXPECT_EQ(Percentile(values, 100), 1000);
  EXPECT_EQ(Percentile(values, 0.01), 1);
  std::vector<int64_t> one = {7};
  EXPECT_EQ(Percentile(one, 50), 7);
}

TEST(Median, IsTheMeanOfTheMiddleTwo) {
  std::vector<double> odd = {3, 1, 2};
  EXPECT_EQ(Median(odd), 2);
  std::vector<double> even = {4, 1, 3, 2};
  EXPECT_EQ(Median(even), 2.5);
}

TEST(CutWindows, CountsByIntendedStart) {
  TimelineBuilder builder;
  // Due in the first second, and ended in the second.
  builder.Answer(0, 1, Reply{900, OK}).Answer(1, 2, Reply{20, ERROR, 500});
  const std::vector<Window> windows = CutWindows(RequestsOf(builder), 0, kSecond, 3, Stalls({}));
  ASSERT_THAT(windows, SizeIs(3));
  EXPECT_EQ(windows[0].requests, 200);
  EXPECT_EQ(windows[0].ok, 200);
  EXPECT_EQ(windows[0].p50_ns, 900'000'000);
  EXPECT_EQ(windows[0].ErrorPercent(), 0);
  EXPECT_EQ(windows[1].begin_ns, kSecond);
  EXPECT_EQ(windows[1].errors, 200);
  EXPECT_EQ(windows[1].OkPercent(), 0);
  EXPECT_EQ(windows[1].p95_ns, 20'000'000);
  EXPECT_TRUE(windows[2].empty());
}

TEST(CutWindows, TakesLatencyOfThoseThatWaitedOnly) {
  TimelineBuilder builder;
  builder.Add(0.1, {1, REFUSED, 0}).Add(0.2, {1, RESET, 0}).Add(0.3, {2000, TIMED_OUT, 0});
  const Window window = CutWindows(RequestsOf(builder), 0, kSecond, 1, Stalls({}))[0];
  EXPECT_EQ(window.requests, 3);
  EXPECT_EQ(window.errors, 3);
  EXPECT_EQ(window.waited, 1);
  EXPECT_EQ(window.p50_ns, 2'000'000'000);
}

TEST(CutWindows, LeavesAbandonedRequestsOut) {
  TimelineBuilder builder;
  builder.Add(0.1, {900, ABANDONED, 0}).Add(0.2, {5, OK});
  const Window window = CutWindows(RequestsOf(builder), 0, kSecond, 1, Stalls({}))[0];
  EXPECT_EQ(window.requests, 1);
  EXPECT_EQ(window.p95_ns, 5'000'000);
}

TEST(CutWindows, BeginsInTheMiddle) {
  TimelineBuilder builder;
  builder.Answer(0, 5, Reply{});
  const std::vector<Window> windows = CutWindows(RequestsOf(builder), 2'500'000'000, kSecond, 3, Stalls({}));
  EXPECT_EQ(windows[0].requests, 200);
  EXPECT_EQ(windows[2].requests, 100);
}

Stalls StillAt(int64_t start_ms, int64_t length_ms) {
  Stall stall;
  stall.set_start_ns(start_ms * 1'000'000);
  stall.set_length_ns(length_ms * 1'000'000);
  return Stalls({stall});
}

TEST(CutWindows, MarksWindowsInWhichTheMachineStoodStill) {
  const std::vector<Window> windows = CutWindows({}, 0, kSecond, 4, StillAt(1900, 10));
  EXPECT_FALSE(windows[0].stalled);
  EXPECT_TRUE(windows[1].stalled);
  EXPECT_FALSE(windows[2].stalled);
}

TEST(CutWindows, LeavesOutWhatWasDueWhileTheMachineStoodStill) {
  TimelineBuilder builder;
  builder.Answer(0, 2, Reply{300});
  // With the 50 ms after it, that count too: from 1,496 ms to 1,555 ms; a request is due each 5 ms.
  const Stalls stalls = StillAt(1496, 9);
  Window window = CutWindows(RequestsOf(builder), 0, kSecond, 2, stalls)[1];
  EXPECT_TRUE(window.stalled);
  EXPECT_FALSE(window.left_out);
  EXPECT_EQ(window.requests, 200 - 11);
  EXPECT_EQ(window.p50_ns, 300'000'000);
  // Those that were under way too: due 300 ms before it or less.
  window = CutWindows(RequestsOf(builder), 0, kSecond, 2, stalls, LeaveOut::kTouchedByStall)[1];
  EXPECT_EQ(window.requests, 200 - 11 - 60);
}

TEST(CutWindows, LeavesOutWhatWasSentLate) {
  TimelineBuilder builder;
  builder.Answer(0, 1, [](double at) { return at >= 0.3 && at < 0.35 - 1e-6 ? Reply{40, OK, 200, 20} : Reply{10}; });
  const Window window = CutWindows(RequestsOf(builder), 0, kSecond, 1, Stalls({}))[0];
  EXPECT_TRUE(window.stalled);
  EXPECT_EQ(window.requests, 190);
  EXPECT_EQ(window.p95_ns, 10'000'000);
}

TEST(CutWindows, LeavesOutWindowsOfWhichTooLittleIsLeft) {
  TimelineBuilder builder;
  builder.Answer(0, 2, Reply{});
  EXPECT_FALSE(CutWindows(RequestsOf(builder), 0, kSecond, 1, StillAt(100, 400))[0].left_out);
  EXPECT_TRUE(CutWindows(RequestsOf(builder), 0, kSecond, 1, StillAt(100, 460))[0].left_out);
  // 20 in a window of 100 ms.
  EXPECT_TRUE(CutWindows(RequestsOf(builder), 0, kSecond / 10, 1, StillAt(0, 1))[0].left_out);
}

TEST(CompleteUntil, ReachesAsFarAsNoNumberIsMissing) {
  TimelineBuilder builder;
  builder.Answer(0, 10, Reply{}).StillRunningAt(10.1);
  EXPECT_EQ(CompleteOf(builder), TimelineBuilder::Ns(9.995));
  // One is missing at 10 s.
  builder.Answer(10.005, 11, Reply{}).StillRunningAt(11.1);
  EXPECT_EQ(CompleteOf(builder), TimelineBuilder::Ns(9.995));
}

TEST(CompleteUntil, PassesAGapOnceTheClientsPatienceIsOver) {
  TimelineBuilder builder;
  builder.Answer(0, 10, Reply{}).Answer(10.005, 11, Reply{});
  EXPECT_EQ(CompleteOf(builder.StillRunningAt(13.9)), TimelineBuilder::Ns(9.995));
  EXPECT_EQ(CompleteOf(builder.StillRunningAt(14.01)), TimelineBuilder::Ns(10.995));
}

TEST(CompleteUntil, IsTheEndOfTheLoadOnceTheRunIsOver) {
  TimelineBuilder builder;
  builder.Answer(0, 10, Reply{});
  EXPECT_GE(CompleteOf(builder), TimelineBuilder::Ns(10));
  EXPECT_LT(CompleteOf(builder), TimelineBuilder::Ns(10.1));
}

TEST(CompleteUntil, IsNeverWithoutRequests) { EXPECT_LT(CompleteOf(TimelineBuilder()), 0); }

}  // namespace
}  // namespace squall
