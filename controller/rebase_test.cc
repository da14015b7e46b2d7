#include "controller/rebase.h"

#include <gtest/gtest.h>

namespace squall {
namespace {

constexpr int64_t kShift = 5'000'000'000;

TEST(Rebase, MovesTheFirstOfColumnsWhoseOthersAreRelative) {
  Record requests;
  requests.mutable_requests()->add_intended_us(7'000'000);
  requests.mutable_requests()->add_intended_us(250);
  Rebase(requests, kShift);
  EXPECT_EQ(requests.requests().intended_us(0), 2'000'000);
  EXPECT_EQ(requests.requests().intended_us(1), 250);
  Record arrivals;
  arrivals.mutable_arrivals()->add_start_us(6'000'000);
  Rebase(arrivals, kShift);
  EXPECT_EQ(arrivals.arrivals().start_us(0), 1'000'000);
}

TEST(Rebase, MovesEveryKindThatAnAgentSends) {
  Record record;
  record.mutable_fault()->set_at_ns(kShift + 1);
  Rebase(record, kShift);
  EXPECT_EQ(record.fault().at_ns(), 1);
  EXPECT_FALSE(record.fault().has_evidence());
  record.mutable_service()->set_at_ns(kShift + 2);
  Rebase(record, kShift);
  EXPECT_EQ(record.service().at_ns(), 2);
  record.mutable_stall()->set_start_ns(kShift + 3);
  record.mutable_stall()->set_length_ns(9);
  Rebase(record, kShift);
  EXPECT_EQ(record.stall().start_ns(), 3);
  EXPECT_EQ(record.stall().length_ns(), 9);
  record.mutable_host()->set_at_ns(kShift + 4);
  Rebase(record, kShift);
  EXPECT_EQ(record.host().at_ns(), 4);
  record.mutable_sample()->set_at_ns(kShift + 5);
  Rebase(record, kShift);
  EXPECT_EQ(record.sample().at_ns(), 5);
  record.mutable_load_stats()->set_at_ns(kShift + 6);
  Rebase(record, kShift);
  EXPECT_EQ(record.load_stats().at_ns(), 6);
  record.mutable_edge_stats()->set_at_ns(kShift + 7);
  Rebase(record, kShift);
  EXPECT_EQ(record.edge_stats().at_ns(), 7);
  record.mutable_metric()->set_at_ns(kShift + 8);
  Rebase(record, kShift);
  EXPECT_EQ(record.metric().at_ns(), 8);
  record.mutable_health()->set_at_ns(kShift + 9);
  record.mutable_health()->set_took_ns(4);
  Rebase(record, kShift);
  EXPECT_EQ(record.health().at_ns(), 9);
  EXPECT_EQ(record.health().took_ns(), 4);
  record.mutable_log()->set_at_ns(kShift + 10);
  Rebase(record, kShift);
  EXPECT_EQ(record.log().at_ns(), 10);
  record.mutable_alert()->set_at_ns(kShift + 11);
  Rebase(record, kShift);
  EXPECT_EQ(record.alert().at_ns(), 11);
  record.mutable_load_share()->set_at_ns(kShift + 12);
  Rebase(record, kShift);
  EXPECT_EQ(record.load_share().at_ns(), 12);
}

TEST(Rebase, MovesTheCountsInASnapshotWithIt) {
  Record record;
  record.mutable_snapshot()->set_at_ns(kShift + 1);
  Rebase(record, kShift);
  EXPECT_EQ(record.snapshot().at_ns(), 1);
  EXPECT_FALSE(record.snapshot().has_sample());
  record.mutable_snapshot()->mutable_sample()->set_fds(3);
  record.mutable_snapshot()->set_at_ns(kShift + 2);
  Rebase(record, kShift);
  EXPECT_EQ(record.snapshot().sample().at_ns(), 0) << "it was not told";
  record.mutable_snapshot()->set_at_ns(kShift + 2);
  record.mutable_snapshot()->mutable_sample()->set_at_ns(kShift + 3);
  Rebase(record, kShift);
  EXPECT_EQ(record.snapshot().at_ns(), 2);
  EXPECT_EQ(record.snapshot().sample().at_ns(), 3);
}

TEST(Rebase, MovesWhenASignalWasSent) {
  Record record;
  record.mutable_fault()->set_at_ns(kShift + 9);
  record.mutable_fault()->mutable_evidence()->set_signalled_ns(kShift + 2);
  Rebase(record, kShift);
  EXPECT_EQ(record.fault().evidence().signalled_ns(), 2);
  record.mutable_fault()->mutable_evidence()->set_signalled_ns(0);
  Rebase(record, kShift);
  EXPECT_EQ(record.fault().evidence().signalled_ns(), 0);
}

TEST(Rebase, LeavesEmptyColumnsAlone) {
  Record record;
  record.mutable_requests();
  Rebase(record, kShift);
  EXPECT_EQ(record.requests().intended_us_size(), 0);
}

}  // namespace
}  // namespace squall
