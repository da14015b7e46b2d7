#include "agent/net/call_log.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace squall {
namespace {

using ::testing::ElementsAre;

TEST(CallLog, PacksStatusAndTimeoutOfGrpcCallsAndNothingForOthers) {
  CallLog log;
  SeenCall plain{.start_ns = 1'000'000, .end_ns = 2'000'000, .status = 200, .result = ANSWERED};
  SeenCall grpc = plain;
  grpc.grpc_status = 0;
  grpc.timeout_ms = 250;
  log.Add("plain", plain);
  log.Add("mixed", plain);
  log.Add("mixed", grpc);
  const std::vector<Record> records = log.Flush();
  ASSERT_EQ(records.size(), 2u);
  const Arrivals& mixed = records[0].arrivals();
  EXPECT_EQ(mixed.grpc_status(0), 0u);
  EXPECT_EQ(mixed.grpc_status(1), 1u);
  EXPECT_EQ(mixed.timeout_ms(0), 0u);
  EXPECT_EQ(mixed.timeout_ms(1), 251u);
  EXPECT_EQ(records[1].arrivals().grpc_status_size(), 0);
  EXPECT_EQ(records[1].arrivals().timeout_ms_size(), 0);
}

SeenCall Of(uint64_t prefix, int64_t number) {
  return {.start_ns = 1'000'000, .end_ns = 2'000'000, .status = 200, .result = ANSWERED, .trace = TraceOfLoad{prefix, number}};
}

TEST(CallLog, PacksTheRequestsThatCallsWereMadeForAndNothingForRecordsWithoutAny) {
  CallLog log;
  SeenCall plain = Of(0, 0);
  plain.trace.reset();
  log.Add("mixed", Of(0xa1, 1000));
  log.Add("mixed", plain);
  log.Add("mixed", Of(0xb2, 7));
  log.Add("mixed", Of(0xa1, 1001));
  log.Add("plain", plain);
  const std::vector<Record> records = log.Flush();
  ASSERT_EQ(records.size(), 2u);
  const Arrivals& mixed = records[0].arrivals();
  EXPECT_THAT(mixed.trace_prefixes(), ElementsAre(0xa1, 0xb2));
  EXPECT_THAT(mixed.trace_prefix(), ElementsAre(1, 0, 2, 1));
  EXPECT_THAT(mixed.number(), ElementsAre(1000, 0, -993, 994));
  EXPECT_EQ(records[1].arrivals().trace_prefixes_size(), 0);
  EXPECT_EQ(records[1].arrivals().trace_prefix_size(), 0);
  EXPECT_EQ(records[1].arrivals().number_size(), 0);
}

TEST(CallLog, KnowsNoMoreThan64PrefixesInARecord) {
  CallLog log;
  for (uint64_t prefix = 1; prefix <= 70; ++prefix) log.Add("edge", Of(prefix, 5));
  log.Add("edge", Of(64, 6));
  const std::vector<Record> records = log.Flush();
  const Arrivals& arrivals = records[0].arrivals();
  EXPECT_EQ(arrivals.trace_prefixes_size(), 64);
  ASSERT_EQ(arrivals.trace_prefix_size(), 71);
  EXPECT_EQ(arrivals.trace_prefix(63), 64u);
  EXPECT_EQ(arrivals.trace_prefix(64), 0u);
  EXPECT_EQ(arrivals.number(64), 0);
  EXPECT_EQ(arrivals.trace_prefix(70), 64u);
  EXPECT_EQ(arrivals.number(70), 1);
}

}  // namespace
}  // namespace squall
