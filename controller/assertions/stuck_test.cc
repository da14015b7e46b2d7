// What a recovery tells of a service that does not come back by itself.
#include "controller/assertions/recovery.h"
#include "controller/assertions/timeline_builder.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace squall {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

using Reply = TimelineBuilder::Reply;

constexpr Reply kWell{10, OK};
constexpr Reply kLate{1000, TIMED_OUT, 0};

Recovery Confirming() {
  Recovery spec;
  spec.set_load("checkout");
  spec.set_edge("recommend");
  spec.mutable_within()->set_seconds(10);
  spec.set_latency_factor(1.2);
  spec.mutable_latency_slack()->set_nanos(5'000'000);
  spec.set_errors_slack(0.5);
  spec.set_goodput(95);
  spec.set_windows(10);
  spec.set_confirm_metastable(true);
  spec.mutable_confirm_for()->set_seconds(10);
  return spec;
}

void Enter(TimelineBuilder& builder, PhaseEvent::Phase phase, double at) {
  Record record;
  record.mutable_phase()->set_phase(phase);
  record.mutable_phase()->set_at_ns(TimelineBuilder::Ns(at));
  builder.Put(record);
}

// Well until a fault from 12 s to 22 s, and then not: `calls` calls over the edge for each request.
TimelineBuilder Stuck(int calls = 1) {
  TimelineBuilder builder;
  builder.Latency("slow", 12, 22).Answer(0, 12, kWell).Answer(12, 64, kLate);
  for (double at = 0; at < 64; at += 0.05) {
    for (int i = 0; i < (at < 12 ? 1 : calls); ++i) builder.AddCall(at, 5, ANSWERED);
  }
  return builder;
}

// The load is cut at 64 s, to nothing at 74 s, and restored at 84 s; then so it goes on.
TimelineBuilder CutThen(Reply reply) {
  TimelineBuilder builder = Stuck();
  Enter(builder, PhaseEvent::CUT_TO_HALF, 64);
  Enter(builder, PhaseEvent::CUT_TO_NOTHING, 74);
  Enter(builder, PhaseEvent::RESTORED, 84);
  builder.Answer(64, 74, kLate).Answer(84, 110, reply);
  return builder;
}

Verdict Judged(const TimelineBuilder& builder, const Recovery& spec = Confirming()) { return JudgeRecovery(spec, builder.Build()).verdict; }

TEST(Stuck, ServiceThatIsWellOnceItsLoadWasCutWasMetastable) {
  const Verdict verdict = Judged(CutThen(kWell));
  EXPECT_EQ(verdict.result(), Verdict::FAIL);
  EXPECT_THAT(verdict.reason(), StartsWith("METASTABLE: still out of band 10 s after healing"));
  EXPECT_THAT(verdict.reason(), HasSubstr("only once its load had been cut to nothing"));
}

TEST(Stuck, ServiceThatIsNotIsDamaged) {
  const Verdict verdict = Judged(CutThen(kLate));
  EXPECT_EQ(verdict.result(), Verdict::FAIL);
  EXPECT_THAT(verdict.reason(), StartsWith("DAMAGED: "));
}

TEST(Stuck, ServiceThatComesBackByItselfTooLateIsSlow) {
  TimelineBuilder builder;
  builder.Latency("slow", 12, 22).Answer(0, 12, kWell).Answer(12, 40, kLate).Answer(40, 70, kWell);
  const Verdict verdict = Judged(builder);
  EXPECT_EQ(verdict.result(), Verdict::FAIL);
  EXPECT_THAT(verdict.reason(), StartsWith("SLOW: back in band 18.0 s after healing"));
  EXPECT_FALSE(IsStuck(Confirming(), builder.Build()));
}

TEST(Stuck, TooFewWindowsAfterTheCutTellNothing) {
  TimelineBuilder builder = Stuck();
  Enter(builder, PhaseEvent::CUT_TO_HALF, 64);
  Enter(builder, PhaseEvent::RESTORED, 84);
  builder.Answer(64, 74, kLate).Answer(84, 88, kWell);
  const Verdict verdict = Judged(builder);
  EXPECT_EQ(verdict.result(), Verdict::FAIL);
  EXPECT_THAT(verdict.reason(), StartsWith("still out of band"));
  EXPECT_THAT(verdict.DebugString(), HasSubstr("too few windows to tell"));
}

TEST(Stuck, IsWhatThePlanAsksBeforeItCutsTheLoad) {
  EXPECT_TRUE(IsStuck(Confirming(), Stuck().StillRunningAt(66).Build()));
  TimelineBuilder well;
  well.Latency("slow", 12, 22).Answer(0, 12, kWell).Answer(12, 22, kLate).Answer(22, 64, kWell);
  EXPECT_FALSE(IsStuck(Confirming(), well.StillRunningAt(66).Build()));
}

TEST(Stuck, WaitsForTheCutBeforeTheVerdictIsTheLastWord) {
  const Judgement judgement = JudgeRecovery(Confirming(), Stuck().StillRunningAt(66).Build());
  EXPECT_EQ(judgement.verdict.result(), Verdict::FAIL);
  EXPECT_FALSE(judgement.final);
}

TEST(Stuck, SaysWhatHoldsItDownThoughNobodyAsked) {
  Recovery spec = Confirming();
  spec.set_confirm_metastable(false);
  const Verdict verdict = Judged(Stuck(/*calls=*/3), spec);
  EXPECT_THAT(verdict.reason(), HasSubstr("3.0 times the calls per request"));
  EXPECT_THAT(verdict.reason(), HasSubstr("`confirm_metastable: true` tells"));
  // Neither more calls nor more that wait: nothing hints at it.
  TimelineBuilder refused;
  refused.Latency("slow", 12, 22).Answer(0, 12, kWell).Answer(12, 50, Reply{10, ERROR, 500});
  EXPECT_THAT(Judged(refused, spec).reason(), Not(HasSubstr("confirm_metastable")));
}

TEST(Stuck, NothingOfTheBaselineIsTakenFromARest) {
  TimelineBuilder builder;
  builder.Latency("slow", 30, 40).Answer(0, 12, kWell).Answer(28, 30, Reply{500, OK}).Answer(30, 40, kLate).Answer(40, 60, kWell);
  Enter(builder, PhaseEvent::REST, 12);
  Enter(builder, PhaseEvent::RESTED, 28);
  EXPECT_EQ(Judged(builder).result(), Verdict::PASS) << Judged(builder).reason();
}

}  // namespace
}  // namespace squall
