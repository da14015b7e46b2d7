#include "agent/process/cpu_limit.h"

#include <gtest/gtest.h>

namespace squall {
namespace {

TEST(CpuMax, IsReadAndWrittenAsTheKernelDoes) {
  for (const char* text : {"max 100000", "20000 100000", "1000 1000000"}) {
    const absl::StatusOr<CpuLimit> limit = ParseCpuMax(std::string(text) + "\n");
    ASSERT_TRUE(limit.ok()) << limit.status();
    EXPECT_EQ(CpuMax(*limit), text);
  }
  EXPECT_FALSE(ParseCpuMax("max 100000")->limited());
  EXPECT_EQ(ParseCpuMax("20000 100000")->quota_us, 20000);
}

TEST(CpuMax, OfAnotherFormIsAnError) {
  for (const char* text : {"", "max", "100000", "max max", "1 2 3", "x 100000", "1000 0"}) {
    EXPECT_FALSE(ParseCpuMax(text).ok()) << text;
  }
}

TEST(CpuLimit, WithoutALimitIsTheSameWhateverStandsForIt) {
  EXPECT_EQ((CpuLimit{-1, 100'000}), (CpuLimit{-2, 100'000}));
  EXPECT_FALSE((CpuLimit{-1, 100'000}) == (CpuLimit{-1, 50'000}));
  EXPECT_FALSE((CpuLimit{-1, 100'000}) == (CpuLimit{0, 100'000}));
}

TEST(CoresAllowed, AreTheCoresWhereNoQuotaIsLower) {
  EXPECT_DOUBLE_EQ(CoresAllowed(4, {}), 4);
  EXPECT_DOUBLE_EQ(CoresAllowed(4, {CpuLimit()}), 4);
  EXPECT_DOUBLE_EQ(CoresAllowed(2, {{300'000, 100'000}}), 2);
}

TEST(CoresAllowed, AreTheLowestQuotaOfTheCgroupAndThoseAbove) {
  EXPECT_DOUBLE_EQ(CoresAllowed(4, {CpuLimit(), {50'000, 100'000}, {300'000, 100'000}}), 0.5);
  EXPECT_DOUBLE_EQ(CoresAllowed(4, {{150'000, 50'000}, CpuLimit()}), 3);
}

TEST(ShareOf, IsAPartOfWhatMayBeUsedInPeriodsOf100Milliseconds) {
  EXPECT_EQ(*ShareOf(20, 2), (CpuLimit{40'000, 100'000}));
  EXPECT_EQ(*ShareOf(50, 0.5), (CpuLimit{25'000, 100'000}));
  EXPECT_EQ(*ShareOf(99, 64), (CpuLimit{6'336'000, 100'000}));
  EXPECT_EQ(*ShareOf(1, 1), (CpuLimit{1'000, 100'000}));
}

TEST(ShareOf, BelowWhatTheKernelTakesIsAnErrorThatSaysWhatItWouldTake) {
  const absl::Status status = ShareOf(1, 0.25).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kOutOfRange);
  EXPECT_EQ(status.message(),
            "1 % of 0.25 cores is less than 1 ms in 100 ms, which the kernel refuses; write quota: 4% or more");
  EXPECT_TRUE(ShareOf(4, 0.25).ok());
}

}  // namespace
}  // namespace squall
