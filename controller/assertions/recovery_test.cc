#include "controller/assertions/recovery.h"

#include "controller/assertions/timeline_builder.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace squall {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

using Reply = TimelineBuilder::Reply;

constexpr Reply kWell{10, OK};
constexpr Reply kFallback{10, DEGRADED};

Recovery Within10s() {
  Recovery spec;
  spec.set_load("checkout");
  spec.mutable_within()->set_seconds(10);
  spec.set_latency_factor(1.2);
  spec.mutable_latency_slack()->set_nanos(5'000'000);
  spec.set_errors_slack(0.5);
  spec.set_goodput(95);
  spec.set_windows(10);
  return spec;
}

// A fault from 12 s to 22 s; then so it goes on until 50 s.
TimelineBuilder Healed(const std::function<Reply(double)>& after) {
  TimelineBuilder builder;
  builder.Latency("slow", 12, 22).Answer(0, 12, kWell).Answer(12, 22, kFallback).Answer(22, 50, after);
  return builder;
}

// Bad from healing for this long, then well.
TimelineBuilder BadFor(double seconds, Reply bad = kFallback) {
  return Healed([=](double at) { return at < 22 + seconds - 0.001 ? bad : kWell; });
}

// Well, but for these whole seconds after healing.
TimelineBuilder BadIn(std::vector<int> seconds, Reply bad = kFallback) {
  return Healed([=](double at) {
    const int second = static_cast<int>(at - 22 + 0.001);
    return std::find(seconds.begin(), seconds.end(), second) != seconds.end() ? bad : kWell;
  });
}

Verdict Judged(const TimelineBuilder& builder, const Recovery& spec = Within10s()) {
  return JudgeRecovery(spec, builder.Build()).verdict;
}

TEST(Recovery, PassesWhenTheServiceIsWellAtOnce) {
  const Verdict verdict = Judged(BadFor(0));
  EXPECT_EQ(verdict.result(), Verdict::PASS) << verdict.reason();
  EXPECT_EQ(verdict.reason(), "in band from the first window after healing (limit 10 s)");
}

TEST(Recovery, PassesInsideTheBudget) {
  const Verdict verdict = Judged(BadFor(1));
  EXPECT_EQ(verdict.result(), Verdict::PASS);
  EXPECT_EQ(verdict.reason(), "back in band 1.0 s after healing (limit 10 s)");
  EXPECT_EQ(verdict.measured(), "1.0 s");
  EXPECT_EQ(verdict.limit(), "at most 10.0 s after healing");
  EXPECT_EQ(verdict.margin(), "9.0 s");
}

TEST(Recovery, PassesExactlyOnTheBudget) { EXPECT_EQ(Judged(BadFor(10)).result(), Verdict::PASS); }

TEST(Recovery, FailsOneWindowPastTheBudget) {
  const Verdict verdict = Judged(BadFor(11));
  EXPECT_EQ(verdict.result(), Verdict::FAIL);
  EXPECT_EQ(verdict.reason(),
            "back in band 11.0 s after healing (limit 10 s); when the budget ended: goodput 0 % of baseline "
            "(95 % needed)");
  EXPECT_EQ(verdict.margin(), "-1.0 s");
  EXPECT_EQ(verdict.first_broken_ns(), 32'000'000'000);
  EXPECT_EQ(verdict.examples_size(), 10);
}

TEST(Recovery, AddsWhatTheClocksOfTwoHostsMayBeOff) {
  Timeline timeline = BadFor(10.1).Build();
  EXPECT_EQ(JudgeRecovery(Within10s(), timeline).verdict.result(), Verdict::FAIL);
  timeline.header.set_clock_uncertainty_ns(60'000'000);
  (*timeline.header.mutable_agent_clock_uncertainty_ns())["shop-1"] = 60'000'000;
  EXPECT_EQ(JudgeRecovery(Within10s(), timeline).verdict.result(), Verdict::FAIL) << "one host has one clock";
  (*timeline.header.mutable_agent_clock_uncertainty_ns())["shop-2"] = 1'000;
  EXPECT_EQ(JudgeRecovery(Within10s(), timeline).verdict.result(), Verdict::PASS);
}

TEST(Recovery, FailsWhenItNeverReconnects) {
  const Verdict verdict = Judged(BadFor(100));
  EXPECT_EQ(verdict.result(), Verdict::FAIL);
  EXPECT_EQ(verdict.reason(), "still out of band 10 s after healing: goodput 0 % of baseline (95 % needed)");
  EXPECT_EQ(verdict.measured(), "not within 28 s");
}

TEST(Recovery, FailsWhenAQueueNeverDrains) {
  const Verdict verdict = Judged(BadFor(100, Reply{900, OK}));
  EXPECT_EQ(verdict.result(), Verdict::FAIL);
  EXPECT_EQ(verdict.reason(), "still out of band 10 s after healing: p95 900 ms (at most 15 ms); with 90.0 times the requests in flight it may be "
            "held down by its own load: `confirm_metastable: true` tells");
}

TEST(Recovery, FailsOnErrors) {
  const Verdict verdict = Judged(BadFor(100, Reply{0.5, REFUSED, 0}));
  EXPECT_EQ(verdict.result(), Verdict::FAIL);
}

TEST(Recovery, NamesTheWorstSeries) {
  // 4 % errors leave 96 % of goodput: only the errors are out of band.
  const Verdict verdict = Judged(Healed([](double at) {
    return static_cast<int>(at * 200 + 0.5) % 25 == 0 ? Reply{10, ERROR, 500} : kWell;
  }));
  EXPECT_EQ(verdict.result(), Verdict::FAIL);
  EXPECT_THAT(verdict.reason(), HasSubstr("4 % errors (at most 1 %)"));
}

TEST(Recovery, HoldsLatencyAgainstTheWiderOfFactorAndSlack) {
  EXPECT_EQ(Judged(BadFor(100, Reply{15, OK})).result(), Verdict::PASS);
  EXPECT_EQ(Judged(BadFor(100, Reply{15.001, OK})).result(), Verdict::FAIL);
  Recovery spec = Within10s();
  spec.set_latency_factor(2);
  EXPECT_EQ(Judged(BadFor(100, Reply{20, OK}), spec).result(), Verdict::PASS);
  EXPECT_EQ(Judged(BadFor(100, Reply{20.001, OK}), spec).result(), Verdict::FAIL);
}

TEST(Recovery, CountsLatencyFromTheIntendedStart) {
  // One in ten was sent 4 ms late and answered in 14 ms: out of band for who waited since it was due.
  const auto late = [](double lag_ms) {
    return Judged(Healed([=](double at) {
      return static_cast<int>(at * 200 + 0.5) % 10 == 0 ? Reply{14 + lag_ms, OK, 200, lag_ms} : kWell;
    }));
  };
  EXPECT_EQ(late(0).result(), Verdict::PASS);
  EXPECT_EQ(late(4).result(), Verdict::FAIL);
}

TEST(Recovery, LeavesOutWhatWasSentLate) {
  const auto late = [](int every) {
    return Judged(Healed([=](double at) {
      return static_cast<int>(at * 200 + 0.5) % every == 0 ? Reply{30, OK, 200, 10} : kWell;
    }));
  };
  EXPECT_EQ(late(10).result(), Verdict::PASS);
  EXPECT_EQ(late(5).result(), Verdict::INCONCLUSIVE);
  EXPECT_THAT(late(5).reason(), HasSubstr("could not keep its promise"));
}

TEST(Recovery, AllowsOneWindowOutOfBandInARun) {
  EXPECT_EQ(Judged(BadIn({4})).measured(), "0.0 ms");
  // With two, the run begins after the first of them, which is where the second is alone.
  EXPECT_EQ(Judged(BadIn({4, 8})).measured(), "5.0 s");
  EXPECT_EQ(Judged(BadIn({4, 8})).result(), Verdict::PASS);
}

TEST(Recovery, AllowsOneRelapseThatRecoversWithinTheBudget) {
  Recovery spec = Within10s();
  spec.set_windows(3);
  const Verdict verdict = Judged(BadIn({4, 5, 6}), spec);
  EXPECT_EQ(verdict.result(), Verdict::PASS);
  EXPECT_EQ(verdict.reason(),
            "back in band 7.0 s after healing (limit 10 s), after one relapse 4.0 s after healing");
}

TEST(Recovery, FailsWhenARelapseEndsAfterTheBudget) {
  EXPECT_EQ(Judged(BadIn({12, 13, 14})).result(), Verdict::FAIL);
  // Two bad windows in a row are no relapse.
  EXPECT_EQ(Judged(BadIn({12, 13})).result(), Verdict::PASS);
  // Nor are three that are out of band, but not far.
  EXPECT_EQ(Judged(BadIn({12, 13, 14}, Reply{20, OK})).result(), Verdict::PASS);
  EXPECT_EQ(Judged(BadIn({12, 13, 14}, Reply{23, OK})).result(), Verdict::FAIL);
}

TEST(Recovery, FailsWhenARelapseDoesNotEnd) {
  const Verdict verdict = Judged(Healed([](double at) { return at >= 36 ? kFallback : kWell; }));
  EXPECT_EQ(verdict.result(), Verdict::FAIL);
  EXPECT_THAT(verdict.reason(), HasSubstr("out of it again for good: the last time 14.0 s after healing"));
}

TEST(Recovery, FailsOnASecondRelapse) {
  Recovery spec = Within10s();
  spec.set_windows(2);
  const Verdict verdict = Judged(BadIn({2, 3, 4, 7, 8, 9}), spec);
  EXPECT_EQ(verdict.result(), Verdict::FAIL);
  EXPECT_THAT(verdict.reason(), HasSubstr("out of it again more than once"));
}

TEST(Recovery, LeavesOutWindowsInWhichTheMachineStoodStill) {
  // Two of the first ten windows are out of band; in one of them the machine stood still.
  TimelineBuilder builder = BadIn({2, 6});
  EXPECT_EQ(Judged(builder).measured(), "3.0 s");
  builder.StandStill(24.2, 600);
  EXPECT_EQ(Judged(builder).measured(), "0.0 ms");
}

TEST(Recovery, IsInconclusiveWhenTooManyWindowsStoodStill) {
  TimelineBuilder builder = BadFor(0);
  for (int second = 23; second < 26; ++second) builder.StandStill(second + 0.2, 600);
  const Verdict verdict = Judged(builder);
  EXPECT_EQ(verdict.result(), Verdict::INCONCLUSIVE);
  EXPECT_THAT(verdict.reason(), HasSubstr("stood still"));
}

TEST(Recovery, IsInconclusiveWhenTheBaselineStoodStill) {
  TimelineBuilder builder = BadFor(0).StandStill(3.2, 600);
  EXPECT_EQ(Judged(builder).result(), Verdict::PASS);
  EXPECT_EQ(Judged(builder.StandStill(5.2, 600)).result(), Verdict::INCONCLUSIVE);
}

TEST(Recovery, IsInBandThoughTheMachineStoodStillForAPartOfEachWindow) {
  TimelineBuilder builder = BadFor(0);
  for (int second = 0; second < 40; ++second) builder.StandStill(second + 0.5, 50);
  EXPECT_EQ(Judged(builder).result(), Verdict::PASS);
}

TEST(Recovery, BlamesAStallForNothingThatIsBrokenWithoutIt) {
  TimelineBuilder builder = BadFor(30);
  for (int second = 0; second < 60; ++second) builder.StandStill(second + 0.5, 50);
  const Verdict verdict = Judged(builder);
  EXPECT_EQ(verdict.result(), Verdict::FAIL) << verdict.reason();
}

TEST(Recovery, LeavesTheWarmUpOutOfTheBaseline) {
  TimelineBuilder builder;
  builder.Latency("slow", 11, 21).Answer(0, 1, Reply{800, OK}).Answer(1, 11, kWell).Answer(11, 21, kFallback);
  builder.Answer(21, 45, kWell);
  EXPECT_THAT(Judged(builder).DebugString(), HasSubstr("baseline 10 ms"));
  EXPECT_EQ(Judged(builder).result(), Verdict::PASS);
}

TEST(Recovery, IsInconclusiveWithNineBaselineWindows) {
  TimelineBuilder builder;
  builder.Latency("slow", 10.7, 21).Answer(0, 10.7, kWell).Answer(10.7, 21, kFallback).Answer(21, 45, kWell);
  const Verdict verdict = Judged(builder);
  EXPECT_EQ(verdict.result(), Verdict::INCONCLUSIVE);
  EXPECT_THAT(verdict.reason(), HasSubstr("has 9 windows of 1 s; 10 are needed"));
}

TEST(Recovery, IsInconclusiveWhenTheLoadEndsBeforeARunCanBeSeen) {
  // Out of band for 5 s; then 9 windows, where 10 are needed.
  TimelineBuilder builder;
  builder.Latency("slow", 12, 22).Answer(0, 12, kWell).Answer(12, 27, kFallback).Answer(27, 36, kWell);
  const Verdict verdict = Judged(builder);
  EXPECT_EQ(verdict.result(), Verdict::INCONCLUSIVE);
  EXPECT_THAT(verdict.reason(), HasSubstr("the load ended too soon"));
  EXPECT_EQ(Judged(builder.Answer(36, 37, kWell)).result(), Verdict::PASS);
}

TEST(Recovery, NeedsRequestsInEveryWindowOfARun) {
  TimelineBuilder builder;
  builder.Latency("slow", 12, 22).Answer(0, 12, kWell).Answer(12, 22, kFallback);
  builder.Answer(22, 26, kWell).Answer(27, 50, kWell);
  EXPECT_EQ(Judged(builder).measured(), "5.0 s");
}

TEST(Recovery, CountsFromTheInjectionOfAKill) {
  TimelineBuilder builder;
  builder.Kill("gone", 12, 16).Answer(0, 12, kWell).Answer(12, 17, kFallback).Answer(17, 45, kWell);
  EXPECT_EQ(Judged(builder).reason(), "back in band 5.0 s after the injection (limit 10 s)");
  Recovery spec = Within10s();
  spec.set_since(Recovery::SINCE_HEAL);
  EXPECT_EQ(Judged(builder, spec).reason(), "back in band 1.0 s after healing (limit 10 s)");
}

TEST(Recovery, CountsFromTheInjectionWhereAsked) {
  Recovery spec = Within10s();
  spec.set_since(Recovery::SINCE_INJECT);
  EXPECT_EQ(Judged(BadFor(0), spec).reason(), "back in band 10.0 s after the injection (limit 10 s)");
}

// Clients hang up from 12 s to 22 s, on each of `on` requests but one, and that one gets `other`; later all get `later`.
TimelineBuilder HungUp(int on, Reply other, Reply later = kWell) {
  TimelineBuilder builder;
  builder.Abandon("left", 12, 22, 100).Answer(0, 12, kWell).Answer(22, 50, later);
  return builder.Answer(12, 22, [=](double at) {
    return static_cast<int>(at / TimelineBuilder::kEverySeconds + 0.5) % on == 0 ? other : Reply{50, ABANDONED, 0};
  });
}

TEST(RecoveryWhileClientsHangUp, IsJudgedByThoseWhoStay) {
  Recovery spec = Within10s();
  spec.set_since(Recovery::SINCE_INJECT);
  EXPECT_EQ(Judged(HungUp(2, kWell), spec).reason(), "in band from the first window after the injection (limit 10 s)");
  spec.mutable_within()->set_seconds(5);
  const Verdict verdict = Judged(HungUp(2, kFallback), spec);
  EXPECT_EQ(verdict.result(), Verdict::FAIL);
  EXPECT_THAT(verdict.reason(), HasSubstr("goodput 0 % of baseline"));
}

TEST(RecoveryWhileClientsHangUp, CountsThemNeitherForNorAgainstTheService) {
  // Ten requests a window stay, or none: too few, whatever became of them.
  for (const TimelineBuilder& builder : {HungUp(20, kWell), HungUp(20, kFallback), HungUp(5000, kWell)}) {
    Recovery spec = Within10s();
    EXPECT_EQ(Judged(builder, spec).reason(), "in band from the first window after healing (limit 10 s)");
    spec.set_since(Recovery::SINCE_INJECT);
    EXPECT_EQ(Judged(builder, spec).reason(), "back in band 10.0 s after the injection (limit 10 s)");
    spec.mutable_within()->set_seconds(5);
    const Verdict verdict = Judged(builder, spec);
    EXPECT_EQ(verdict.result(), Verdict::INCONCLUSIVE);
    EXPECT_THAT(verdict.reason(), HasSubstr("fault left had so many clients hang up in 10 of 20 windows that fewer than 20"));
    EXPECT_THAT(verdict.advice(), HasSubstr("`share`"));
    EXPECT_THAT(verdict.examples(), IsEmpty());
  }
}

TEST(RecoveryWhileClientsHangUp, TellsOfAServiceThatDoesNotComeBackAfterwards) {
  const Verdict verdict = Judged(HungUp(5000, kWell, Reply{2000, TIMED_OUT, 0}));
  EXPECT_EQ(verdict.result(), Verdict::FAIL);
  EXPECT_THAT(verdict.reason(), HasSubstr("still out of band 10 s after healing"));
}

TEST(RecoveryWhileClientsHangUp, BlamesAServiceOfWhichTheRunItselfAbandonedAll) {
  TimelineBuilder builder;
  builder.Latency("slow", 12, 22).Answer(0, 12, kWell).Answer(12, 22, kFallback).Answer(22, 50, Reply{1000, ABANDONED, 0});
  EXPECT_EQ(Judged(builder).result(), Verdict::FAIL);
}

// Three times the load from 12 s to 22 s, of which two thirds end so; then so it goes on until 50 s.
TimelineBuilder Surged(Reply extra, Reply later) {
  TimelineBuilder builder;
  builder.Surge("sale", 12, 22, 3).Answer(0, 12, kWell).Answer(12, 22, kWell).Answer(22, 50, later);
  for (int i = 0; i < 4000; ++i) builder.Add(12.0001 + i * 0.0025, extra);
  return builder;
}

TEST(RecoveryFromASurge, DoesNotCountWhatTheSurgeItselfCost) {
  // Rejected, and answered or given up long after it was over.
  for (const Reply extra : {Reply{10, REJECTED, 429}, Reply{2000, TIMED_OUT, 0}, Reply{1900, ERROR, 503}}) {
    const Verdict verdict = Judged(Surged(extra, kWell));
    EXPECT_EQ(verdict.result(), Verdict::PASS);
    EXPECT_EQ(verdict.reason(), "in band from the first window after healing (limit 10 s)");
  }
}

TEST(RecoveryFromASurge, FailsWhenTheServiceStaysOverloadedWithItsUsualLoad) {
  const Verdict verdict = Judged(Surged(Reply{2000, TIMED_OUT, 0}, Reply{1500, OK}));
  EXPECT_EQ(verdict.result(), Verdict::FAIL);
  EXPECT_THAT(verdict.reason(), HasSubstr("still out of band 10 s after healing: p95 1.5 s (at most 15 ms)"));
}

TEST(RecoveryFromASurge, CountsFromTheInjectionAsSharesOfWhatWasSent) {
  Recovery spec = Within10s();
  spec.set_since(Recovery::SINCE_INJECT);
  EXPECT_EQ(Judged(Surged(kWell, kWell), spec).reason(), "in band from the first window after the injection (limit 10 s)");
  spec.mutable_within()->set_seconds(5);
  EXPECT_EQ(Judged(Surged(Reply{10, REJECTED, 429}, kWell), spec).result(), Verdict::FAIL);
}

TEST(Recovery, EndsAtTheNextFault) {
  TimelineBuilder builder;
  builder.Latency("one", 12, 22).Latency("two", 40, 50);
  builder.Answer(0, 12, kWell).Answer(12, 22, kFallback).Answer(22, 40, kWell).Answer(40, 80, kFallback);
  Recovery spec = Within10s();
  spec.set_fault("one");
  EXPECT_EQ(Judged(builder, spec).result(), Verdict::PASS);
  spec.set_fault("two");
  EXPECT_EQ(Judged(builder, spec).result(), Verdict::FAIL);
  // Without a name: from the last healing on.
  EXPECT_EQ(Judged(builder).result(), Verdict::FAIL);
}

TEST(Recovery, IsInconclusiveWhenTheNextFaultComesTooSoon) {
  TimelineBuilder builder;
  builder.Latency("one", 12, 22).Latency("two", 27, 37);
  builder.Answer(0, 12, kWell).Answer(12, 22, kFallback).Answer(22, 27, kWell).Answer(27, 80, kFallback);
  Recovery spec = Within10s();
  spec.set_fault("one");
  const Verdict verdict = Judged(builder, spec);
  EXPECT_EQ(verdict.result(), Verdict::INCONCLUSIVE);
  EXPECT_THAT(verdict.reason(), HasSubstr("the next fault came 5.0 s after healing"));
  EXPECT_THAT(verdict.advice(), HasSubstr("`at`"));
}

TEST(Recovery, DoesNotBlameTheServiceForAnotherFaultThatStillActs) {
  TimelineBuilder builder;
  builder.Latency("long", 12, 50).Latency("short", 14, 22).Answer(0, 12, kWell).Answer(12, 50, kFallback);
  Recovery spec = Within10s();
  spec.set_fault("short");
  const Verdict verdict = Judged(builder, spec);
  EXPECT_EQ(verdict.result(), Verdict::INCONCLUSIVE);
  EXPECT_THAT(verdict.reason(), HasSubstr("fault long was still acting"));
}

TEST(Recovery, IsFinalOnceTheRunIsComplete) {
  TimelineBuilder builder;
  builder.Latency("slow", 12, 22).Answer(0, 12, kWell).Answer(12, 23, kFallback).Answer(23, 33, kWell);
  // Who knows whether the last second is complete.
  Judgement judgement = JudgeRecovery(Within10s(), builder.StillRunningAt(33).Build());
  EXPECT_FALSE(judgement.final);
  EXPECT_EQ(judgement.verdict.result(), Verdict::INCONCLUSIVE);
  judgement = JudgeRecovery(Within10s(), builder.Answer(33, 33.01, kWell).Build());
  EXPECT_TRUE(judgement.final);
  EXPECT_EQ(judgement.verdict.result(), Verdict::PASS) << judgement.verdict.reason();
}

TEST(Recovery, IsFinalFailureOnceBudgetAndRunHaveElapsed) {
  TimelineBuilder builder;
  builder.Latency("slow", 12, 22).Answer(0, 12, kWell).Answer(12, 41.5, kFallback).StillRunningAt(41.6);
  EXPECT_FALSE(JudgeRecovery(Within10s(), builder.Build()).final);
  builder.Answer(41.5, 42.1, kFallback);
  const Judgement judgement = JudgeRecovery(Within10s(), builder.Build());
  EXPECT_TRUE(judgement.final);
  EXPECT_EQ(judgement.verdict.result(), Verdict::FAIL);
}

TEST(Recovery, IsInconclusiveWithoutEvidenceHealingOrSteadiness) {
  TimelineBuilder builder = BadFor(0);
  *builder.Event("slow", FaultEvent::HEALED).mutable_evidence() = Evidence();
  EXPECT_THAT(Judged(builder).reason(), HasSubstr("touched no traffic"));
  builder = BadFor(0);
  builder.Event("slow", FaultEvent::HEALED).set_state(FaultEvent::HEALING);
  EXPECT_THAT(Judged(builder).reason(), HasSubstr("never confirmed as healed"));
  builder = TimelineBuilder();
  builder.Answer(0, 12, Reply{10, ERROR, 500}).End(Footer::NOT_STEADY, "100 % failed");
  EXPECT_EQ(Judged(builder).result(), Verdict::INCONCLUSIVE);
  EXPECT_THAT(Judged(builder).reason(),
              HasSubstr("not steady before anything was injected, so nothing was: 100 % failed"));
  EXPECT_THAT(Judged(builder).advice(), Not(IsEmpty()));
}

TEST(Recovery, JudgesALoadWithFallbacksOnlyAsInconclusive) {
  TimelineBuilder builder;
  builder.Latency("slow", 12, 22).Answer(0, 50, kFallback);
  EXPECT_THAT(Judged(builder).reason(), HasSubstr("no request of load checkout was `ok` before the fault"));
}

}  // namespace
}  // namespace squall
