#include "agent/load/columns.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace squall {
namespace {

using ::testing::ElementsAre;

TEST(RequestColumns, FirstIsAbsoluteAndOthersAreRelativeInEitherDirection) {
  RequestColumns columns("checkout");
  columns.Add({8, 5'000'000'000, 5'000'040'000, 5'012'000'000, 200, OK});
  columns.Add({7, 4'995'000'000, 4'995'000'000, 5'013'000'000, 0, TIMED_OUT});
  columns.Add({9, 5'005'000'999, 5'005'000'999, 5'014'000'999, 429, REJECTED});
  EXPECT_EQ(columns.size(), 3);
  const Requests requests = columns.Take();
  EXPECT_EQ(requests.load(), "checkout");
  EXPECT_THAT(requests.intended_us(), ElementsAre(5'000'000, -5'000, 10'000));
  EXPECT_THAT(requests.number(), ElementsAre(8, -1, 2));
  EXPECT_THAT(requests.lag_us(), ElementsAre(40, 0, 0));
  EXPECT_THAT(requests.latency_us(), ElementsAre(12'000, 18'000, 9'000));
  EXPECT_THAT(requests.status(), ElementsAre(200, 0, 429));
  EXPECT_THAT(requests.outcome(), ElementsAre(OK, TIMED_OUT, REJECTED));
}

TEST(RequestColumns, EveryRecordCanBeReadAlone) {
  RequestColumns columns("checkout");
  columns.Add({8, 5'000'000'000, 5'000'000'000, 5'012'000'000, 200, OK});
  columns.Take();
  EXPECT_EQ(columns.size(), 0);
  columns.Add({9, 6'000'000'000, 6'000'000'000, 6'012'000'000, 200, OK});
  const Requests requests = columns.Take();
  EXPECT_THAT(requests.intended_us(), ElementsAre(6'000'000));
  EXPECT_THAT(requests.number(), ElementsAre(9));
}

TEST(RequestColumns, RetriesTakeNoRoomWhereThereAreNone) {
  RequestColumns columns("checkout");
  columns.Add({0, 0, 0, 1000, 200, OK});
  columns.Add({1, 0, 0, 1000, 429, REJECTED, 1002});
  columns.Add({2, 0, 0, 1000, 429, REJECTED});
  columns.Add({int64_t{1} << 40, 0, 0, 1000, 200, OK, 0, true});
  Requests requests = columns.Take();
  EXPECT_THAT(requests.retry_after_ms(), ElementsAre(0, 1002, 0, 0));
  EXPECT_THAT(requests.retried(), ElementsAre(0, 0, 0, 1));
  columns.Add({3, 0, 0, 1000, 200, OK});
  requests = columns.Take();
  EXPECT_EQ(requests.retry_after_ms_size(), 0);
  EXPECT_EQ(requests.retried_size(), 0);
}

TEST(RequestColumns, KindsAndReuseTakeNoRoomWhereThereAreNone) {
  RequestColumns columns("checkout");
  columns.Add({0, 0, 0, 1000, 200, OK});
  columns.Add({1, 0, 0, 1000, 200, OK, 0, false, 2});
  columns.Add({2, 0, 0, 1000, 200, OK, 0, false, 0, true});
  Requests requests = columns.Take();
  EXPECT_THAT(requests.kind(), ElementsAre(0, 2, 0));
  EXPECT_THAT(requests.reused(), ElementsAre(0, 0, 1));
  columns.Add({3, 0, 0, 1000, 200, OK});
  requests = columns.Take();
  EXPECT_EQ(requests.kind_size(), 0);
  EXPECT_EQ(requests.reused_size(), 0);
}

TEST(RequestColumns, ASpanThatDoesNotFitIsTheLongestThatDoes) {
  RequestColumns columns("checkout");
  constexpr int64_t kTwoHours = int64_t{7200} * 1'000'000'000;
  columns.Add({0, 0, kTwoHours, kTwoHours, 200, OK});
  const Requests requests = columns.Take();
  EXPECT_THAT(requests.lag_us(), ElementsAre(UINT32_MAX));
  EXPECT_THAT(requests.latency_us(), ElementsAre(UINT32_MAX));
}

}  // namespace
}  // namespace squall
