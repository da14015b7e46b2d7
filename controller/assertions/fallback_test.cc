#include "controller/assertions/fallback.h"

#include "controller/assertions/timeline_builder.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace squall {
namespace {

using ::testing::HasSubstr;
using ::testing::SizeIs;

using Reply = TimelineBuilder::Reply;

constexpr Reply kFallback{20, DEGRADED};
constexpr Reply kError{20, ERROR, 503};

Fallback NinetyNine() {
  Fallback spec;
  spec.set_load("checkout");
  spec.set_answered(99);
  spec.set_at_least(20);
  return spec;
}

// recommend is gone from 12 s to 22 s: 2,000 requests are due.
TimelineBuilder Gone(const std::function<Reply(double)>& during) {
  TimelineBuilder builder;
  builder.scenario.mutable_load(0)->mutable_ok_when()->set_body("price");
  builder.Kill("gone", 12, 22).Answer(0, 12, Reply{}).Answer(12, 22, during).Answer(22, 30, Reply{});
  return builder;
}
TimelineBuilder Gone(Reply during) {
  return Gone([during](double) { return during; });
}

// The first so many requests of the fault get `other`, the rest a fallback.
TimelineBuilder FirstGet(int count, Reply other, Reply rest = kFallback) {
  return Gone([=](double at) { return at < 12 + count * TimelineBuilder::kEverySeconds - 0.001 ? other : rest; });
}

Verdict Judged(const TimelineBuilder& builder, const Fallback& spec = NinetyNine()) {
  return JudgeFallback(spec, builder.Build()).verdict;
}

TEST(Fallback, PassesWhenEverybodyIsAnsweredByIt) {
  const Verdict verdict = Judged(Gone(kFallback));
  EXPECT_EQ(verdict.result(), Verdict::PASS) << verdict.reason();
  EXPECT_EQ(verdict.samples(), 2000);
  EXPECT_EQ(verdict.measured(), "100 %");
  EXPECT_EQ(verdict.limit(), "at least 99 %");
  EXPECT_EQ(verdict.margin(), "1 %");
  EXPECT_EQ(verdict.reason(),
            "100 % of 2,000 requests were answered while gone acted (99 % needed), 2,000 of them by the fallback");
}

TEST(Fallback, PassesWhenExactlyOneInAHundredIsNotAnswered) { EXPECT_EQ(Judged(FirstGet(20, kError)).result(), Verdict::PASS); }

TEST(Fallback, FailsWhenOneMoreIsNotAnswered) {
  const Verdict verdict = Judged(FirstGet(21, kError));
  EXPECT_EQ(verdict.result(), Verdict::FAIL);
  EXPECT_THAT(verdict.reason(), HasSubstr("(99 % needed): 21 failed"));
  EXPECT_EQ(verdict.first_broken_ns(), 12'000'000'000);
  EXPECT_THAT(verdict.examples(), SizeIs(10));
  EXPECT_EQ(verdict.examples(0), "4bf92f3577b34da60000000000000960");
}

TEST(Fallback, FailsWithoutOne) {
  const Verdict verdict = Judged(Gone(kError));
  EXPECT_EQ(verdict.result(), Verdict::FAIL);
  EXPECT_EQ(verdict.measured(), "0 %");
}

TEST(Fallback, DoesNotTakeARejectionForAnAnswer) {
  const Verdict verdict = Judged(FirstGet(30, {5, REJECTED, 429}));
  EXPECT_EQ(verdict.result(), Verdict::FAIL);
  EXPECT_THAT(verdict.reason(), HasSubstr("30 were rejected"));
}

TEST(Fallback, FailsWhenAnswersComeTooLate) {
  Fallback spec = NinetyNine();
  spec.mutable_within()->set_nanos(300'000'000);
  EXPECT_EQ(Judged(FirstGet(100, {300, DEGRADED}), spec).result(), Verdict::PASS);
  const Verdict verdict = Judged(FirstGet(100, {300.001, DEGRADED}), spec);
  EXPECT_EQ(verdict.result(), Verdict::FAIL);
  EXPECT_THAT(verdict.reason(), HasSubstr("100 were answered later than after 300 ms"));
}

TEST(Fallback, IsInconclusiveWhenItWasNeverNeeded) {
  const Verdict verdict = Judged(Gone(Reply{}));
  EXPECT_EQ(verdict.result(), Verdict::INCONCLUSIVE);
  EXPECT_THAT(verdict.reason(), HasSubstr("never needed"));
  EXPECT_THAT(verdict.advice(), HasSubstr("degraded_when"));
}

TEST(Fallback, NeedsTwentyOfItsAnswers) {
  EXPECT_EQ(Judged(FirstGet(20, kFallback, Reply{})).result(), Verdict::PASS);
  const Verdict verdict = Judged(FirstGet(19, kFallback, Reply{}));
  EXPECT_EQ(verdict.result(), Verdict::INCONCLUSIVE);
  EXPECT_THAT(verdict.reason(), HasSubstr("19 of 2,000 requests got a `degraded` answer; 20 are needed"));
}

TEST(Fallback, IsInconclusiveWhenTheLoadDoesNotSayWhatAnAnswerHolds) {
  TimelineBuilder builder = Gone(kFallback);
  builder.scenario.mutable_load(0)->clear_ok_when();
  const Verdict verdict = Judged(builder);
  EXPECT_EQ(verdict.result(), Verdict::INCONCLUSIVE);
  EXPECT_THAT(verdict.advice(), HasSubstr("`ok_when` with a `body`"));
}

TEST(Fallback, DoesNotJudgeByOneRequestOfAFew) {
  const auto some = [](int count, int failing) {
    TimelineBuilder builder;
    builder.scenario.mutable_load(0)->mutable_ok_when()->set_body("price");
    const double until = 12 + count * TimelineBuilder::kEverySeconds;
    builder.Kill("gone", 12, until).Answer(0, 12, Reply{});
    builder.Answer(12, until,
                   [=](double at) { return at < 12 + failing * TimelineBuilder::kEverySeconds - 0.001 ? kError : kFallback; });
    return builder.Answer(until, 30, Reply{});
  };
  EXPECT_EQ(Judged(some(50, 0)).result(), Verdict::PASS);
  const Verdict one = Judged(some(50, 1));
  EXPECT_EQ(one.result(), Verdict::INCONCLUSIVE);
  EXPECT_THAT(one.reason(), HasSubstr("one alone tells nothing"));
  EXPECT_EQ(one.examples_size(), 0);
  EXPECT_EQ(Judged(some(50, 2)).result(), Verdict::FAIL);
  EXPECT_EQ(Judged(some(20, 0)).result(), Verdict::PASS);
  EXPECT_THAT(Judged(some(19, 0)).reason(), HasSubstr("only 19 requests"));
  Fallback spec = NinetyNine();
  spec.set_answered(100);
  EXPECT_EQ(Judged(some(50, 1), spec).result(), Verdict::FAIL);
}

TEST(Fallback, ExcusesWhatAStallExplains) {
  Fallback spec = NinetyNine();
  spec.mutable_within()->set_nanos(300'000'000);
  const auto late = [](double ms) {
    return Gone([=](double at) { return at > 15 && at < 15.2 ? Reply{ms, DEGRADED} : kFallback; });
  };
  EXPECT_EQ(Judged(late(400), spec).result(), Verdict::FAIL);
  EXPECT_EQ(Judged(late(400).StandStill(15.2, 100), spec).result(), Verdict::PASS);
  EXPECT_EQ(Judged(late(500).StandStill(15.2, 100), spec).result(), Verdict::FAIL);
  const Verdict verdict = Judged(FirstGet(25, kError).StandStill(12.0, 100));
  EXPECT_EQ(verdict.result(), Verdict::PASS) << verdict.reason();
  EXPECT_EQ(verdict.samples(), 1975);
}

TEST(Fallback, IsInconclusiveWhenStallsExplainTooMuch) {
  TimelineBuilder builder = FirstGet(400, kError);
  for (double at = 12; at < 14; at += 0.1) builder.StandStill(at, 60);
  const Verdict verdict = Judged(builder);
  EXPECT_EQ(verdict.result(), Verdict::INCONCLUSIVE);
  EXPECT_THAT(verdict.reason(), HasSubstr("stood still"));
}

TEST(Fallback, LeavesOutThoseWhoHungUp) { EXPECT_EQ(Judged(FirstGet(1000, {50, ABANDONED, 0})).samples(), 1000); }

TEST(Fallback, IsFinalOnceTheLastRequestOfTheFaultHasEnded) {
  TimelineBuilder builder;
  builder.scenario.mutable_load(0)->mutable_ok_when()->set_body("price");
  builder.Kill("gone", 12, 22).Answer(0, 12, Reply{}).Answer(12, 22, kFallback).StillRunningAt(22.4);
  EXPECT_FALSE(JudgeFallback(NinetyNine(), builder.Build()).final);
  builder.Answer(22, 25, Reply{}).StillRunningAt(25);
  const Judgement judgement = JudgeFallback(NinetyNine(), builder.Build());
  EXPECT_TRUE(judgement.final);
  EXPECT_EQ(judgement.verdict.result(), Verdict::PASS);
}

TEST(Fallback, IsInconclusiveWithoutEvidenceOrData) {
  TimelineBuilder cut_short = Gone(kFallback).End(Footer::INTERRUPTED);
  cut_short.Event("gone", FaultEvent::HEALED).set_state(FaultEvent::HEALING);
  EXPECT_EQ(Judged(cut_short).result(), Verdict::INCONCLUSIVE);
  EXPECT_EQ(Judged(TimelineBuilder()).result(), Verdict::INCONCLUSIVE);
  Fallback spec = NinetyNine();
  spec.set_load("other");
  EXPECT_THAT(Judged(Gone(kFallback), spec).reason(), HasSubstr("no load other"));
}

}  // namespace
}  // namespace squall
