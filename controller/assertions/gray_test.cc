#include "controller/assertions/gray.h"

#include "controller/assertions/recovery.h"
#include "controller/assertions/timeline_builder.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace squall {
namespace {

using ::testing::HasSubstr;

using Reply = TimelineBuilder::Reply;

constexpr Reply kWell{10, OK};
constexpr Reply kBad{10, ERROR, 500};

Recovery Asking(int windows = 5) {
  Recovery spec;
  spec.set_load("checkout");
  spec.mutable_within()->set_seconds(10);
  spec.set_latency_factor(1.2);
  spec.mutable_latency_slack()->set_nanos(5'000'000);
  spec.set_errors_slack(0.5);
  spec.set_goodput(95);
  spec.set_windows(10);
  spec.mutable_gray()->set_service("orders");
  spec.mutable_gray()->set_windows(windows);
  return spec;
}

// Callers are not served for so many seconds of a fault from 12 s to 22 s, and from then on they are.
TimelineBuilder BadFor(double seconds) {
  TimelineBuilder builder;
  builder.Latency("slow", 12, 22).Answer(0, 12, kWell).Answer(12, 12 + seconds, kBad).Answer(12 + seconds, 50, kWell);
  return builder;
}

// The health of orders, four times a second.
void Ask(TimelineBuilder& builder, double from, double to, int32_t status) {
  for (double at = from; at < to - 0.01; at += 0.25) {
    Record record;
    record.mutable_health()->set_service("orders");
    record.mutable_health()->set_at_ns(TimelineBuilder::Ns(at));
    record.mutable_health()->set_status(status);
    builder.Put(record);
  }
}

Verdict Judged(const TimelineBuilder& builder, const Recovery& spec = Asking()) { return JudgeRecovery(spec, builder.Build()).verdict; }

TEST(Gray, FailsWhereHealthIsGreenWhileCallersAreNotServed) {
  TimelineBuilder builder = BadFor(8);
  Ask(builder, 0, 50, 200);
  const Verdict verdict = Judged(builder);
  EXPECT_EQ(verdict.result(), Verdict::FAIL);
  EXPECT_THAT(verdict.reason(), HasSubstr("gray failure: the health of orders stayed green for 5 windows in a row"));
  EXPECT_EQ(verdict.first_broken_ns(), 12'000'000'000);
}

TEST(Gray, PassesWhereHealthTurnsRed) {
  TimelineBuilder builder = BadFor(8);
  Ask(builder, 0, 13, 200);
  Ask(builder, 13, 21, 503);
  Ask(builder, 21, 50, 200);
  const Verdict verdict = Judged(builder);
  EXPECT_EQ(verdict.result(), Verdict::PASS) << verdict.reason();
}

TEST(Gray, NoAnswerIsNotGreen) {
  TimelineBuilder builder = BadFor(8);
  Ask(builder, 0, 13, 200);
  Ask(builder, 13, 21, 0);
  Ask(builder, 21, 50, 200);
  EXPECT_EQ(Judged(builder).result(), Verdict::PASS);
}

TEST(Gray, OneWindowShortOfItPasses) {
  TimelineBuilder builder = BadFor(8);
  Ask(builder, 0, 16, 200);
  Ask(builder, 16, 21, 503);
  Ask(builder, 21, 50, 200);
  EXPECT_EQ(Judged(builder).result(), Verdict::PASS);
  EXPECT_EQ(Judged(builder, Asking(4)).result(), Verdict::FAIL);
}

TEST(Gray, ProvesNothingWhereCallersWereServed) {
  TimelineBuilder builder = BadFor(3);
  Ask(builder, 0, 50, 200);
  const Verdict verdict = Judged(builder);
  EXPECT_EQ(verdict.result(), Verdict::INCONCLUSIVE);
  EXPECT_THAT(verdict.reason(), HasSubstr("out of band for at most 3 windows in a row, and 5 are needed"));
  EXPECT_THAT(verdict.advice(), HasSubstr("last longer"));
}

TEST(Gray, ProvesNothingWhereHealthWasNotAsked) {
  const Verdict never = Judged(BadFor(8));
  EXPECT_EQ(never.result(), Verdict::INCONCLUSIVE);
  EXPECT_THAT(never.reason(), HasSubstr("was never asked"));
  TimelineBuilder now_and_then = BadFor(8);
  Ask(now_and_then, 0, 15, 200);
  EXPECT_EQ(Judged(now_and_then).result(), Verdict::INCONCLUSIVE);
}

TEST(Gray, DoesNotHideThatItNeverRecovered) {
  TimelineBuilder builder;
  builder.Latency("slow", 12, 22).Answer(0, 12, kWell).Answer(12, 50, kBad);
  Ask(builder, 0, 50, 503);
  const Verdict verdict = Judged(builder);
  EXPECT_EQ(verdict.result(), Verdict::FAIL);
  EXPECT_THAT(verdict.reason(), HasSubstr("still out of band"));
}

}  // namespace
}  // namespace squall
