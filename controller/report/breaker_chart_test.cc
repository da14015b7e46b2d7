#include "controller/report/breaker_chart.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <tinyxml2.h>

#include <cmath>

#include "controller/assertions/breaker_simulation.h"

namespace squall {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

Timeline WithBreaker(TimelineBuilder builder) {
  *builder.scenario.add_assertions()->mutable_circuit_breaker() = OpenFor2s();
  builder.scenario.mutable_assertions(0)->set_name("breaker");
  return builder.Build();
}

std::vector<BreakerChart> ChartsOf(const Timeline& timeline) {
  return BreakerCharts(timeline, MakeTimeFrame(timeline));
}

int Count(const std::string& text, const std::string& what) {
  int count = 0;
  for (size_t at = text.find(what); at != std::string::npos; at = text.find(what, at + 1)) ++count;
  return count;
}

TEST(BreakerChart, ShowsEachStateAndEachProbe) {
  TimelineBuilder builder = Simulation(SimulatedBreaker(), 100).builder();
  builder.Metric(0, "state", 0).Metric(12.5, "state", 1).Metric(23.75, "state", 0);
  *builder.scenario.add_assertions()->mutable_circuit_breaker() = OpenFor2s();
  builder.scenario.mutable_assertions(0)->mutable_circuit_breaker()->mutable_state()->set_metric("state");
  builder.scenario.mutable_assertions(0)->mutable_circuit_breaker()->mutable_state()->set_open(1);
  builder.scenario.mutable_assertions(0)->mutable_circuit_breaker()->mutable_state()->set_half_open(2);
  const std::vector<BreakerChart> charts = ChartsOf(builder.Build());
  ASSERT_EQ(charts.size(), 1u);
  // 4 probes that failed and one that was answered: opened five times, twice closed, and by the metric once.
  EXPECT_EQ(charts[0].probes, 5);
  EXPECT_EQ(Count(charts[0].states, "\"probe\""), 5);
  EXPECT_EQ(Count(charts[0].states, "state-half-open"), 5);
  EXPECT_EQ(Count(charts[0].states, "state-open"), 5 + 1);
  EXPECT_EQ(Count(charts[0].states, "state-closed"), 2 + 2);
  EXPECT_THAT(charts[0].states, HasSubstr("by metric"));
  EXPECT_THAT(charts[0].calls, HasSubstr("stopped at 5 %"));
  for (const std::string& svg : {charts[0].states, charts[0].calls}) {
    tinyxml2::XMLDocument document;
    EXPECT_EQ(document.Parse(svg.c_str()), tinyxml2::XML_SUCCESS) << document.ErrorStr();
  }
}

TEST(BreakerChart, DrawsThoseThatFailedFirstAndSaysWhatItLeavesOut) {
  std::vector<std::pair<uint32_t, SimulatedBreaker>> instances;
  for (uint32_t i = 0; i < 7; ++i) instances.emplace_back(100 + i, SimulatedBreaker());
  instances.back().second.trips_at = 0;
  const std::vector<BreakerChart> charts = ChartsOf(WithBreaker(Simulation(instances).builder()));
  ASSERT_EQ(charts.size(), 1u);
  EXPECT_THAT(charts[0].states, HasSubstr("pid 106"));
  EXPECT_THAT(charts[0].states, Not(HasSubstr("pid 105")));
  EXPECT_EQ(charts[0].note, "1 of 7 processes are not drawn; those that failed are drawn first");
}

TEST(BreakerChart, IsNotThereWhereNothingCouldBeJudged) {
  TimelineBuilder builder;
  builder.Latency("slow", kInjected, kHealed).Answer(0, 45, Reply{});
  EXPECT_TRUE(ChartsOf(WithBreaker(builder)).empty());
}

TEST(ShareOfUsualCalls, IsOfTheProcessAndUnknownWithoutRequests) {
  TimelineBuilder builder;
  builder.Add(0.5, Reply{}).Add(0.6, Reply{}).AddCall(0.5, 1, ANSWERED, 7).AddCall(0.6, 1, ANSWERED, 8);
  builder.AddCall(0.7, 1, CONNECTION, 7).AddCall(2.5, 1, ANSWERED, 7);
  const Timeline timeline = builder.Build();
  TimeBins bins;
  bins.count = 3;
  bins.end_ns = 3'000'000'000;
  EXPECT_EQ(ShareOfUsualCalls(timeline, OpenFor2s(), 7, 0.5, bins)[0], 100);
  EXPECT_EQ(ShareOfUsualCalls(timeline, OpenFor2s(), std::nullopt, 1, bins)[0], 100);
  EXPECT_TRUE(std::isnan(ShareOfUsualCalls(timeline, OpenFor2s(), 7, 0.5, bins)[2]));
}

}  // namespace
}  // namespace squall
