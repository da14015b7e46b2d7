#include "agent/load/retries.h"

#include <gtest/gtest.h>

namespace squall {
namespace {

constexpr int64_t kMs = 1'000'000;
constexpr int64_t kSecond = 1000 * kMs;

// Sat, 21 Nov 2026 08:00:00 GMT.
const absl::Time kNow = absl::FromUnixSeconds(1795248000);

TEST(RetryAfter, IsSecondsOrAnyOfTheThreeHttpDates) {
  EXPECT_EQ(ParseRetryAfter("120", kNow), absl::Seconds(120));
  EXPECT_EQ(ParseRetryAfter(" 0 ", kNow), absl::ZeroDuration());
  EXPECT_EQ(ParseRetryAfter("Sat, 21 Nov 2026 08:00:07 GMT", kNow), absl::Seconds(7));
  EXPECT_EQ(ParseRetryAfter("Saturday, 21-Nov-26 08:00:07 GMT", kNow), absl::Seconds(7));
  EXPECT_EQ(ParseRetryAfter("Sat Nov 21 08:00:07 2026", kNow), absl::Seconds(7));
}

TEST(RetryAfter, OfADateThatHasPassedIsNow) {
  EXPECT_EQ(ParseRetryAfter("Sat, 21 Nov 2026 07:59:59 GMT", kNow), absl::ZeroDuration());
}

TEST(RetryAfter, OfAnythingElseCannotBeRead) {
  for (const char* text : {"", "soon", "-1", "1.5", "1s", "0x10", "Sat, 21 Nov 2026 08:00:07 CET"}) {
    EXPECT_EQ(ParseRetryAfter(text, kNow), std::nullopt) << text;
    EXPECT_EQ(RetryAfterColumn(text, kNow), 1u) << text;
  }
}

TEST(RetryAfter, FitsIntoItsColumnHoweverLongItIs) {
  EXPECT_EQ(RetryAfterColumn("0", kNow), 2u);
  EXPECT_EQ(RetryAfterColumn("1", kNow), 1002u);
  EXPECT_EQ(RetryAfterColumn("99999999999999999999999999", kNow), UINT32_MAX);
  EXPECT_EQ(WaitOf(0), std::nullopt);
  EXPECT_EQ(WaitOf(1), std::nullopt);
  EXPECT_EQ(WaitOf(2), 0);
  EXPECT_EQ(WaitOf(1002), kSecond);
}

TEST(Retries, AreSentWhenDueOneAtATimeAndNoCloserThanTheLimiterAdmitsThem) {
  Retries retries({10 * kMs, 100 * kMs});
  retries.Add(5 * kSecond + 3 * kMs);
  retries.Add(5 * kSecond);
  ASSERT_EQ(retries.NextNs(0, 9 * kSecond), 5 * kSecond);
  retries.Sent(5 * kSecond + kMs);
  EXPECT_EQ(retries.NextNs(0, 9 * kSecond), std::nullopt);
  retries.Ended();
  ASSERT_EQ(retries.NextNs(0, 9 * kSecond), 5 * kSecond + 11 * kMs);
  retries.Sent(5 * kSecond + 11 * kMs);
  retries.Ended();
  EXPECT_EQ(retries.NextNs(0, 9 * kSecond), std::nullopt);
}

TEST(Retries, AreSentOnlyInAQuietTimeAndLeaveItsLastPartAlone) {
  Retries retries({10 * kMs, 100 * kMs});
  retries.Add(1 * kSecond);
  EXPECT_EQ(retries.NextNs(2 * kSecond, 3 * kSecond), 2 * kSecond);
  EXPECT_EQ(retries.NextNs(2 * kSecond, 2 * kSecond + 100 * kMs), 2 * kSecond);
  EXPECT_EQ(retries.NextNs(2 * kSecond, 2 * kSecond + 99 * kMs), std::nullopt);
  EXPECT_EQ(retries.NextNs(2 * kSecond, INT64_MAX), 2 * kSecond);
}

TEST(Retries, OfManyRejectedRequestsAreTheLast) {
  Retries retries({0, 0});
  for (int i = 0; i < 30; ++i) retries.Add(i * kSecond);
  EXPECT_EQ(retries.NextNs(0, INT64_MAX), 10 * kSecond);
}

}  // namespace
}  // namespace squall
