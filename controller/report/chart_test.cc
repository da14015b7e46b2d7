#include "controller/report/chart.h"

#include <cmath>

#include "absl/strings/str_cat.h"
#include "controller/report/ribbon.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace squall {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

constexpr int64_t kSecond = 1'000'000'000;

TimeFrame FrameOf(int seconds) {
  TimeFrame frame;
  frame.bins = MakeBins(seconds * kSecond);
  return frame;
}

// 100 units wide for 4 seconds, 100 high, without room around it.
ChartSize Plain() {
  ChartSize size;
  size.width = 100;
  size.left = size.right = size.top = size.bottom = 0;
  size.plot = 100;
  return size;
}

TimeChart Empty() {
  TimeChart chart;
  chart.id = "c";
  chart.title = "Things";
  chart.top_at_least = 100;
  chart.format = [](double value) { return absl::StrCat(value, "/s"); };
  return chart;
}

TEST(TimeFrame, ShadesAFaultUntilItIsHealedOrTheRunEnds) {
  Timeline timeline;
  timeline.last_ns = 40 * kSecond;
  timeline.faults.resize(3);
  timeline.faults[0].name = "dead";
  timeline.faults[0].injected_ns = 20 * kSecond;
  timeline.faults[1].name = "slow";
  timeline.faults[1].injected_ns = 10 * kSecond;
  timeline.faults[1].healed_ns = 15 * kSecond;
  timeline.faults[2].name = "never";
  const TimeFrame frame = MakeTimeFrame(timeline);
  ASSERT_EQ(frame.faults.size(), 2u);
  EXPECT_EQ(frame.faults[0].name, "slow");
  EXPECT_EQ(frame.faults[0].to_ns, 15 * kSecond);
  EXPECT_EQ(frame.faults[1].name, "dead");
  EXPECT_EQ(frame.faults[1].to_ns, 40 * kSecond);
}

TEST(Chart, StacksLayersOnEachOther) {
  TimeChart chart = Empty();
  chart.layers = {{"ok", "ok", {40, 40}}, {"errors", "errors", {0, 20}}};
  const std::string svg = RenderChart(chart, FrameOf(2), Plain());
  EXPECT_THAT(svg, HasSubstr("<path class=\"layer-ok\" d=\"M0 60H50L50 60H100L100 100H50L50 100H0Z\">"));
  EXPECT_THAT(svg, HasSubstr("<path class=\"layer-errors\" d=\"M0 60H50L50 40H100L100 60H50L50 60H0Z\">"));
}

TEST(Chart, LeavesOutLayersInWhichNothingHappened) {
  TimeChart chart = Empty();
  chart.layers = {{"errors", "errors", {0, 0}}};
  EXPECT_THAT(RenderChart(chart, FrameOf(2), Plain()), Not(HasSubstr("layer-errors")));
}

TEST(Chart, BreaksACurveWhereNothingIsKnown) {
  TimeChart chart = Empty();
  chart.curves = {{"p50", "p50", {50, NAN, 100, 0}}};
  EXPECT_THAT(RenderChart(chart, FrameOf(4), Plain()), HasSubstr("d=\"M12.5 52.8h0M62.5 5.7h0L87.5 100h0\""))
      << "6 % of room above the highest value, and a lone point is a dot";
}

TEST(Chart, DrawsStepsOverTheWholeBin) {
  TimeChart chart = Empty();
  chart.top_at_least = 200;
  chart.curves = {{"sent", "sent", {100, 0}, true}};
  EXPECT_THAT(RenderChart(chart, FrameOf(2), Plain()), HasSubstr("d=\"M0 50H50L50 100H100\""));
}

TEST(Chart, PutsLimitsOnALogarithmicAxis) {
  TimeChart chart = Empty();
  chart.logarithmic = true;
  chart.curves = {{"p50", "p50", {1, 1}}};
  chart.limits = {{"deadline", 100}};
  const std::string svg = RenderChart(chart, FrameOf(2), Plain());
  EXPECT_THAT(svg, HasSubstr("<line class=\"limit\" x1=\"0\" y1=\"0\" x2=\"100\" y2=\"0\"/>"));
  EXPECT_THAT(svg, HasSubstr("d=\"M25 100h0L75 100h0\""));
}

TEST(Chart, ShadesFaultsAndNamesThem) {
  TimeFrame frame = FrameOf(4);
  frame.faults = {{"slow", kSecond, 3 * kSecond}};
  const std::string svg = RenderChart(Empty(), frame, Plain());
  EXPECT_THAT(svg, HasSubstr("<rect class=\"fault\" x=\"25\" y=\"0\" width=\"50\" height=\"100\">"));
  EXPECT_THAT(svg, HasSubstr(">slow</text>"));
}

TEST(Chart, ShowsAFaultOfAnInstant) {
  TimeFrame frame = FrameOf(4);
  frame.faults = {{"kill", kSecond, kSecond}};
  EXPECT_THAT(RenderChart(Empty(), frame, Plain()),
              HasSubstr("<rect class=\"fault\" x=\"25\" y=\"0\" width=\"2\""));
}

TEST(Chart, TellsTheFiguresOfABinAndSkipsWhatIsNotThere) {
  TimeChart chart = Empty();
  chart.layers = {{"ok", "ok", {7, 8}}, {"errors", "errors", {0, 3}}};
  chart.curves = {{"p50", "p50", {NAN, 5}}};
  chart.marks = {{0, "stood still"}};
  const std::string svg = RenderChart(chart, FrameOf(2), Plain());
  EXPECT_THAT(svg, HasSubstr("<title>0.00 s to 1.00 s\nok: 7/s\nstood still</title>"));
  EXPECT_THAT(svg, HasSubstr("<title>1.00 s to 2.00 s\np50: 5/s\nerrors: 3/s\nok: 8/s</title>"));
}

TEST(Lanes, PutOverlappingFaultsBelowEachOther) {
  EXPECT_THAT(Lanes({{"a", 0, 10}, {"b", 5, 15}, {"c", 10, 20}, {"d", 12, 13}}), ElementsAre(0, 1, 0, 2));
  EXPECT_THAT(Lanes({}), IsEmpty());
}

ServiceEvent EventOf(int second, ServiceEvent::What what, bool expected = true) {
  ServiceEvent event;
  event.set_service("orders");
  event.set_at_ns(second * kSecond);
  event.set_what(what);
  event.set_expected(expected);
  return event;
}

TEST(Ribbon, ShowsWhenAServiceWasUpAndHowItWentDown) {
  Timeline timeline;
  timeline.last_ns = 10 * kSecond;
  timeline.services = {EventOf(1, ServiceEvent::READY), EventOf(4, ServiceEvent::EXITED, false),
                       EventOf(6, ServiceEvent::READY), EventOf(9, ServiceEvent::EXITED, true)};
  const std::string svg = RenderRibbon(RunResult(), timeline, MakeTimeFrame(timeline), ChartSize());
  EXPECT_THAT(svg, HasSubstr("orders ready\n1.00 s to 4.00 s"));
  EXPECT_THAT(svg, HasSubstr("orders ready\n6.00 s to 9.00 s"));
  EXPECT_THAT(svg, HasSubstr("class=\"sign sign-crash\""));
  EXPECT_THAT(svg, HasSubstr("class=\"sign sign-exit\""));
}

TEST(Ribbon, KeepsItsLastPhaseUntilTheEnd) {
  Timeline timeline;
  timeline.last_ns = 10 * kSecond;
  timeline.phases.resize(1);
  timeline.phases[0].set_phase(PhaseEvent::BASELINE);
  timeline.phases[0].set_at_ns(2 * kSecond);
  EXPECT_THAT(RenderRibbon(RunResult(), timeline, MakeTimeFrame(timeline), ChartSize()),
              HasSubstr("baseline\n2.00 s to 10.00 s"));
}

TEST(Ribbon, MarksWhereAnAssertionWasFirstBroken) {
  Timeline timeline;
  timeline.last_ns = 10 * kSecond;
  RunResult result;
  Verdict& verdict = *result.add_verdicts();
  verdict.set_assertion("recovery");
  verdict.set_first_broken_ns(7 * kSecond);
  EXPECT_THAT(RenderRibbon(result, timeline, MakeTimeFrame(timeline), ChartSize()),
              HasSubstr("<title>7.00 s\nrecovery first broken</title>"));
}

}  // namespace
}  // namespace squall
