#include "controller/assertions/judge.h"

#include "absl/strings/str_cat.h"
#include "controller/assertions/timeline_builder.h"
#include "gmock/gmock.h"
#include "google/protobuf/descriptor.h"
#include "gtest/gtest.h"

namespace squall {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

using Reply = TimelineBuilder::Reply;

constexpr Reply kWell{10, OK};

// Asserts a timeout of 300 ms and a recovery within 10 s.
TimelineBuilder Asserting() {
  TimelineBuilder builder;
  Assertion* timeout = builder.scenario.add_assertions();
  timeout->set_name("quick");
  timeout->mutable_timeout()->set_load("checkout");
  timeout->mutable_timeout()->mutable_deadline()->set_nanos(300'000'000);
  timeout->mutable_timeout()->set_at_least(20);
  Assertion* recovery = builder.scenario.add_assertions();
  recovery->set_name("back");
  Recovery& spec = *recovery->mutable_recovery();
  spec.set_load("checkout");
  spec.mutable_within()->set_seconds(10);
  spec.set_latency_factor(1.2);
  spec.mutable_latency_slack()->set_nanos(5'000'000);
  spec.set_errors_slack(0.5);
  spec.set_goodput(95);
  spec.set_windows(10);
  builder.Latency("slow", 12, 22).Answer(0, 12, kWell);
  return builder;
}

std::vector<Verdict::Result> Results(const TimelineBuilder& builder) {
  std::vector<Verdict::Result> results;
  for (const Judgement& judgement : JudgeAll(builder.Build())) results.push_back(judgement.verdict.result());
  return results;
}

TEST(Judge, PassesACorrectService) {
  TimelineBuilder builder = Asserting();
  builder.Answer(12, 22, Reply{305, DEGRADED}).Answer(22, 50, kWell);
  EXPECT_THAT(Results(builder), ElementsAre(Verdict::PASS, Verdict::PASS));
}

// Others had the cores of `orders` from `from` to `to`, in seconds.
void Starve(TimelineBuilder& builder, double from, double to, double waited = 1) {
  for (double at = from; at < to - 0.1; at += 0.2) builder.Starve("orders", at, 0.2, "", waited);
}
// The same, slightly.
void StarveALittle(TimelineBuilder& builder, double from, double to) { Starve(builder, from, to, 0.03); }

// The machine stood still for so many milliseconds, again and again over the whole run.
void StandStillEvery(TimelineBuilder& builder, double seconds, double ms) {
  for (double at = 0; at < 50; at += seconds) builder.StandStill(at, ms);
}

TEST(Judge, WhatIsLateOnlyWhileOthersHadTheCoresIsNotFailed) {
  TimelineBuilder builder = Asserting();
  builder.Answer(12, 15, Reply{305, DEGRADED}).Answer(15, 15.2, Reply{600, DEGRADED}).Answer(15.2, 22, Reply{305, DEGRADED}).Answer(22, 50, kWell);
  EXPECT_THAT(Results(builder), ElementsAre(Verdict::FAIL, Verdict::PASS));
  Starve(builder, 15, 16);
  EXPECT_THAT(Results(builder), ElementsAre(Verdict::PASS, Verdict::PASS));
  const Verdict quick = JudgeAll(builder.Build())[0].verdict;
  EXPECT_THAT(quick.DebugString(), HasSubstr("left out because others had the cores"));
  EXPECT_THAT(quick.DebugString(), HasSubstr("with them"));
}

TEST(Judge, BrokenServiceFailsThoughOthersHadTheCoresNowAndThen) {
  TimelineBuilder builder = Asserting();
  builder.Answer(12, 22, Reply{512, OK}).Answer(22, 50, kWell);
  Starve(builder, 15, 15.4);
  EXPECT_THAT(Results(builder), ElementsAre(Verdict::FAIL, Verdict::PASS));
}

TEST(Judge, BrokenServiceFailsThoughOthersHadTheCoresForAThirdOfTheTime) {
  TimelineBuilder builder = Asserting();
  builder.Answer(12, 22, Reply{512, OK}).Answer(22, 50, kWell);
  for (double at = 0; at < 50; at += 3) Starve(builder, at, at + 0.8);
  EXPECT_THAT(Results(builder), ElementsAre(Verdict::FAIL, Verdict::PASS));
}

TEST(Judge, WhereOthersHadTheCoresForLongNothingFailsAndTheReasonSaysWhy) {
  TimelineBuilder builder = Asserting();
  builder.Answer(12, 22, Reply{305, DEGRADED}).Answer(22, 50, Reply{60});
  Starve(builder, 22, 50);
  EXPECT_THAT(Results(builder), ElementsAre(Verdict::PASS, Verdict::INCONCLUSIVE));
  const Verdict back = JudgeAll(builder.Build())[1].verdict;
  EXPECT_THAT(back.reason(), HasSubstr("without the moments at which others had the cores: "));
  EXPECT_THAT(back.reason(), HasSubstr("still out of band"));
  EXPECT_THAT(back.advice(), HasSubstr("less else to do"));
}

TEST(Judge, WhatIsALittleLateMayBeSoForAShortWait) {
  TimelineBuilder builder = Asserting();
  builder.Answer(12, 22, Reply{305, DEGRADED});
  for (int second = 22; second < 50; ++second) builder.Answer(second, second + 0.2, Reply{60}).Answer(second + 0.2, second + 1, kWell);
  EXPECT_THAT(Results(builder), ElementsAre(Verdict::PASS, Verdict::FAIL));
  for (int second = 22; second < 50; ++second) StarveALittle(builder, second, second + 0.2);
  EXPECT_THAT(Results(builder), ElementsAre(Verdict::PASS, Verdict::INCONCLUSIVE));
}

TEST(Judge, WhatIsLateByMoreThanAShortWaitFailsAllTheSame) {
  TimelineBuilder builder = Asserting();
  builder.Answer(12, 22, Reply{512, OK}).Answer(22, 50, Reply{160});
  StarveALittle(builder, 12, 50);
  EXPECT_THAT(Results(builder), ElementsAre(Verdict::FAIL, Verdict::FAIL));
}

TEST(Judge, WhatIsMissingIsNotSoForAShortWait) {
  TimelineBuilder builder = Asserting();
  builder.Answer(12, 22, Reply{305, DEGRADED}).Answer(22, 50, Reply{10, DEGRADED});
  StarveALittle(builder, 12, 50);
  EXPECT_THAT(Results(builder), ElementsAre(Verdict::PASS, Verdict::FAIL));
}

TEST(Judge, BrokenServiceFailsThoughOthersHadTheCoresInEveryBaselineWindow) {
  TimelineBuilder builder = Asserting();
  builder.Answer(12, 22, Reply{512, OK}).Answer(22, 50, kWell);
  for (double at = 0; at < 12; at += 1) Starve(builder, at, at + 0.4);
  Starve(builder, 15, 15.4);
  EXPECT_THAT(Results(builder), ElementsAre(Verdict::FAIL, Verdict::PASS));
}

TEST(Judge, BrokenServiceFailsThoughTheMachineStoodStillNowAndThen) {
  TimelineBuilder builder = Asserting();
  builder.Answer(12, 22, Reply{512, OK}).Answer(22, 50, Reply{60});
  StandStillEvery(builder, 1.3, 50);
  EXPECT_THAT(Results(builder), ElementsAre(Verdict::FAIL, Verdict::FAIL));
}

TEST(Judge, CorrectServicePassesThoughTheMachineStoodStillNowAndThen) {
  TimelineBuilder builder = Asserting();
  builder.Answer(12, 22, Reply{305, DEGRADED}).Answer(22, 50, kWell);
  StandStillEvery(builder, 0.9, 40);
  EXPECT_THAT(Results(builder), ElementsAre(Verdict::PASS, Verdict::PASS));
}

TEST(Judge, WhereTheMachineStoodStillMostOfTheTimeNothingIsJudged) {
  TimelineBuilder builder = Asserting();
  builder.Answer(12, 22, Reply{512, OK}).Answer(22, 50, Reply{60});
  StandStillEvery(builder, 1, 600);
  EXPECT_THAT(Results(builder), ElementsAre(Verdict::INCONCLUSIVE, Verdict::INCONCLUSIVE));
}

TEST(Judge, WhatHoldsOnABusyMachineHolds) {
  TimelineBuilder builder = Asserting();
  builder.Answer(12, 22, Reply{305, DEGRADED}).Answer(22, 50, kWell);
  Starve(builder, 0, 50);
  EXPECT_THAT(Results(builder), ElementsAre(Verdict::PASS, Verdict::PASS));
}

TEST(Judge, FailsAServiceThatIgnoresItsDeadlineForThatAlone) {
  TimelineBuilder builder = Asserting();
  builder.Answer(12, 22, Reply{512, OK}).Answer(22, 50, kWell);
  EXPECT_THAT(Results(builder), ElementsAre(Verdict::FAIL, Verdict::PASS));
}

TEST(Judge, FailsAServiceThatNeverReconnectsForThatAlone) {
  TimelineBuilder builder = Asserting();
  builder.Answer(12, 22, Reply{305, DEGRADED}).Answer(22, 50, Reply{2, DEGRADED});
  EXPECT_THAT(Results(builder), ElementsAre(Verdict::PASS, Verdict::FAIL));
}

TEST(Judge, FailsAQueueThatNeverDrainsForThatAlone) {
  TimelineBuilder builder = Asserting();
  builder.Answer(12, 22, Reply{305, DEGRADED}).Answer(22, 50, Reply{280, OK});
  EXPECT_THAT(Results(builder), ElementsAre(Verdict::PASS, Verdict::FAIL));
}

TEST(Judge, NamesTheAssertionAndItsKind) {
  const std::vector<Judgement> all = JudgeAll(Asserting().Build());
  ASSERT_EQ(all.size(), 2u);
  EXPECT_EQ(all[0].verdict.assertion(), "quick");
  EXPECT_EQ(all[0].verdict.kind(), "timeout");
  EXPECT_EQ(all[1].verdict.assertion(), "back");
  EXPECT_EQ(all[1].verdict.kind(), "recovery");
}

TEST(Judge, KnowsEveryKindOfAssertion) {
  const auto* oneof = Assertion::descriptor()->FindOneofByName("kind");
  ASSERT_NE(oneof, nullptr);
  for (int i = 0; i < oneof->field_count(); ++i) {
    Assertion assertion;
    assertion.GetReflection()->MutableMessage(&assertion, oneof->field(i));
    const Verdict verdict = Judge(assertion, TimelineBuilder().Build()).verdict;
    EXPECT_EQ(verdict.kind(), oneof->field(i)->name());
    EXPECT_EQ(verdict.result(), Verdict::INCONCLUSIVE);
    EXPECT_THAT(verdict.reason(), Not(HasSubstr("no known kind")));
  }
}

TEST(Judge, IsInconclusiveAfterAnEarlyEndUnlessTheVerdictWasFinal) {
  for (const auto& [ending, words] : {std::pair(Footer::GUARDRAIL, "a guardrail ended the run"),
                                      std::pair(Footer::INTERRUPTED, "the run was interrupted"),
                                      std::pair(Footer::HARNESS_FAILED, "squall itself failed")}) {
    TimelineBuilder builder = Asserting();
    builder.Answer(12, 22, Reply{305, DEGRADED}).Answer(22, 27, kWell).End(ending, "so it was");
    const std::vector<Judgement> all = JudgeAll(builder.Build());
    // All that could run into the deadline had ended.
    EXPECT_EQ(all[0].verdict.result(), Verdict::PASS);
    EXPECT_EQ(all[1].verdict.result(), Verdict::INCONCLUSIVE);
    EXPECT_EQ(all[1].verdict.reason(), absl::StrCat(words, " before this could be judged"));
    EXPECT_TRUE(all[1].final);
  }
}

TEST(Judge, IsFinalOnceTheRunHasEnded) {
  for (const Judgement& judgement : JudgeAll(Asserting().Build())) EXPECT_TRUE(judgement.final);
  for (const Judgement& judgement : JudgeAll(Asserting().StillRunningAt(23).Build()))
    EXPECT_FALSE(judgement.final);
}

TEST(Judge, GivesTheSameVerdictAgain) {
  TimelineBuilder builder = Asserting();
  builder.Answer(12, 22, Reply{512, OK}).Answer(22, 50, kWell);
  const Timeline timeline = builder.Build();
  for (size_t i = 0; i < 2; ++i) {
    EXPECT_EQ(JudgeAll(timeline)[i].verdict.SerializeAsString(),
              JudgeAll(timeline)[i].verdict.SerializeAsString());
  }
}

TEST(SteadyViolation, IsEmptyWhenEveryLoadIsSteady) {
  EXPECT_THAT(SteadyViolation(TimelineBuilder().Answer(0, 12, kWell).StillRunningAt(12).Build()), IsEmpty());
  TimelineBuilder builder = TimelineBuilder().Answer(0, 12, kWell).StillRunningAt(12);
  builder.scenario.add_load()->set_name("idle");
  EXPECT_THAT(SteadyViolation(builder.Build()), HasSubstr("no request of load idle"));
}

TEST(TrippedGuardrail, IsTheFirstThatTrips) {
  TimelineBuilder builder = TimelineBuilder().Answer(0, 12, Reply{1, ERROR, 500}).StillRunningAt(12);
  EXPECT_THAT(TrippedGuardrail(builder.Build()), IsEmpty());
  for (const int above : {100, 50, 20}) {
    ErrorRate* limit = builder.scenario.add_guardrails()->mutable_error_rate();
    limit->set_load("checkout");
    limit->set_above(above);
    limit->mutable_for_()->set_seconds(2);
  }
  EXPECT_THAT(TrippedGuardrail(builder.Build()), HasSubstr("more than 50 %"));
}

}  // namespace
}  // namespace squall
