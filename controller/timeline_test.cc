#include "controller/timeline.h"

#include "controller/small_run.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace squall {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::SizeIs;

// A timeline that has its header.
Timeline Begun() {
  Timeline timeline;
  EXPECT_TRUE(timeline.Add(HeaderRecord()).ok());
  return timeline;
}

std::string Refusal(const Record& record) {
  Timeline timeline = Begun();
  const absl::Status status = timeline.Add(record);
  EXPECT_TRUE(absl::IsInvalidArgument(status)) << status;
  EXPECT_TRUE(timeline.requests["checkout"].empty());
  EXPECT_TRUE(timeline.calls["recommend"].empty());
  return std::string(status.message());
}

TEST(Timeline, RefusesColumnsOfDifferentLengths) {
  Record record = RequestsRecord();
  record.mutable_requests()->add_lag_us(1);
  EXPECT_EQ(Refusal(record), "columns of 2 and 3 requests");
  record = RequestsRecord();
  record.mutable_requests()->mutable_number()->RemoveLast();
  EXPECT_EQ(Refusal(record), "columns of 2 and 1 requests");
  record = ArrivalsRecord();
  record.mutable_arrivals()->add_result(ANSWERED);
  EXPECT_EQ(Refusal(record), "columns of 2 and 3 calls");
}

TEST(Timeline, TakesColumnsThatMayBeLeftOut) {
  Timeline timeline = Begun();
  ASSERT_TRUE(timeline.Add(RequestsRecord()).ok());
  EXPECT_EQ(timeline.requests["checkout"][1].retry_after_ms, 0u);
  EXPECT_FALSE(timeline.requests["checkout"][1].retried);
  Record record = RequestsRecord();
  for (const uint32_t value : {0u, 1002u}) record.mutable_requests()->add_retry_after_ms(value);
  for (const uint32_t value : {0u, 1u}) record.mutable_requests()->add_retried(value);
  ASSERT_TRUE(timeline.Add(record).ok());
  EXPECT_EQ(timeline.requests["checkout"][2].retry_after_ms, 0u);
  EXPECT_EQ(timeline.requests["checkout"][3].retry_after_ms, 1002u);
  EXPECT_TRUE(timeline.requests["checkout"][3].retried);
  record.mutable_requests()->add_retried(1);
  EXPECT_EQ(Refusal(record), "columns of 2 and 3 requests");
}

TEST(Timeline, RefusesRequestsThatContradictThemselves) {
  Record record = RequestsRecord();
  record.mutable_requests()->set_lag_us(1, 1'500'001);
  EXPECT_EQ(Refusal(record), "request 1 of its record ended before it was sent");
  record = RequestsRecord();
  record.mutable_requests()->set_outcome(0, OUTCOME_UNSPECIFIED);
  EXPECT_EQ(Refusal(record), "request 0 of its record has no known outcome");
  record.mutable_requests()->set_outcome(0, static_cast<Outcome>(99));
  EXPECT_EQ(Refusal(record), "request 0 of its record has no known outcome");
  record = RequestsRecord();
  record.mutable_requests()->set_intended_us(0, INT64_MAX);
  EXPECT_EQ(Refusal(record), "request 0 of its record has a start out of range");
  record = RequestsRecord();
  record.mutable_requests()->set_number(0, INT64_MIN);
  EXPECT_EQ(Refusal(record), "request 1 of its record has a number out of range");
  record = ArrivalsRecord();
  record.mutable_arrivals()->set_result(1, CALL_RESULT_UNSPECIFIED);
  EXPECT_EQ(Refusal(record), "call 1 of its record has no known result");
  record.mutable_arrivals()->set_start_us(1, INT64_MIN);
  EXPECT_EQ(Refusal(record), "call 1 of its record has a start out of range");
  record = ArrivalsRecord();
  record.mutable_arrivals()->add_source_pid(4711);
  EXPECT_EQ(Refusal(record), "columns of 2 calls and 1 sources");
}

TEST(Timeline, KnowsTheProcessThatCalledWhereTheEdgeDoes) {
  Timeline timeline = Begun();
  ASSERT_TRUE(timeline.Add(ArrivalsRecord()).ok());
  Record record = ArrivalsRecord();
  record.mutable_arrivals()->add_source_pid(4711);
  record.mutable_arrivals()->add_source_pid(0);
  ASSERT_TRUE(timeline.Add(record).ok());
  std::vector<uint32_t> sources;
  for (const Call& call : timeline.calls["recommend"]) sources.push_back(call.source_pid);
  EXPECT_EQ(sources, (std::vector<uint32_t>{0, 0, 4711, 0}));
}

TEST(Timeline, KnowsHowGrpcCallsEndedAndHowLongTheirCallersWouldWait) {
  Timeline timeline = Begun();
  Record record = ArrivalsRecord();
  for (const uint32_t status : {15, 0}) record.mutable_arrivals()->add_grpc_status(status);
  for (const uint32_t timeout : {0, 251}) record.mutable_arrivals()->add_timeout_ms(timeout);
  ASSERT_TRUE(timeline.Add(record).ok());
  const std::vector<Call>& calls = timeline.calls["recommend"];
  EXPECT_EQ(calls[0].grpc_status, 14);
  EXPECT_EQ(calls[0].TimeoutNs(), std::nullopt);
  EXPECT_EQ(calls[1].grpc_status, std::nullopt);
  EXPECT_EQ(calls[1].TimeoutNs(), 250'000'000);
  record.mutable_arrivals()->add_grpc_status(1);
  EXPECT_EQ(Refusal(record), "columns of 2 and 3 calls");
}

TEST(Timeline, RefusesNamesThatTheHeaderDoesNotHave) {
  Record record = RequestsRecord();
  record.mutable_requests()->set_load("other");
  EXPECT_THAT(Refusal(record), HasSubstr("a load 'other'"));
  record = ArrivalsRecord();
  record.mutable_arrivals()->set_edge("other");
  EXPECT_THAT(Refusal(record), HasSubstr("an edge 'other'"));
  record = FaultRecord(FaultEvent::INJECTED, 1);
  record.mutable_fault()->set_fault("other");
  EXPECT_THAT(Refusal(record), HasSubstr("a fault 'other'"));
  record.mutable_service()->set_service("other");
  EXPECT_THAT(Refusal(record), HasSubstr("service 'other'"));
  record.mutable_sample()->set_service("other");
  EXPECT_THAT(Refusal(record), HasSubstr("service 'other'"));
  record.mutable_load_stats()->set_load("other");
  EXPECT_THAT(Refusal(record), HasSubstr("a load 'other'"));
  record.mutable_edge_stats()->set_edge("other");
  EXPECT_THAT(Refusal(record), HasSubstr("edge 'other'"));
  record.mutable_stall()->set_service("other");
  EXPECT_THAT(Refusal(record), HasSubstr("service 'other'"));
  record.mutable_stall()->clear_service();
  record.mutable_stall()->set_edge("other");
  EXPECT_THAT(Refusal(record), HasSubstr("edge 'other'"));
}

TEST(Timeline, RefusesOtherContradictions) {
  EXPECT_EQ(Refusal(HeaderRecord()), "a second header");
  EXPECT_EQ(Refusal(Record()), "a record of no known kind");
  EXPECT_THAT(Refusal(FaultRecord(FaultEvent::STATE_UNSPECIFIED, 1)), HasSubstr("without a known state"));
  EXPECT_EQ(Refusal(FaultRecord(FaultEvent::INJECTED, INT64_MAX)), "a time out of range");
  Record record;
  record.mutable_stall()->set_length_ns(-1);
  EXPECT_EQ(Refusal(record), "a stall out of range");
  record.mutable_stall()->set_length_ns(INT64_MAX);
  EXPECT_EQ(Refusal(record), "a stall out of range");
  record.mutable_load_stats()->set_load("checkout");
  record.mutable_load_stats()->set_sent(-1);
  EXPECT_EQ(Refusal(record), "negative counts of load 'checkout'");
  Timeline timeline;
  record.mutable_header();
  EXPECT_EQ(timeline.Add(record).message(), "a header without a scenario");
}

TEST(Timeline, FollowsAFault) {
  Timeline timeline = Begun();
  ASSERT_THAT(timeline.faults, SizeIs(2));
  Record injected = FaultRecord(FaultEvent::INJECTED, 10);
  injected.mutable_fault()->mutable_evidence()->set_calls(1);
  ASSERT_TRUE(timeline.Add(injected).ok());
  ASSERT_TRUE(timeline.Add(FaultRecord(FaultEvent::HEALING, 20)).ok());
  Record healed = FaultRecord(FaultEvent::HEALED, 21);
  healed.mutable_fault()->mutable_evidence()->set_calls(5);
  ASSERT_TRUE(timeline.Add(healed).ok());
  const FaultSpan& slow = *timeline.FindFault("slow");
  EXPECT_EQ(slow.injected_ns, 10);
  EXPECT_EQ(slow.heal_asked_ns, 20);
  EXPECT_EQ(slow.healed_ns, 21);
  EXPECT_EQ(slow.evidence.calls(), 5);
  EXPECT_EQ(timeline.FindFault("gone")->injected_ns, std::nullopt);
  EXPECT_EQ(timeline.FindFault("other"), nullptr);
}

TEST(Timeline, KeepsTheFirstTimeWhenAFaultIsHealedTwice) {
  Timeline timeline = Begun();
  for (const int64_t at : {5, 6}) ASSERT_TRUE(timeline.Add(FaultRecord(FaultEvent::HEALED, at)).ok());
  EXPECT_EQ(timeline.FindFault("slow")->healed_ns, 5);
}

TEST(Timeline, TakesALaterConfirmationOfHealing) {
  Timeline timeline = Begun();
  ASSERT_TRUE(timeline.Add(FaultRecord(FaultEvent::INJECTED, 10)).ok());
  ASSERT_TRUE(timeline.Add(FaultRecord(FaultEvent::HEALING_NOT_CONFIRMED, 20)).ok());
  EXPECT_TRUE(timeline.FindFault("slow")->healing_not_confirmed);
  ASSERT_TRUE(timeline.Add(FaultRecord(FaultEvent::HEALED, 30)).ok());
  EXPECT_FALSE(timeline.FindFault("slow")->healing_not_confirmed);
  EXPECT_EQ(timeline.FindFault("slow")->healed_ns, 30);
}

TEST(Timeline, RefusesHealingBeforeInjection) {
  Timeline timeline = Begun();
  ASSERT_TRUE(timeline.Add(FaultRecord(FaultEvent::INJECTED, 10)).ok());
  EXPECT_THAT(timeline.Add(FaultRecord(FaultEvent::HEALED, 9)).message(),
              HasSubstr("before it was injected"));
}

TEST(Timeline, TakesTheLargerUncertaintyOfStartAndEnd) {
  Record header = HeaderRecord(), footer = FooterRecord();
  header.mutable_header()->set_clock_uncertainty_ns(5'000);
  for (const auto& [agent, ns] : {std::pair("shop-1", 5'000), std::pair("shop-2", 1'000)}) {
    (*header.mutable_header()->mutable_agent_clock_uncertainty_ns())[agent] = ns;
  }
  footer.mutable_footer()->set_clock_uncertainty_ns(900'000);
  (*footer.mutable_footer()->mutable_agent_clock_uncertainty_ns())["shop-1"] = 2'000;
  (*footer.mutable_footer()->mutable_agent_clock_uncertainty_ns())["shop-2"] = 900'000;
  Timeline timeline;
  ASSERT_TRUE(timeline.Add(header).ok());
  ASSERT_TRUE(timeline.Add(footer).ok());
  EXPECT_EQ(timeline.header.clock_uncertainty_ns(), 900'000);
  EXPECT_EQ(timeline.header.agent_clock_uncertainty_ns().at("shop-1"), 5'000);
  EXPECT_EQ(timeline.header.agent_clock_uncertainty_ns().at("shop-2"), 900'000);
}

TEST(Timeline, KnowsItsLatestTime) {
  Timeline timeline = Begun();
  ASSERT_TRUE(timeline.Add(RequestsRecord()).ok());
  EXPECT_EQ(timeline.last_ns, 2'500'000'000);
  ASSERT_TRUE(timeline.Add(ArrivalsRecord()).ok());
  EXPECT_EQ(timeline.last_ns, 3'001'000'000);
}

TEST(TraceId, IsThePrefixAndTheNumber) {
  EXPECT_EQ(TraceId(0x4bf92f3577b34da6, 1234), "4bf92f3577b34da600000000000004d2");
}

TEST(IsError, HoldsForFailuresOnly) {
  std::vector<Outcome> errors;
  for (int value = Outcome_MIN + 1; value <= Outcome_MAX; ++value) {
    if (IsError(static_cast<Outcome>(value))) errors.push_back(static_cast<Outcome>(value));
  }
  EXPECT_THAT(errors, ElementsAre(ERROR, TIMED_OUT, REFUSED, RESET));
}

}  // namespace
}  // namespace squall
