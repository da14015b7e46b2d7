#include "controller/assertions/direct_traffic.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace squall {
namespace {

using ::testing::HasSubstr;

constexpr int64_t kSecond = 1'000'000'000;

EdgeStats Stats(int64_t second, int64_t direct, int64_t direct_bytes, int64_t relayed_bytes) {
  EdgeStats stats;
  stats.set_edge("recommend");
  stats.set_at_ns(second * kSecond);
  stats.set_direct_connections(direct);
  stats.set_direct_bytes_to_service(direct_bytes);
  stats.set_bytes_to_service(relayed_bytes);
  return stats;
}

// A fault from second 10 to second 20 on the edge.
Timeline WithFault(int64_t reached, int64_t unreached) {
  Timeline timeline;
  Fault& fault = *timeline.header.mutable_scenario()->add_faults();
  fault.set_name("slow");
  fault.mutable_latency()->set_edge("recommend");
  FaultSpan span;
  span.name = "slow";
  span.injected_ns = 10 * kSecond;
  span.healed_ns = 20 * kSecond;
  span.evidence.set_direct_reached(reached);
  span.evidence.set_direct_unreached(unreached);
  timeline.faults.push_back(span);
  return timeline;
}

std::optional<Obstacle> Gate(const Timeline& timeline) {
  return DirectGate(timeline, timeline.header.scenario().faults(0), timeline.faults[0]);
}

TEST(DirectTraffic, IsNothingToSpeakOfWhenEverythingWentThroughTheRelay) {
  Timeline timeline = WithFault(0, 0);
  timeline.edge_stats["recommend"] = {Stats(1, 0, 0, 100), Stats(30, 0, 0, 1000)};
  EXPECT_EQ(DirectTraffic(timeline, "recommend"), "");
  EXPECT_EQ(DirectTraffic(timeline, "other"), "");
}

TEST(DirectTraffic, IsToldWithItsShareAndWhatDidNotReachIt) {
  Timeline timeline = WithFault(0, 3);
  timeline.edge_stats["recommend"] = {Stats(1, 3, 0, 0), Stats(30, 1, 120, 880)};
  EXPECT_EQ(DirectTraffic(timeline, "recommend"),
            "3 connections from before the run carried 12 % of the bytes; slow did not reach them");
}

TEST(DirectTraffic, SaysWhatReachedIt) {
  Timeline timeline = WithFault(1, 0);
  timeline.edge_stats["recommend"] = {Stats(1, 1, 0, 0)};
  EXPECT_EQ(DirectTraffic(timeline, "recommend"), "1 connection from before the run carried nothing; slow reached it");
}

TEST(DirectGate, ClosesWhenMostOfTheTrafficBeforeTheFaultWasOnWhatItDidNotReach) {
  Timeline timeline = WithFault(0, 2);
  timeline.edge_stats["recommend"] = {Stats(1, 2, 0, 0), Stats(9, 2, 9000, 1000), Stats(15, 2, 9000, 50'100),
                                      Stats(30, 2, 9000, 90'000)};
  const std::optional<Obstacle> obstacle = Gate(timeline);
  ASSERT_TRUE(obstacle.has_value());
  EXPECT_THAT(obstacle->reason, HasSubstr("did not reach 2 connections from before the run, and they carried 90 % of the bytes"));
}

TEST(DirectGate, StaysOpenWhenTheRelayCarriedMostOfIt) {
  Timeline timeline = WithFault(0, 2);
  // What the fault keeps back does not count: it kept back what the relay carries.
  timeline.edge_stats["recommend"] = {Stats(1, 2, 0, 0), Stats(9, 2, 100, 1000), Stats(21, 2, 90'100, 1000)};
  EXPECT_FALSE(Gate(timeline).has_value());
}

TEST(DirectGate, StaysOpenForAFaultThatReachesThem) {
  Timeline timeline = WithFault(2, 0);
  timeline.edge_stats["recommend"] = {Stats(9, 2, 0, 0), Stats(21, 2, 1000, 0)};
  EXPECT_FALSE(Gate(timeline).has_value());
}

}  // namespace
}  // namespace squall
