#include "controller/offered.h"

#include <tuple>
#include <vector>

#include "controller/assertions/timeline_builder.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace squall {
namespace {

using ::testing::ElementsAre;

// begin and end in seconds, and the rate.
std::vector<std::tuple<double, double, double>> SpansOf(const TimelineBuilder& builder) {
  const Timeline timeline = builder.Build();
  std::vector<std::tuple<double, double, double>> spans;
  for (const OfferedSpan& span : OfferedSpans(timeline, timeline.header.scenario().load(0))) {
    spans.emplace_back(static_cast<double>(span.begin_ns) / 1e9, static_cast<double>(span.end_ns / 1'000'000) / 1e3, span.per_second);
  }
  return spans;
}

TEST(Offered, IsTheRateOfTheLoad) {
  TimelineBuilder builder;
  builder.Latency("slow", 12, 14).Answer(0, 20, TimelineBuilder::Reply{});
  EXPECT_THAT(SpansOf(builder), ElementsAre(std::tuple(0, 19.995, 200)));
}

TEST(Offered, IsHigherWhileSurgesAct) {
  TimelineBuilder builder;
  builder.Surge("sale", 4, 10, 3).Surge("sale-2", 8, 12, 2).Answer(0, 20, TimelineBuilder::Reply{});
  EXPECT_THAT(SpansOf(builder), ElementsAre(std::tuple(0, 4, 200), std::tuple(4, 8, 600), std::tuple(8, 10, 1200),
                                            std::tuple(10, 12, 400), std::tuple(12, 19.995, 200)));
}

TEST(Offered, IsThatOfItsOwnSurgesAndOfThoseThatAreNotOver) {
  TimelineBuilder builder;
  builder.Surge("sale", 4, 10, 3).Surge("others", 5, 9, 7).Answer(0, 20, TimelineBuilder::Reply{});
  builder.scenario.mutable_faults(1)->mutable_surge()->set_load("browse");
  builder.Event("sale", FaultEvent::HEALED).set_state(FaultEvent::HEALING);
  EXPECT_THAT(SpansOf(builder), ElementsAre(std::tuple(0, 4, 200), std::tuple(4, 19.995, 600)));
}

}  // namespace
}  // namespace squall
