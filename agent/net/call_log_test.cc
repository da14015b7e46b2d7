#include "agent/net/call_log.h"

#include <gtest/gtest.h>

namespace squall {
namespace {

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

}  // namespace
}  // namespace squall
