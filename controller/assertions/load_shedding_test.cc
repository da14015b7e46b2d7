#include "controller/assertions/load_shedding.h"

#include <cmath>

#include "controller/assertions/timeline_builder.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace squall {
namespace {

using ::testing::HasSubstr;

using Reply = TimelineBuilder::Reply;

constexpr Reply kShed{5, REJECTED, 503};

// K = 200/s, which is what the load offers but for the surge: 400/s from 12 s to 22 s. Good within 200 ms.
LoadShedding TwoHundred() {
  LoadShedding spec;
  spec.set_load("checkout");
  spec.set_capacity(200);
  spec.mutable_slo()->set_nanos(200'000'000);
  spec.set_goodput(90);
  spec.mutable_sheds_within()->set_nanos(50'000'000);
  spec.mutable_recovers_within()->set_seconds(10);
  return spec;
}

using Replies = std::function<Reply(double)>;

// A surge is a second request beside each of the usual.
struct Surged {
  Replies first = [](double) { return Reply{40}; };
  Replies second = [](double) { return kShed; };
  Replies after = [](double) { return Reply{}; };
  double times = 2;
  double until = 22;
  double end = 45;
};

TimelineBuilder Built(const Surged& run) {
  TimelineBuilder builder;
  builder.Surge("rush", 12, run.until, run.times).Answer(0, 12, Reply{});
  for (double at = 12; at < run.until - 0.001; at += TimelineBuilder::kEverySeconds) {
    builder.Add(at, run.first(at)).Add(at + 0.0025, run.second(at));
  }
  return builder.Answer(run.until, run.end, run.after);
}

Verdict Judged(const TimelineBuilder& builder, const LoadShedding& spec = TwoHundred()) {
  return JudgeLoadShedding(spec, builder.Build()).verdict;
}
Verdict Judged(const Surged& run) { return Judged(Built(run)); }

// `other` to each n-th, else `usual`.
Replies EachNth(int n, Reply other, Reply usual) {
  return [=](double at) { return static_cast<int64_t>(at / TimelineBuilder::kEverySeconds + 0.5) % n == 0 ? other : usual; };
}

TEST(LoadShedding, PassesWhenItServesWhatItCanAndTurnsTheRestAway) {
  const Verdict verdict = Judged(Surged());
  EXPECT_EQ(verdict.result(), Verdict::PASS) << verdict.reason();
  EXPECT_EQ(verdict.measured(), "200/s");
  EXPECT_EQ(verdict.limit(), "at least 180/s");
  EXPECT_EQ(verdict.margin(), "20/s");
  EXPECT_EQ(verdict.samples(), 3600);  // not those of the onset
  EXPECT_EQ(
      verdict.reason(),
      "200/s were good of the surge (180/s needed); p99 of 1,800 requests that were accepted is 40.0 ms (limit 240.0 ms); p99 of "
      "1,800 requests that were turned away is 5.0 ms (limit 50.0 ms); as before from the first window after the surge (limit 10 s)");
}

TEST(LoadShedding, AllowsGoodputExactlyOnTheLimit) {
  EXPECT_EQ(Judged({.first = EachNth(10, kShed, {40})}).result(), Verdict::PASS);
  const Verdict verdict = Judged({.first = EachNth(9, kShed, {40})});
  EXPECT_EQ(verdict.result(), Verdict::FAIL);
  EXPECT_THAT(verdict.reason(), HasSubstr("178/s were good"));
}

TEST(LoadShedding, FailsWhenItShedsNothingAndServesNobodyInTime) {
  const auto queue = [](double at) { return at < 14 ? Reply{100} : Reply{2000, TIMED_OUT, 0}; };
  const Verdict verdict = Judged({.first = queue, .second = queue});
  EXPECT_EQ(verdict.result(), Verdict::FAIL);
  EXPECT_THAT(verdict.reason(), HasSubstr("100 % failed or took longer than 200 ms"));
  EXPECT_EQ(verdict.first_broken_ns(), 14'000'000'000);
  EXPECT_EQ(verdict.examples_size(), 10);
}

TEST(LoadShedding, FailsWhenAQueueIsFullOnlyAtTheEndOfALongSurge) {
  Surged run{.first = [](double at) { return at < 68 ? Reply{40} : Reply{300}; }};
  run.until = 72;
  run.end = 95;
  const Verdict verdict = Judged(run);
  EXPECT_EQ(verdict.result(), Verdict::FAIL);
  EXPECT_THAT(verdict.reason(), HasSubstr("40/s were good in the last 5 windows of the surge"));
}

TEST(LoadShedding, DoesNotHoldTheOnsetAgainstIt) {
  EXPECT_EQ(Judged({.first = [](double at) { return at < 13 - 0.001 ? Reply{900} : Reply{40}; }}).result(), Verdict::PASS);
}

TEST(LoadShedding, FailsWhenThoseAcceptedAreSlow) {
  LoadShedding spec = TwoHundred();
  spec.set_goodput(50);
  const auto slow = [](double ms) { return Built({.first = EachNth(10, {ms}, {40})}); };
  EXPECT_EQ(Judged(slow(240), spec).result(), Verdict::PASS);
  const Verdict verdict = Judged(slow(240.001), spec);
  EXPECT_EQ(verdict.result(), Verdict::FAIL);
  EXPECT_THAT(verdict.reason(), HasSubstr("requests that were accepted is 240.0 ms"));
  spec.mutable_accepted_within()->set_nanos(300'000'000);
  EXPECT_EQ(Judged(slow(300), spec).result(), Verdict::PASS);
}

TEST(LoadShedding, FailsWhenItTurnsAwaySlowly) {
  EXPECT_EQ(Judged({.second = [](double) { return Reply{50, REJECTED, 503}; }}).result(), Verdict::PASS);
  const Verdict verdict = Judged({.second = [](double) { return Reply{50.001, REJECTED, 503}; }});
  EXPECT_EQ(verdict.result(), Verdict::FAIL);
  EXPECT_THAT(verdict.reason(), HasSubstr("turned away is 50.0 ms"));
}

TEST(LoadShedding, IsInconclusiveWhenItBearsTheSurge) {
  const Verdict verdict = Judged({.second = [](double) { return Reply{40}; }});
  EXPECT_EQ(verdict.result(), Verdict::INCONCLUSIVE);
  EXPECT_THAT(verdict.reason(), HasSubstr("hardly anything was turned away: none during the surge"));
  EXPECT_THAT(verdict.advice(), HasSubstr("raise `capacity`"));
}

TEST(LoadShedding, NeedsTwentyThatWereTurnedAway) {
  const auto shed = [](int count) {
    return Surged{.second = [=](double at) {
      return at > 15 - 0.001 && at < 15 + count * TimelineBuilder::kEverySeconds - 0.001 ? kShed : Reply{40};
    }};
  };
  EXPECT_EQ(Judged(shed(20)).result(), Verdict::PASS);
  EXPECT_EQ(Judged(shed(19)).result(), Verdict::INCONCLUSIVE);
}

TEST(LoadShedding, IsInconclusiveWhenLessThanTwiceTheCapacityWasOffered) {
  LoadShedding spec = TwoHundred();
  spec.set_capacity(300);
  const Verdict verdict = Judged(Built({}), spec);
  EXPECT_EQ(verdict.result(), Verdict::INCONCLUSIVE);
  EXPECT_THAT(verdict.reason(), HasSubstr("offered 400/s, and twice the capacity is 600/s"));
  EXPECT_EQ(verdict.advice(), "raise the surge's `times` to 3");
}

TEST(LoadShedding, IsInconclusiveWhenTheGeneratorOffersLessThanItWasAsked) {
  const auto offered = [](double rate) {
    TimelineBuilder builder = Built({});
    for (const auto state : {FaultEvent::INJECTED, FaultEvent::HEALING, FaultEvent::HEALED}) {
      builder.Event("rush", state).mutable_evidence()->set_achieved_requests_rate(rate);
    }
    return Judged(builder);
  };
  EXPECT_EQ(offered(380).result(), Verdict::PASS);
  EXPECT_EQ(offered(379).result(), Verdict::INCONCLUSIVE);
  EXPECT_THAT(offered(379).advice(), HasSubstr("raise `max_in_flight` of load checkout"));
}

TEST(LoadShedding, DoesNotCondemnWhatBreaksUnderMoreThanThat) {
  LoadShedding spec = TwoHundred();
  spec.set_capacity(150);
  EXPECT_EQ(Judged(Built({}), spec).result(), Verdict::PASS);
  const Verdict verdict = Judged(Built({.second = [](double) { return Reply{300, REJECTED, 503}; }}), spec);
  EXPECT_EQ(verdict.result(), Verdict::INCONCLUSIVE);
  EXPECT_THAT(verdict.reason(), HasSubstr("for which nothing is promised"));
  EXPECT_EQ(verdict.examples_size(), 0);
}

TEST(LoadShedding, IsInconclusiveWithoutASurgeOrWithSeveral) {
  TimelineBuilder slow;
  slow.Latency("slow", 12, 22).Answer(0, 40, Reply{});
  EXPECT_THAT(Judged(slow).reason(), HasSubstr("is no surge of load checkout"));
  TimelineBuilder two = Built({});
  two.Surge("again", 30, 38, 2);
  EXPECT_THAT(Judged(two).reason(), HasSubstr("2 surges"));
}

TEST(LoadShedding, IsInconclusiveWhenTheSurgeIsShort) {
  Surged run;
  run.until = 18;
  EXPECT_EQ(Judged(run).result(), Verdict::PASS);
  run.until = 17.9;
  const Verdict verdict = Judged(run);
  EXPECT_EQ(verdict.result(), Verdict::INCONCLUSIVE);
  EXPECT_EQ(verdict.advice(), "raise the surge's `for`");
}

TEST(LoadShedding, RecoversExactlyInTime) {
  const auto back_at = [](double at) { return Surged{.after = [=](double now) { return now < at - 0.001 ? kShed : Reply{}; }}; };
  EXPECT_EQ(Judged(back_at(32)).result(), Verdict::PASS);
  const Verdict verdict = Judged(back_at(33));
  EXPECT_EQ(verdict.result(), Verdict::FAIL);
  EXPECT_THAT(verdict.reason(),
              HasSubstr("as before 11.0 s after the surge (limit 10 s): at 10.0 s, 100 % of the requests were turned away"));
  EXPECT_EQ(verdict.first_broken_ns(), 32'000'000'000);
}

TEST(LoadShedding, FailsWhenItStaysSlow) {
  const Verdict verdict = Judged({.after = [](double) { return Reply{250}; }});
  EXPECT_EQ(verdict.result(), Verdict::FAIL);
  EXPECT_THAT(verdict.reason(), HasSubstr("not as before 10 s after the surge"));
}

TEST(LoadShedding, AllowsOneRejectionInAWindowAndNoMore) {
  const auto shed = [](int each_second) {
    return Surged{.after = [=](double at) {
      return std::fmod(at + 1e-6, 1) < each_second * TimelineBuilder::kEverySeconds - 0.001 ? kShed : Reply{};
    }};
  };
  EXPECT_EQ(Judged(shed(1)).result(), Verdict::PASS);
  EXPECT_EQ(Judged(shed(2)).result(), Verdict::FAIL);
}

TEST(LoadShedding, IsInconclusiveWhenTheLoadEndsBeforeItCanBeBack) {
  Surged run{.after = [](double) { return kShed; }};
  run.end = 30;
  const Verdict verdict = Judged(run);
  EXPECT_EQ(verdict.result(), Verdict::INCONCLUSIVE);
  EXPECT_THAT(verdict.reason(), HasSubstr("ended too soon"));
}

TEST(LoadShedding, IsInconclusiveWhenTheNextFaultComesTooSoon) {
  TimelineBuilder builder = Built({.after = [](double) { return kShed; }});
  builder.Latency("slow", 25, 30);
  LoadShedding named = TwoHundred();
  named.set_fault("rush");
  for (const LoadShedding& spec : {named, TwoHundred()}) {
    const Verdict verdict = Judged(builder, spec);
    EXPECT_EQ(verdict.result(), Verdict::INCONCLUSIVE);
    EXPECT_THAT(verdict.reason(), HasSubstr("the next fault came 3.0 s after the surge"));
  }
}

TEST(LoadShedding, BlamesItNotForWhatAnotherFaultDoes) {
  TimelineBuilder builder = Built({.after = [](double) { return kShed; }});
  builder.Latency("slow", 15, 44);
  LoadShedding spec = TwoHundred();
  spec.set_fault("rush");
  const Verdict verdict = Judged(builder, spec);
  EXPECT_EQ(verdict.result(), Verdict::INCONCLUSIVE);
  EXPECT_THAT(verdict.reason(), HasSubstr("fault slow was still acting"));
}

TEST(LoadShedding, LeavesOutWhenTheMachineStoodStill) {
  // Nobody is served in time in 1.5 s of the nine.
  Surged run{.first = [](double at) { return at >= 15 - 0.001 && at < 16.5 - 0.001 ? Reply{220} : Reply{40}; }};
  EXPECT_EQ(Judged(run).result(), Verdict::FAIL);
  EXPECT_EQ(Judged(Built(run).StandStill(15, 800)).result(), Verdict::PASS);
  EXPECT_THAT(Judged(Built(run).StandStill(15, 1450)).reason(), HasSubstr("stood still"));
}

TEST(LoadShedding, IsFinalOnceItIsBack) {
  Surged run;
  run.end = 26;
  TimelineBuilder builder = Built(run);
  builder.StillRunningAt(26.5);  // two windows after the surge are whole
  Judgement judgement = JudgeLoadShedding(TwoHundred(), builder.Build());
  EXPECT_FALSE(judgement.final);
  EXPECT_EQ(judgement.verdict.result(), Verdict::INCONCLUSIVE);
  builder.Answer(26, 29, Reply{}).StillRunningAt(29);
  judgement = JudgeLoadShedding(TwoHundred(), builder.Build());
  EXPECT_TRUE(judgement.final);
  EXPECT_EQ(judgement.verdict.result(), Verdict::PASS) << judgement.verdict.reason();
}

TEST(LoadShedding, IsInconclusiveWithoutData) {
  EXPECT_EQ(Judged(TimelineBuilder()).result(), Verdict::INCONCLUSIVE);
  TimelineBuilder builder = Built({});
  builder.Event("rush", FaultEvent::HEALED).set_state(FaultEvent::HEALING_NOT_CONFIRMED);
  EXPECT_EQ(Judged(builder).result(), Verdict::INCONCLUSIVE);
}

}  // namespace
}  // namespace squall
