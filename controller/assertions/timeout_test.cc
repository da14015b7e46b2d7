#include "controller/assertions/timeout.h"

#include "controller/assertions/timeline_builder.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace squall {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::SizeIs;

using Reply = TimelineBuilder::Reply;

// The fastest baseline request takes 10 ms, so that m = 60 ms: answers are due by 420 ms and no timeout
// before 240 ms.
Timeout Deadline300() {
  Timeout spec;
  spec.set_load("checkout");
  spec.mutable_deadline()->set_nanos(300'000'000);
  spec.set_at_least(20);
  return spec;
}

// The fault acts from 12 s to 22 s.
TimelineBuilder Faulty(const std::function<Reply(double)>& during) {
  TimelineBuilder builder;
  builder.Latency("slow", 12, 22).Answer(0, 12, Reply{}).Answer(12, 22, during).Answer(22, 40, Reply{});
  return builder;
}

TimelineBuilder Faulty(Reply during) {
  return Faulty([during](double) { return during; });
}

// All but those at `at` are answered with a fallback at the deadline.
TimelineBuilder FaultyWith(std::vector<double> at, Reply other) {
  return Faulty([at, other](double now) {
    for (double each : at) {
      if (std::abs(each - now) < 0.001) return other;
    }
    return Reply{305, DEGRADED};
  });
}

Verdict Judged(const TimelineBuilder& builder, const Timeout& spec = Deadline300()) {
  return JudgeTimeout(spec, builder.Build()).verdict;
}

TEST(Timeout, PassesWhenAnswersComeAtTheDeadline) {
  const Verdict verdict = Judged(Faulty(Reply{305, DEGRADED}));
  EXPECT_EQ(verdict.result(), Verdict::PASS) << verdict.reason();
  EXPECT_EQ(verdict.samples(), 2000);
  EXPECT_EQ(verdict.measured(), "305.0 ms");
  EXPECT_EQ(verdict.limit(), "at most 420.0 ms");
  EXPECT_EQ(verdict.margin(), "115.0 ms");
  EXPECT_EQ(verdict.reason(),
            "2,000 requests ran into the deadline of 300 ms; the slowest took 305.0 ms (limit 420.0 ms)");
}

TEST(Timeout, PassesWhenTheSlowestIsExactlyOnTheLimit) {
  EXPECT_EQ(Judged(FaultyWith({15}, {420, DEGRADED})).result(), Verdict::PASS);
}

TEST(Timeout, FailsWhenOneAnswerIsJustPastTheLimit) {
  const Verdict verdict = Judged(FaultyWith({15}, {420.001, DEGRADED}));
  EXPECT_EQ(verdict.result(), Verdict::FAIL);
  EXPECT_EQ(verdict.first_broken_ns(), 15'000'000'000);
  EXPECT_THAT(verdict.examples(), ElementsAre("4bf92f3577b34da60000000000000bb8"));
}

TEST(Timeout, FailsWhenTheDeadlineIsIgnored) {
  const Verdict verdict = Judged(Faulty(Reply{510, OK}));
  EXPECT_EQ(verdict.result(), Verdict::FAIL);
  EXPECT_EQ(verdict.measured(), "510.0 ms");
  EXPECT_EQ(verdict.margin(), "-90.0 ms");
  EXPECT_THAT(verdict.examples(), SizeIs(10));
  EXPECT_EQ(verdict.reason(),
            "2,000 of 2,000 requests that ran into the deadline of 300 ms had no answer by 420.0 ms: the "
            "slowest took "
            "510.0 ms");
}

TEST(Timeout, FailsWhenTheClientGivesUpFirst) {
  const Verdict verdict = Judged(Faulty(Reply{2000, TIMED_OUT, 0}));
  EXPECT_EQ(verdict.result(), Verdict::FAIL);
  EXPECT_THAT(verdict.reason(), HasSubstr("no answer after 2.0 s, when the client gave up"));
}

TEST(Timeout, AllowsOneInAThousandToBeSlow) {
  EXPECT_EQ(Judged(FaultyWith({15, 16}, {400, DEGRADED})).result(), Verdict::PASS);
  const Verdict verdict = Judged(FaultyWith({15, 16, 17}, {400, DEGRADED}));
  EXPECT_EQ(verdict.result(), Verdict::FAIL);
  EXPECT_THAT(verdict.reason(), HasSubstr("3 took longer than 360.0 ms"));
  EXPECT_THAT(verdict.examples(), SizeIs(3));
}

TEST(Timeout, DoesNotJudgeP999OfFewerThanAThousand) {
  const auto some = [](int count) {
    return Faulty([count](double at) {
      return at < 12 + count * TimelineBuilder::kEverySeconds - 0.001 ? Reply{400, DEGRADED}
                                                                      : Reply{10, DEGRADED};
    });
  };
  EXPECT_EQ(Judged(some(999)).result(), Verdict::PASS);
  EXPECT_EQ(Judged(some(1000)).result(), Verdict::FAIL);
}

TEST(Timeout, FailsWhenATimeoutIsDeclaredTooSoon) {
  EXPECT_EQ(Judged(FaultyWith({15}, {240, ERROR, 504})).result(), Verdict::PASS);
  const Verdict verdict = Judged(FaultyWith({15}, {239.999, ERROR, 504}));
  EXPECT_EQ(verdict.result(), Verdict::FAIL);
  EXPECT_THAT(verdict.reason(), HasSubstr("1 request timed out (status 504) before the deadline"));
  EXPECT_EQ(Judged(FaultyWith({15}, {100, ERROR, 408})).result(), Verdict::FAIL);
  EXPECT_EQ(Judged(FaultyWith({15}, {100, ERROR, 503})).result(), Verdict::PASS);
}

TEST(Timeout, TakesTheMarginThatTheScenarioAsksFor) {
  Timeout spec = Deadline300();
  spec.mutable_margin()->set_nanos(5'000'000);
  EXPECT_EQ(Judged(Faulty(Reply{305, DEGRADED}), spec).result(), Verdict::PASS);
  EXPECT_EQ(Judged(Faulty(Reply{311, DEGRADED}), spec).result(), Verdict::FAIL);
}

TEST(Timeout, TakesFivePercentOfALongDeadlineAsMargin) {
  Timeout spec = Deadline300();
  spec.mutable_deadline()->set_seconds(1);
  spec.mutable_deadline()->set_nanos(800'000'000);
  // m = 90 ms + 10 ms.
  EXPECT_EQ(Judged(Faulty(Reply{1900, DEGRADED}), spec).result(), Verdict::PASS);
  EXPECT_EQ(Judged(Faulty(Reply{2001, DEGRADED}), spec).result(), Verdict::FAIL);
}

TEST(Timeout, CountsFromTheActualSend) {
  // Three requests were sent 100 ms late; the service took 405 ms from then on, and 325 ms.
  EXPECT_EQ(Judged(FaultyWith({15}, {505, DEGRADED, 200, 100})).result(), Verdict::PASS);
  EXPECT_EQ(Judged(FaultyWith({15}, {530, DEGRADED, 200, 100})).result(), Verdict::FAIL);
}

TEST(Timeout, IsInconclusiveOneSampleShort) {
  const auto some = [](int count) {
    return Faulty([count](double at) {
      return at < 12 + count * TimelineBuilder::kEverySeconds - 0.001 ? Reply{305, DEGRADED}
                                                                      : Reply{10, DEGRADED};
    });
  };
  EXPECT_EQ(Judged(some(20)).result(), Verdict::PASS);
  const Verdict verdict = Judged(some(19));
  EXPECT_EQ(verdict.result(), Verdict::INCONCLUSIVE);
  EXPECT_THAT(verdict.reason(),
              HasSubstr("19 requests ran into the deadline of 300 ms during the fault; 20 are needed"));
  EXPECT_THAT(verdict.advice(), HasSubstr("raise `rate`"));
}

TEST(Timeout, IsInconclusiveWhenNothingRanIntoTheDeadline) {
  const Verdict verdict = Judged(Faulty(Reply{10, DEGRADED}));
  EXPECT_EQ(verdict.result(), Verdict::INCONCLUSIVE);
  EXPECT_THAT(verdict.reason(), HasSubstr("no request ran into the deadline"));
  EXPECT_THAT(verdict.reason(), HasSubstr("The longest of 2,001 requests took 10 ms"));
  EXPECT_THAT(verdict.advice(), HasSubstr("longer than 300 ms"));
}

TEST(Timeout, IsInconclusiveWithoutAnyRequest) {
  TimelineBuilder builder;
  builder.Latency("slow", 12, 22);
  EXPECT_EQ(Judged(builder).result(), Verdict::INCONCLUSIVE);
}

TEST(Timeout, IgnoresWhatTheRunAbandonedAndWhatWasSentOutsideTheFault) {
  EXPECT_EQ(Judged(FaultyWith({15}, {1500, ABANDONED})).result(), Verdict::PASS);
  TimelineBuilder builder = FaultyWith({}, {});
  builder.Add(11.9999, {1500, OK}).Add(22.001, {1500, OK});
  EXPECT_EQ(Judged(builder).result(), Verdict::PASS);
  builder.Add(21.999, {1500, OK});
  EXPECT_EQ(Judged(builder).result(), Verdict::FAIL);
}

TEST(Timeout, LeavesOutWhatAStallExplains) {
  TimelineBuilder builder = FaultyWith({15}, {470, DEGRADED});
  EXPECT_EQ(Judged(builder).result(), Verdict::FAIL);
  builder.StandStill(15.1, 100);
  const Verdict verdict = Judged(builder);
  EXPECT_EQ(verdict.result(), Verdict::PASS) << verdict.reason();
  EXPECT_EQ(verdict.samples(), 1999);
  EXPECT_THAT(verdict.DebugString(), HasSubstr("stood still"));
}

TEST(Timeout, BlamesNoStallForWhatItDoesNotExplain) {
  EXPECT_EQ(Judged(FaultyWith({15}, {800, DEGRADED}).StandStill(15.1, 100)).result(), Verdict::FAIL);
}

TEST(Timeout, IsInconclusiveWhenStallsExplainTooMuch) {
  TimelineBuilder builder = Faulty([](double at) {
    return at >= 15 && at < 17 ? Reply{470, DEGRADED} : Reply{305, DEGRADED};
  });
  for (double at = 15; at < 17.5; at += 0.2) builder.StandStill(at, 60);
  const Verdict verdict = Judged(builder);
  EXPECT_EQ(verdict.result(), Verdict::INCONCLUSIVE);
  EXPECT_THAT(verdict.reason(), HasSubstr("stood still"));
}

TEST(Timeout, IsInconclusiveWhenTheGeneratorWasLate) {
  const Verdict verdict = Judged(Faulty(Reply{312, DEGRADED, 200, 6}));
  EXPECT_EQ(verdict.result(), Verdict::INCONCLUSIVE);
  EXPECT_THAT(verdict.reason(), HasSubstr("100 % of its requests were sent more than 5 ms late"));
}

TEST(Timeout, IsInconclusiveWithoutEvidence) {
  TimelineBuilder builder = Faulty(Reply{305, DEGRADED});
  for (const auto state : {FaultEvent::INJECTED, FaultEvent::HEALING, FaultEvent::HEALED}) {
    *builder.Event("slow", state).mutable_evidence() = Evidence();
  }
  const Verdict verdict = Judged(builder);
  EXPECT_EQ(verdict.result(), Verdict::INCONCLUSIVE);
  EXPECT_THAT(verdict.reason(), HasSubstr("touched no traffic"));
  EXPECT_THAT(verdict.advice(), HasSubstr("raise `rate`"));
}

TEST(Timeout, IsInconclusiveWhenHealingWasNotConfirmed) {
  TimelineBuilder builder = Faulty(Reply{305, DEGRADED});
  builder.Event("slow", FaultEvent::HEALED).set_state(FaultEvent::HEALING_NOT_CONFIRMED);
  const Verdict verdict = Judged(builder);
  EXPECT_EQ(verdict.result(), Verdict::INCONCLUSIVE);
  EXPECT_THAT(verdict.reason(), HasSubstr("healing of fault slow was not confirmed"));
}

TEST(Timeout, CountsAKillUntilTheRestart) {
  TimelineBuilder builder;
  builder.Kill("gone", 12, 16)
      .Answer(0, 12, Reply{})
      .Answer(12, 16, Reply{305, DEGRADED})
      .Answer(16, 30, Reply{});
  EXPECT_EQ(Judged(builder).result(), Verdict::PASS);
  EXPECT_EQ(Judged(builder).samples(), 800);
}

TEST(Timeout, CountsFromTheFirstInjectionToTheLastHealingUnlessAFaultIsNamed) {
  TimelineBuilder builder;
  builder.Latency("one", 12, 14).Latency("two", 16, 18);
  builder.Answer(0, 12, Reply{}).Answer(12, 18, Reply{305, DEGRADED}).Answer(18, 30, Reply{});
  EXPECT_EQ(Judged(builder).samples(), 1200);
  Timeout spec = Deadline300();
  spec.set_fault("two");
  EXPECT_EQ(Judged(builder, spec).samples(), 400);
}

TEST(Timeout, IsFinalOnceTheLastRequestOfTheFaultHasEnded) {
  TimelineBuilder builder;
  builder.Latency("slow", 12, 22).Answer(0, 12, Reply{}).Answer(12, 22, Reply{305, DEGRADED});
  builder.StillRunningAt(22.4);
  EXPECT_FALSE(JudgeTimeout(Deadline300(), builder.Build()).final);
  // A request after the fault has ended, and none before it is missing.
  builder.Answer(22, 22.1, Reply{305, DEGRADED});
  const Judgement judgement = JudgeTimeout(Deadline300(), builder.Build());
  EXPECT_TRUE(judgement.final);
  EXPECT_EQ(judgement.verdict.result(), Verdict::PASS);
}

TEST(Timeout, IsNotFinalWhileARequestOfTheFaultIsMissing) {
  TimelineBuilder builder;
  builder.Latency("slow", 12, 22).Answer(0, 12, Reply{}).Answer(12, 21, Reply{305, DEGRADED});
  builder.Answer(21.005, 23, Reply{305, DEGRADED});
  EXPECT_FALSE(JudgeTimeout(Deadline300(), builder.StillRunningAt(24).Build()).final);
  // By then it would have ended and arrived, whatever became of it.
  EXPECT_TRUE(JudgeTimeout(Deadline300(), builder.StillRunningAt(27).Build()).final);
}

TEST(Timeout, IsNotFinalWhileTheFaultActs) {
  TimelineBuilder builder;
  builder.Latency("slow", 12, 22)
      .Answer(0, 12, Reply{})
      .Answer(12, 20, Reply{305, DEGRADED})
      .StillRunningAt(20.5);
  builder.Event("slow", FaultEvent::HEALED).set_state(FaultEvent::HEALING);
  const Judgement judgement = JudgeTimeout(Deadline300(), builder.Build());
  EXPECT_FALSE(judgement.final);
  EXPECT_EQ(judgement.verdict.result(), Verdict::INCONCLUSIVE);
}

}  // namespace
}  // namespace squall
