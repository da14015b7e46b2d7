#include "controller/assertions/health.h"

#include <algorithm>

#include "controller/assertions/timeline_builder.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace squall {
namespace {

using ::testing::HasSubstr;

// The health of orders, asked four times a second from 0 s on; each look takes 1 ms.
struct Asked {
  double from, to;
  int status;
  std::string body = "";
};

TimelineBuilder Told(const std::vector<Asked>& asked, TimelineBuilder builder = TimelineBuilder().Latency("slow", 12, 22)) {
  for (const Asked& span : asked) {
    bool first = true;
    for (double at = span.from; at < span.to - 0.001; at += 0.25) {
      Record record;
      HealthSample& sample = *record.mutable_health();
      sample.set_service("orders");
      sample.set_at_ns(TimelineBuilder::Ns(at));
      sample.set_took_ns(1'000'000);
      sample.set_status(span.status);
      sample.set_body(first ? span.body : "");
      sample.set_body_changed(first);
      first = false;
      builder.Put(record);
    }
  }
  return builder;
}

Health Unready(double within = 5, double again = 10) {
  Health spec;
  spec.set_service("orders");
  spec.mutable_unready_within()->set_seconds(static_cast<int64_t>(within));
  spec.mutable_ready_within()->set_seconds(static_cast<int64_t>(again));
  return spec;
}
Health StaysReady() {
  Health spec;
  spec.set_service("orders");
  spec.set_stays_ready(true);
  return spec;
}

Judgement Judged(const TimelineBuilder& builder, const Health& spec = Unready()) {
  const Timeline timeline = builder.Build();
  return JudgeHealth(spec, timeline, Stalls(timeline.stalls));
}

TEST(Health, PassesWhenItTurnsUnreadyAndReadyAgainInTime) {
  const Judgement judgement = Judged(Told({{0, 14, 200}, {14, 25, 503}, {25, 40, 200}}));
  EXPECT_EQ(judgement.verdict.result(), Verdict::PASS) << judgement.verdict.reason();
  EXPECT_EQ(judgement.verdict.reason(),
            "orders said that it was not ready 2.0 s after the injection: it answered with status 503; ready again 3.0 s after "
            "the healing");
  EXPECT_EQ(judgement.verdict.measured(), "2.0 s");
  EXPECT_EQ(judgement.verdict.limit(), "at most 5.2 s");
  EXPECT_THAT(judgement.verdict.DebugString(), HasSubstr("ready again 3.0 s after the healing"));
  EXPECT_TRUE(judgement.final);
}

TEST(Health, FailsWhenReadinessLies) {
  const Judgement judgement = Judged(Told({{0, 40, 200}}));
  EXPECT_EQ(judgement.verdict.result(), Verdict::FAIL);
  EXPECT_EQ(judgement.verdict.reason(), "orders went on saying that it was ready for all of the 10.0 s that slow acted");
  EXPECT_EQ(judgement.verdict.measured(), "never");
  EXPECT_TRUE(judgement.final);
}

TEST(Health, HasTheTimeAllowedAndOneLook) {
  EXPECT_EQ(Judged(Told({{0, 17.249, 200}, {17.249, 25, 503}, {25, 40, 200}})).verdict.result(), Verdict::PASS);
  const Verdict late = Judged(Told({{0, 17.25, 200}, {17.25, 25, 503}, {25, 40, 200}})).verdict;
  EXPECT_EQ(late.result(), Verdict::FAIL);
  EXPECT_EQ(late.reason(), "orders said that it was ready until 5.3 s after the injection (5 s allowed)");
  EXPECT_EQ(late.margin(), "-1.0 ms");
}

TEST(Health, FailsWhenItIsReadyTooLate) {
  EXPECT_EQ(Judged(Told({{0, 14, 200}, {14, 32.249, 503}, {32.249, 40, 200}})).verdict.result(), Verdict::PASS);
  const Verdict late = Judged(Told({{0, 14, 200}, {14, 32.25, 503}, {32.25, 40, 200}})).verdict;
  EXPECT_EQ(late.result(), Verdict::FAIL);
  EXPECT_EQ(late.reason(), "orders was ready again only 10.3 s after the healing (10 s allowed)");
  const Verdict never = Judged(Told({{0, 14, 200}, {14, 40, 503}})).verdict;
  EXPECT_EQ(never.result(), Verdict::FAIL);
  EXPECT_EQ(never.reason(), "orders was still not ready 17.8 s after the healing (10 s allowed): it answered with status 503");
}

TEST(Health, FailsWhenItTurnsUnreadyAgainAndStaysSoPastTheTimeAllowed) {
  const Verdict verdict = Judged(Told({{0, 14, 200}, {14, 24, 503}, {24, 27, 200}, {27, 35, 503}, {35, 40, 200}})).verdict;
  EXPECT_EQ(verdict.result(), Verdict::FAIL);
  EXPECT_THAT(verdict.reason(), HasSubstr("was ready again only 13.0 s after the healing"));
}

TEST(Health, TakesNoAnswerForNotReady) {
  EXPECT_EQ(Judged(Told({{0, 14, 200}, {14, 25, 0}, {25, 40, 200}})).verdict.result(), Verdict::PASS);
}

TEST(Health, NeedsTwoLooksInARow) {
  const Verdict verdict = Judged(Told({{0, 14, 200}, {14, 14.25, 503}, {14.25, 40, 200}})).verdict;
  EXPECT_EQ(verdict.result(), Verdict::FAIL);
  EXPECT_THAT(verdict.reason(), HasSubstr(", but for single looks"));
  EXPECT_EQ(Judged(Told({{0, 14, 200}, {14, 14.25, 503}, {14.25, 40, 200}}), StaysReady()).verdict.result(), Verdict::PASS);
  EXPECT_EQ(Judged(Told({{0, 14, 200}, {14, 14.5, 503}, {14.5, 40, 200}})).verdict.result(), Verdict::PASS);
}

TEST(Health, PassesWhenItStaysReady) {
  const Judgement judgement = Judged(Told({{0, 40, 200}}), StaysReady());
  EXPECT_EQ(judgement.verdict.result(), Verdict::PASS) << judgement.verdict.reason();
  EXPECT_EQ(judgement.verdict.reason(),
            "orders said that it was ready in each of 57 looks, from the injection to 4.0 s after the healing");
  EXPECT_TRUE(judgement.final);
}

TEST(Health, FailsWhenItHadToStayReadyAndDidNot) {
  const Judgement judgement = Judged(Told({{0, 14, 200}, {14, 16, 503}, {16, 40, 200}}), StaysReady());
  EXPECT_EQ(judgement.verdict.result(), Verdict::FAIL);
  EXPECT_EQ(judgement.verdict.reason(),
            "orders had to stay ready, and was not for 1.8 s from 2.0 s after the injection on: it answered with status 503");
  EXPECT_EQ(judgement.verdict.first_broken_ns(), TimelineBuilder::Ns(14.001));
  EXPECT_EQ(Judged(Told({{0, 25, 200}, {25, 28, 0}, {28, 40, 200}}), StaysReady()).verdict.result(), Verdict::FAIL)
      << "the aftermath";
  EXPECT_EQ(Judged(Told({{0, 28, 200}, {28, 30, 0}, {30, 40, 200}}), StaysReady()).verdict.result(), Verdict::PASS);
}

TEST(Health, LeavesOutWhatAStallExplains) {
  const auto stalled = [] { return Told({{0, 14, 200}, {14, 14.5, 0}, {14.5, 40, 200}}); };
  EXPECT_EQ(Judged(stalled(), StaysReady()).verdict.result(), Verdict::FAIL);
  const Verdict verdict = Judged(stalled().StandStill(14, 300), StaysReady()).verdict;
  EXPECT_EQ(verdict.result(), Verdict::PASS) << verdict.reason();
  EXPECT_THAT(verdict.DebugString(), HasSubstr("left out because the machine stood still"));
  // The turn was late by what the machine lost.
  const auto late = [] { return Told({{0, 17.5, 200}, {17.5, 25, 503}, {25, 40, 200}}); };
  EXPECT_EQ(Judged(late()).verdict.result(), Verdict::FAIL);
  EXPECT_EQ(Judged(late().StandStill(16, 300)).verdict.result(), Verdict::PASS);
}

TEST(Health, IsInconclusiveWhenStallsExplainTooMuch) {
  TimelineBuilder builder = Told({{0, 14, 200}, {14, 22, 0}, {22, 40, 200}});
  const Verdict verdict = Judged(builder.StandStill(14, 8000), StaysReady()).verdict;
  EXPECT_EQ(verdict.result(), Verdict::INCONCLUSIVE);
  EXPECT_THAT(verdict.reason(), HasSubstr("stood still"));
}

TEST(Health, IsInconclusiveWhenItWasNotReadyBefore) {
  const Verdict verdict = Judged(Told({{0, 9, 200}, {9, 25, 503}, {25, 40, 200}})).verdict;
  EXPECT_EQ(verdict.result(), Verdict::INCONCLUSIVE);
  EXPECT_EQ(verdict.reason(), "orders was not ready before slow was injected: it answered with status 503");
  EXPECT_THAT(verdict.advice(), HasSubstr("mend the service"));
  EXPECT_EQ(Judged(Told({{0, 9, 503}, {9, 14, 200}, {14, 25, 503}, {25, 40, 200}})).verdict.result(), Verdict::PASS)
      << "long before";
}

TEST(Health, IsInconclusiveWithoutData) {
  const Verdict none = Judged(Told({})).verdict;
  EXPECT_EQ(none.result(), Verdict::INCONCLUSIVE);
  EXPECT_THAT(none.reason(), HasSubstr("was never asked"));
  EXPECT_THAT(none.advice(), HasSubstr("`health`"));
  EXPECT_THAT(Judged(Told({{11, 40, 200}})).verdict.reason(), HasSubstr("was not looked at before slow was injected"));
  const Verdict gap = Judged(Told({{0, 13, 200}, {16, 40, 200}})).verdict;
  EXPECT_EQ(gap.result(), Verdict::INCONCLUSIVE);
  EXPECT_THAT(gap.reason(), HasSubstr("was not asked for 3.2 s from 12.8 s of the run on"));
  EXPECT_EQ(Judged(Told({{0, 13, 200}, {16, 40, 200}}), StaysReady()).verdict.result(), Verdict::INCONCLUSIVE);
  EXPECT_EQ(Judged(Told({{0, 13, 200}}), StaysReady()).verdict.result(), Verdict::INCONCLUSIVE);
}

TEST(Health, BlamesNobodyForWhatWasNotLookedAt) {
  // It may have turned unready, or ready again, in the time in which it was not asked.
  const Verdict turned = Judged(Told({{0, 14, 200}, {18, 25, 503}, {25, 40, 200}})).verdict;
  EXPECT_EQ(turned.result(), Verdict::INCONCLUSIVE);
  EXPECT_EQ(
      turned.reason(),
      "it was not seen to turn unready in time, and the health of orders was not asked for 3.5 s from 13.8 s of the run on");
  const Verdict back = Judged(Told({{0, 14, 200}, {14, 30, 503}, {33, 40, 200}})).verdict;
  EXPECT_EQ(back.result(), Verdict::INCONCLUSIVE);
  EXPECT_THAT(back.reason(), HasSubstr("was not seen to be ready in time"));
  // The machine stood still meanwhile, and so did who asks.
  EXPECT_EQ(Judged(Told({{0, 13, 200}, {16, 40, 200}}).StandStill(13, 2900), StaysReady()).verdict.result(), Verdict::PASS);
}

TEST(Health, IsInconclusiveWhenTheFaultWasOverSoonerThanItMayTake) {
  const Verdict verdict = Judged(Told({{0, 40, 200}}), Unready(11)).verdict;
  EXPECT_EQ(verdict.result(), Verdict::INCONCLUSIVE);
  EXPECT_THAT(verdict.reason(), HasSubstr("slow was over after 10.0 s, sooner than the 11 s that it may take"));
  EXPECT_THAT(verdict.advice(), HasSubstr("raise the fault's `for`"));
}

TEST(Health, FailsWhenItDoesNotNameWhatFailed) {
  Health spec = Unready();
  spec.set_names("recommend");
  const std::vector<Asked> named = {{0, 14, 200, "fine"}, {14, 25, 503, "recommend: timeout"}, {25, 40, 200, "fine"}};
  const Verdict passed = Judged(Told(named), spec).verdict;
  EXPECT_EQ(passed.result(), Verdict::PASS) << passed.reason();
  EXPECT_THAT(passed.DebugString(), HasSubstr("in all of 32 answers"));
  const Verdict failed =
      Judged(Told({{0, 14, 200, "recommend is fine"}, {14, 25, 503, "not ready"}, {25, 40, 200, ""}}), spec).verdict;
  EXPECT_EQ(failed.result(), Verdict::FAIL);
  EXPECT_EQ(failed.reason(), "orders said that it was not ready, and did not name recommend: \"not ready\"");
  const Verdict silent = Judged(Told({{0, 14, 200}, {14, 25, 0}, {25, 40, 200}}), spec).verdict;
  EXPECT_EQ(silent.result(), Verdict::INCONCLUSIVE);
  EXPECT_THAT(silent.advice(), HasSubstr("leave out `names`"));
  const Verdict gone = Judged(Told({{0, 14, 200}, {14, 40, 0}}), spec).verdict;
  EXPECT_EQ(gone.result(), Verdict::FAIL) << "still not ready weighs more";
}

TEST(Health, ExpectsNothingBackOfWhatStaysGone) {
  const Verdict verdict = Judged(Told({{0, 12, 200}, {12, 40, 503}}, TimelineBuilder().Kill("gone", 12, -1))).verdict;
  EXPECT_EQ(verdict.result(), Verdict::PASS) << verdict.reason();
  EXPECT_THAT(verdict.DebugString(), HasSubstr("nothing starts again what was killed"));
  const Verdict lies = Judged(Told({{0, 40, 200}}, TimelineBuilder().Kill("gone", 12, -1))).verdict;
  EXPECT_EQ(lies.result(), Verdict::FAIL);
  EXPECT_EQ(lies.reason(), "orders went on saying that it was ready for all of the 27.8 s that gone acted");
  EXPECT_EQ(Judged(Told({{0, 17, 200}}, TimelineBuilder().Kill("gone", 12, -1))).verdict.reason(),
            "it was not seen to turn unready, and the health of orders was not asked after 16.8 s of the run");
  Health named = Unready();
  named.set_names("recommend");
  EXPECT_EQ(Judged(Told({{0, 13, 200}, {13, 40, 503, "no"}}, TimelineBuilder().Kill("gone", 12, -1)), named).verdict.result(),
            Verdict::FAIL);
  // A kill may act before it is confirmed.
  EXPECT_EQ(
      Judged(Told({{0, 11.25, 200}, {11.25, 18, 0}, {18, 40, 200}}, TimelineBuilder().Kill("gone", 12, 16))).verdict.result(),
      Verdict::PASS);
}

TEST(Health, IsInconclusiveWhenTheNextFaultComesFirst) {
  TimelineBuilder two = TimelineBuilder().Latency("slow", 12, 22).Latency("next", 28, 30);
  Health spec = Unready();
  spec.set_fault("slow");
  const Verdict verdict = Judged(Told({{0, 14, 200}, {14, 40, 503}}, two), spec).verdict;
  EXPECT_EQ(verdict.result(), Verdict::INCONCLUSIVE);
  EXPECT_THAT(verdict.reason(), HasSubstr("another fault began 6.0 s after the healing"));
  EXPECT_EQ(Judged(Told({{0, 14, 200}, {14, 23, 503}, {23, 28, 200}, {28, 45, 503}}, two), spec).verdict.result(), Verdict::PASS);
}

TEST(Health, IsNotJudgedWhileServicesAreStopped) {
  const auto ended = [](double done) {
    TimelineBuilder builder = Told({{0, 14, 200}, {14, 25, 503}, {25, 30, 200}, {30, 31, 0}});
    Record record;
    record.mutable_phase()->set_phase(PhaseEvent::DONE);
    record.mutable_phase()->set_at_ns(TimelineBuilder::Ns(done));
    return builder.Put(record);
  };
  EXPECT_EQ(Judged(ended(29.9)).verdict.result(), Verdict::PASS);
  EXPECT_NE(Judged(ended(31)).verdict.result(), Verdict::PASS);
}

TEST(Health, AllowsForClocksOfTwoHosts) {
  const auto late = [](int64_t uncertainty_ns) {
    Timeline timeline = Told({{0, 17.26, 200}, {17.26, 25, 503}, {25, 40, 200}}).Build();
    timeline.header.set_clock_uncertainty_ns(uncertainty_ns);
    (*timeline.header.mutable_agent_clock_uncertainty_ns())["a"] = uncertainty_ns;
    (*timeline.header.mutable_agent_clock_uncertainty_ns())["b"] = uncertainty_ns;
    return JudgeHealth(Unready(), timeline, Stalls(timeline.stalls)).verdict.result();
  };
  EXPECT_EQ(late(5'000'000), Verdict::FAIL);
  EXPECT_EQ(late(6'000'000), Verdict::PASS);
}

TEST(Health, IsNoMatterOfWhatComesAfterTheTimeAllowed) {
  EXPECT_EQ(Judged(Told({{0, 14, 200}, {14, 25, 503}, {25, 33, 200}, {33, 45, 503}})).verdict.result(), Verdict::PASS);
}

TEST(Health, IsFinalOnlyWhenTheTimeAllowedHasPassed) {
  TimelineBuilder acting = TimelineBuilder().Latency("slow", 12, 22).StillRunningAt(20);
  acting.Event("slow", FaultEvent::HEALED).set_state(FaultEvent::HEALING);
  EXPECT_FALSE(Judged(Told({{0, 14, 200}, {14, 20, 503}}, acting)).final);
  const TimelineBuilder running = TimelineBuilder().Latency("slow", 12, 22).StillRunningAt(26);
  EXPECT_FALSE(Judged(Told({{0, 14, 200}, {14, 26, 503}}, running)).final);
  const Judgement early = Judged(Told({{0, 14, 200}, {14, 24, 503}, {24, 26, 200}}, running));
  EXPECT_EQ(early.verdict.result(), Verdict::INCONCLUSIVE);
  EXPECT_FALSE(early.final);
  EXPECT_FALSE(Judged(Told({{0, 26, 200}}, running), StaysReady()).final);
  EXPECT_TRUE(Judged(Told({{0, 14, 200}, {14, 24, 503}, {24, 26, 200}, {26, 34, 200}}, running)).final);
}

}  // namespace
}  // namespace squall
