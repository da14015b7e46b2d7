#include "controller/assertions/circuit_breaker.h"

#include <algorithm>

#include "controller/assertions/breaker_simulation.h"
#include "controller/assertions/timeline_builder.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace squall {
namespace {

using ::testing::HasSubstr;

TEST(CircuitBreaker, PassesWhenItOpensFailsFastProbesAndCloses) {
  const Verdict verdict = Judged(SimulatedBreaker());
  EXPECT_EQ(verdict.result(), Verdict::PASS) << verdict.DebugString();
  EXPECT_THAT(verdict.reason(), HasSubstr("after the first failed call (limit 5 s)"));
  EXPECT_THAT(verdict.reason(), HasSubstr("p99 of the answers while it was open is 2.0 ms (limit 50.0 ms)"));
  EXPECT_THAT(verdict.reason(), HasSubstr("tried again 4 times, with 1 call at once at most (limit 1)"));
  EXPECT_THAT(verdict.reason(), HasSubstr("closed "));
}

TEST(CircuitBreaker, PassesWithSeveralProbesWhereTheyAreAllowed) {
  SimulatedBreaker breaker;
  breaker.probes = 10;
  CircuitBreaker spec = OpenFor2s();
  spec.set_probes(10);
  EXPECT_EQ(Judged(breaker, spec).result(), Verdict::PASS);
  spec.set_probes(9);
  const Verdict verdict = Judged(breaker, spec);
  EXPECT_EQ(verdict.result(), Verdict::FAIL);
  EXPECT_THAT(verdict.reason(), HasSubstr("let 10 calls through at once when it tried again; at most 9 may"));
}

TEST(CircuitBreaker, IsNotJudgedUnderADnsFault) {
  // Calls vanish as if it had opened, and it has none.
  TimelineBuilder builder;
  builder.Names("gone", kInjected, kHealed).Answer(0, kEnd, Reply{});
  for (double at = 0; at < kEnd; at += TimelineBuilder::kEverySeconds) {
    if (at < kInjected || at >= kHealed) builder.AddCall(at, 5, ANSWERED);
  }
  const Verdict verdict = Judged(builder);
  EXPECT_EQ(verdict.result(), Verdict::INCONCLUSIVE) << verdict.DebugString();
  EXPECT_THAT(verdict.reason(), HasSubstr("calls vanish where a name cannot be resolved, with or without a breaker"));
}

TEST(CircuitBreaker, FailsWhenItNeverOpens) {
  SimulatedBreaker breaker;
  breaker.trips_at = 0;
  const Verdict verdict = Judged(breaker);
  EXPECT_EQ(verdict.result(), Verdict::FAIL);
  EXPECT_THAT(verdict.reason(), HasSubstr("never opened"));
  EXPECT_THAT(verdict.reason(), HasSubstr("100 % of the usual calls went on over edge recommend"));
}

TEST(CircuitBreaker, FailsWhenItOpensTooLate) {
  SimulatedBreaker breaker;
  breaker.opens_late = 3;
  EXPECT_EQ(Judged(breaker).result(), Verdict::PASS);
  CircuitBreaker spec = OpenFor2s();
  spec.mutable_opens_within()->set_seconds(2);
  const Verdict verdict = Judged(breaker, spec);
  EXPECT_EQ(verdict.result(), Verdict::FAIL);
  EXPECT_THAT(verdict.reason(), HasSubstr("opened 3."));
}

TEST(CircuitBreaker, FailsWhenItNeverCloses) {
  SimulatedBreaker breaker;
  breaker.closes = false;
  const Verdict verdict = Judged(breaker);
  EXPECT_EQ(verdict.result(), Verdict::FAIL);
  EXPECT_THAT(verdict.reason(), HasSubstr("did not close"));
  EXPECT_THAT(verdict.reason(), HasSubstr("0 % of the usual calls are answered"));
}

TEST(CircuitBreaker, FailsWhenItProbesForEverAndNeverCloses) {
  SimulatedBreaker breaker;
  breaker.closes = false;
  breaker.tries_on = true;
  const Verdict verdict = Judged(breaker);
  EXPECT_EQ(verdict.result(), Verdict::FAIL);
  EXPECT_THAT(verdict.reason(), HasSubstr("did not close"));
  EXPECT_THAT(verdict.reason(), HasSubstr("it tried 11 calls meanwhile, of which 11 were answered, and did not stay closed"));
}

TEST(CircuitBreaker, FailsWhenAHangingProbeWedgesItHalfOpen) {
  SimulatedBreaker breaker;
  breaker.wedges = true;
  const Verdict verdict = Judged(breaker);
  EXPECT_EQ(verdict.result(), Verdict::FAIL);
  EXPECT_THAT(verdict.reason(), HasSubstr("did not close"));
  EXPECT_THAT(verdict.reason(), HasSubstr("it has tried nothing since the probe at 14.3 s"));
  EXPECT_THAT(verdict.reason(), HasSubstr("wedged half-open"));
}

TEST(CircuitBreaker, FailsWhenItNeverTriesAgain) {
  SimulatedBreaker breaker;
  breaker.open_time = 1000;
  const Verdict verdict = Judged(breaker);
  EXPECT_EQ(verdict.result(), Verdict::FAIL);
  EXPECT_THAT(verdict.reason(), HasSubstr("it has tried nothing since it opened at 12.3 s"));
}

TEST(CircuitBreaker, OpensInTimeExactlyOnTheBudgetAndNoLater) {
  // The first call fails 0.301 s after the injection; the last one begins 25 ms later.
  CircuitBreaker spec = OpenFor2s();
  spec.mutable_opens_within()->set_seconds(0);
  spec.mutable_opens_within()->set_nanos(25'000'000);
  EXPECT_EQ(Judged(SimulatedBreaker(), spec).result(), Verdict::PASS);
  spec.mutable_opens_within()->set_nanos(24'999'999);
  const Verdict verdict = Judged(SimulatedBreaker(), spec);
  EXPECT_EQ(verdict.result(), Verdict::FAIL);
  EXPECT_EQ(verdict.measured(), "25.0 ms");
}

TEST(CircuitBreaker, IsInconclusiveWhenOneAnswerTooFewTellsThatItFailsFast) {
  // 25 calls are missing in an open time of 2 s at 12.5/s, and 20 answers are needed.
  TimelineBuilder builder = Simulation(SimulatedBreaker()).builder();
  Timeline timeline = builder.Build();
  auto& requests = timeline.requests["checkout"];
  int kept = 0;
  requests.erase(std::remove_if(requests.begin(), requests.end(),
                                [&](const Request& request) {
                                  const bool open = request.outcome == DEGRADED && request.AnswerNs() < 100'000'000;
                                  return open && ++kept > 19;
                                }),
                 requests.end());
  const Verdict verdict = JudgeCircuitBreaker(OpenFor2s(), timeline).verdict;
  EXPECT_EQ(verdict.result(), Verdict::INCONCLUSIVE) << verdict.DebugString();
}

TEST(CircuitBreakerWithoutHalfOpen, LetsAllCallsBackAndMustOpenAgainAsFastAsTheFirstTime) {
  // As outlier detection: once the open time is over every call comes back until enough have failed.
  SimulatedBreaker breaker;
  breaker.probes = 1000;
  CircuitBreaker spec = OpenFor2s();
  spec.set_probes(0);
  spec.mutable_opens_within()->set_seconds(1);
  const Verdict verdict = Judged(breaker, spec);
  EXPECT_EQ(verdict.result(), Verdict::PASS) << verdict.DebugString();
  EXPECT_THAT(verdict.reason(), HasSubstr("at once at most (no limit)"));
  breaker.reopens = false;
  EXPECT_EQ(Judged(breaker, spec).result(), Verdict::FAIL);
  EXPECT_THAT(Judged(breaker, spec).reason(), HasSubstr("did not stay open after calls came back and failed"));
}

TEST(CircuitBreaker, FailsWhenItClosesOneBinAfterTheBudget) {
  // It tripped 0.32 s into the fault, and each of four failed probes took it 2.3 s further: it tries
  // again 1.5 s after healing.
  CircuitBreaker spec = OpenFor2s();
  spec.mutable_closes_within()->set_seconds(1);
  spec.mutable_closes_within()->set_nanos(500'000'000);
  const Verdict verdict = Judged(SimulatedBreaker(), spec);
  EXPECT_EQ(verdict.result(), Verdict::PASS);
  EXPECT_EQ(verdict.measured(), "1.5 s");
  EXPECT_EQ(verdict.margin(), "0.0 ms");
  spec.mutable_closes_within()->set_nanos(400'000'000);
  EXPECT_EQ(Judged(SimulatedBreaker(), spec).result(), Verdict::FAIL);
}

TEST(CircuitBreaker, IsInconclusiveWhereOthersHadTheCoresForMostOfTheTime) {
  CircuitBreaker spec = OpenFor2s();
  spec.mutable_closes_within()->set_seconds(1);
  // From the injection at 12 s until it had to be closed, 1 s after the healing.
  const auto starved = [&](double seconds) {
    Simulation simulation{SimulatedBreaker()};
    TimelineBuilder builder = simulation.builder();
    for (double at = 12; at < 12 + seconds; at += 0.2) builder.Starve("orders", at, 0.2);
    const Timeline timeline = builder.Build();
    return JudgeCircuitBreaker(spec, timeline, Stalls(timeline.starved, 50)).verdict;
  };
  EXPECT_EQ(starved(0).result(), Verdict::FAIL);
  EXPECT_EQ(starved(4).result(), Verdict::FAIL);
  EXPECT_EQ(starved(9).result(), Verdict::INCONCLUSIVE);
  EXPECT_THAT(starved(9).reason(), HasSubstr("others had the cores, or the machine stood still, in 9"));
  EXPECT_EQ(starved(9).advice(), "run it again on a machine with less else to do");
}

TEST(CircuitBreaker, FailsWhenItFloodsTheDependencyWithProbes) {
  SimulatedBreaker breaker;
  breaker.probes = 1000;
  const Verdict verdict = Judged(breaker);
  EXPECT_EQ(verdict.result(), Verdict::FAIL);
  EXPECT_THAT(verdict.reason(), HasSubstr("calls through at once when it tried again; at most 1 may"));
}

TEST(CircuitBreaker, FailsWhenAFailedProbeDoesNotOpenItAgain) {
  SimulatedBreaker breaker;
  breaker.reopens = false;
  const Verdict verdict = Judged(breaker);
  EXPECT_EQ(verdict.result(), Verdict::FAIL);
  EXPECT_THAT(verdict.reason(), HasSubstr("did not stay open after a failed probe"));
}

TEST(CircuitBreaker, FailsWhenItProbesTooSoon) {
  SimulatedBreaker breaker;
  breaker.open_time = 1.2;
  const Verdict verdict = Judged(breaker);
  EXPECT_EQ(verdict.result(), Verdict::FAIL);
  EXPECT_THAT(verdict.reason(), HasSubstr("after the call before; the open time is 2 s"));
  // One that opens for longer than it says is fine.
  breaker.open_time = 2.5;
  EXPECT_EQ(Judged(breaker).result(), Verdict::PASS);
}

TEST(CircuitBreaker, FailsWhenItIsSlowWhileOpen) {
  SimulatedBreaker breaker;
  breaker.open_ms = 50;
  EXPECT_EQ(Judged(breaker).result(), Verdict::PASS);
  breaker.open_ms = 50.001;
  const Verdict verdict = Judged(breaker);
  EXPECT_EQ(verdict.result(), Verdict::FAIL);
  EXPECT_THAT(verdict.reason(), HasSubstr("p99 of the answers while it was open is 50.0 ms"));
  EXPECT_EQ(verdict.examples_size(), 10);
}

TEST(CircuitBreaker, DoesNotTakeAServiceThatHangsForAnOpenBreaker) {
  // Calls stop, but no request is answered either.
  SimulatedBreaker breaker;
  breaker.open_ms = 1900;
  EXPECT_EQ(Judged(breaker).result(), Verdict::FAIL);
}

TEST(CircuitBreaker, IsInconclusiveWhenNoCallFailed) {
  TimelineBuilder builder;
  builder.Latency("slow", kInjected, kHealed);
  for (int i = 0; i < 9000; ++i) {
    builder.Add(i * 0.005, Reply{10, OK}).AddCall(i * 0.005 + 0.001, 8, ANSWERED);
  }
  const Verdict verdict = Judged(builder);
  EXPECT_EQ(verdict.result(), Verdict::INCONCLUSIVE);
  EXPECT_THAT(verdict.reason(), HasSubstr("no call over edge recommend failed during the fault"));
  EXPECT_THAT(verdict.advice(), HasSubstr("raise `delay`"));
}

TEST(CircuitBreaker, IsInconclusiveWhenTheFaultWasTooShortToOpenIt) {
  SimulatedBreaker breaker;
  breaker.trips_at = 0;
  CircuitBreaker spec = OpenFor2s();
  spec.mutable_opens_within()->set_seconds(60);
  const Verdict verdict = Judged(breaker, spec);
  EXPECT_EQ(verdict.result(), Verdict::INCONCLUSIVE);
  EXPECT_THAT(verdict.reason(), HasSubstr("but it may take 60 s"));
}

TEST(CircuitBreaker, IsInconclusiveWithoutCallsAtBaseline) {
  TimelineBuilder builder;
  builder.Latency("slow", kInjected, kHealed).Answer(0, 45, Reply{});
  EXPECT_THAT(Judged(builder).reason(), HasSubstr("makes no calls over edge recommend at baseline"));
}

TEST(CircuitBreaker, IsInconclusiveWhenTheOpenTimeIsTooShortToBeSeen) {
  CircuitBreaker spec = OpenFor2s();
  spec.mutable_open_time()->set_seconds(0);
  spec.mutable_open_time()->set_nanos(499'000'000);
  EXPECT_EQ(Judged(SimulatedBreaker(), spec).result(), Verdict::INCONCLUSIVE);
  EXPECT_THAT(Judged(SimulatedBreaker(), spec).reason(), HasSubstr("too short to be seen"));
}

TEST(CircuitBreaker, IsInconclusiveWhenTheRunEndsBeforeItCouldClose) {
  SimulatedBreaker breaker;
  breaker.closes = false;
  CircuitBreaker spec = OpenFor2s();
  spec.mutable_closes_within()->set_seconds(30);
  const Verdict verdict = Judged(breaker, spec);
  EXPECT_EQ(verdict.result(), Verdict::INCONCLUSIVE);
  EXPECT_THAT(verdict.reason(), HasSubstr("calls have not come back"));
}

TEST(CircuitBreakerOfADeadPeer, PassesWhenAttemptsStop) {
  SimulatedBreaker breaker;
  breaker.dead = true;
  const Verdict verdict = Judged(breaker);
  EXPECT_EQ(verdict.result(), Verdict::PASS) << verdict.DebugString();
  EXPECT_THAT(verdict.reason(), HasSubstr("tried to call the dead peer"));
}

TEST(CircuitBreakerOfADeadPeer, PassesWhenItCallsThePeerThatAnswersBeforeItsHealingIsConfirmed) {
  SimulatedBreaker breaker;
  breaker.dead = true;
  breaker.confirmed_late = 1;
  const Verdict verdict = Judged(breaker);
  EXPECT_EQ(verdict.result(), Verdict::PASS) << verdict.DebugString();
}

TEST(CircuitBreakerOfADeadPeer, DoesNotTakeTheFailuresThatOpenItForAttemptsWhileOpen) {
  // A look a second, from before, among and after the failures that open it: spread over a second they are few.
  for (const double first_look : {0.002, 0.012, 0.022, 0.102, 0.502, 0.902}) {
    SimulatedBreaker breaker;
    breaker.dead = true;
    breaker.cut = true;
    breaker.opens_late = -0.3;
    breaker.looks_every = 1;
    breaker.first_look = first_look;
    const Verdict verdict = Judged(breaker);
    EXPECT_EQ(verdict.result(), Verdict::PASS) << first_look << verdict.DebugString();
  }
}

TEST(CircuitBreakerOfADeadPeer, FailsWhenAttemptsGoOnAlthoughNoneArrives) {
  SimulatedBreaker breaker;
  breaker.dead = true;
  breaker.trips_at = 0;
  const Verdict verdict = Judged(breaker);
  EXPECT_EQ(verdict.result(), Verdict::FAIL);
  EXPECT_THAT(verdict.reason(), HasSubstr("never opened"));
}

TEST(CircuitBreakerOfADeadPeer, FailsWhenItProbesTooOften) {
  SimulatedBreaker breaker;
  breaker.dead = true;
  // One request in 27 still tries: quiet enough to count as open, and ten times what the open time allows.
  breaker.open_time = 0.13;
  const Verdict verdict = Judged(breaker);
  EXPECT_EQ(verdict.result(), Verdict::FAIL);
  EXPECT_THAT(verdict.reason(), HasSubstr("its open time allows 6 in 9."));
}

TEST(CircuitBreakerOfADeadPeer, IsInconclusiveWhenNoAttemptWasSeen) {
  TimelineBuilder builder;
  builder.Kill("gone", kInjected, kHealed);
  for (int i = 0; i < 9000; ++i) {
    const double at = i * 0.005;
    const bool dead = at >= kInjected && at < kHealed;
    builder.Add(at, dead ? Reply{1, DEGRADED} : Reply{10, OK});
    if (!dead) builder.AddCall(at + 0.001, 8, ANSWERED);
  }
  const Verdict verdict = Judged(builder);
  EXPECT_EQ(verdict.result(), Verdict::INCONCLUSIVE);
  EXPECT_THAT(verdict.reason(), HasSubstr("calls to a dead peer vanish with or without a breaker"));
}

TEST(CircuitBreakerOfADeadPeer, CannotCloseWhenThePeerStaysDead) {
  TimelineBuilder builder;
  builder.Kill("gone", kInjected, -1);
  const Verdict verdict = Judged(builder.Answer(0, 45, Reply{}));
  EXPECT_EQ(verdict.result(), Verdict::INCONCLUSIVE);
}

constexpr const char* kHiding[] = {"blackhole", "partition", "tls", "loss", "refuse", "reset", "limit_data"};

SimulatedBreaker Hidden(const std::string& fault) {
  SimulatedBreaker breaker;
  breaker.hides = fault;
  return breaker;
}

TEST(CircuitBreakerWhereCallsVanish, PassesWhenItStopsTryingToConnect) {
  for (const char* fault : kHiding) {
    // A look a second, whenever it is.
    for (const double first_look : {0.0, 0.002, 0.102, 0.302, 0.502, 0.902, 0.998}) {
      for (const bool pooled : {true, false}) {
        SimulatedBreaker breaker = Hidden(fault);
        breaker.first_look = first_look;
        breaker.pooled = pooled;
        if (breaker.hides == "tls" || breaker.hides == "refuse") breaker.hangs_ms = 4;
        const Verdict verdict = Judged(breaker);
        EXPECT_EQ(verdict.result(), Verdict::PASS) << fault << first_look << pooled << verdict.DebugString();
        EXPECT_THAT(verdict.reason(), HasSubstr("after the first connect that was tried (limit 5 s)"));
        EXPECT_THAT(verdict.reason(), HasSubstr("while open"));
      }
    }
  }
}

TEST(CircuitBreakerWhereCallsVanish, FailsWhenItGoesOnTrying) {
  for (const char* fault : kHiding) {
    for (const bool pooled : {true, false}) {
      SimulatedBreaker breaker = Hidden(fault);
      breaker.trips_at = 0;
      breaker.pooled = pooled;
      const Verdict verdict = Judged(breaker);
      EXPECT_EQ(verdict.result(), Verdict::FAIL) << fault << verdict.DebugString();
      EXPECT_THAT(verdict.reason(), HasSubstr("never opened: in the "));
      EXPECT_THAT(verdict.reason(), HasSubstr("from the first connect that was tried"));
    }
  }
}

TEST(CircuitBreakerWhereCallsVanish, FailsWhenItOpensMoreThanALookTooLate) {
  SimulatedBreaker breaker = Hidden("blackhole");
  breaker.opens_late = 3;
  CircuitBreaker spec = OpenFor2s();
  // The first look that tells of a connect is at 13 s, and the first that tells of few is that from 15 s on.
  spec.mutable_opens_within()->set_seconds(1);
  EXPECT_EQ(Judged(breaker, spec).result(), Verdict::PASS) << Judged(breaker, spec).DebugString();
  spec.mutable_opens_within()->set_seconds(0);
  spec.mutable_opens_within()->set_nanos(999'999'999);
  EXPECT_EQ(Judged(breaker, spec).result(), Verdict::FAIL);
  EXPECT_THAT(Judged(breaker, spec).reason(), HasSubstr("opened 2.0 s after the first connect that was tried"));
}

TEST(CircuitBreakerWhereCallsVanish, FailsWhenItProbesTooOften) {
  SimulatedBreaker breaker = Hidden("blackhole");
  breaker.hangs_ms = 4;
  breaker.open_time = 0.13;
  const Verdict verdict = Judged(breaker);
  EXPECT_EQ(verdict.result(), Verdict::FAIL) << verdict.DebugString();
  EXPECT_THAT(verdict.reason(), HasSubstr("tried to connect "));
  EXPECT_THAT(verdict.reason(), HasSubstr("its open time allows "));
}

TEST(CircuitBreakerWhereCallsVanish, FailsWhenAFailedProbeDoesNotOpenItAgain) {
  SimulatedBreaker breaker = Hidden("partition");
  breaker.reopens = false;
  EXPECT_EQ(Judged(breaker).result(), Verdict::FAIL);
}

TEST(CircuitBreakerWhereCallsVanish, FailsWhenItNeverCloses) {
  SimulatedBreaker breaker = Hidden("tls");
  breaker.closes = false;
  const Verdict verdict = Judged(breaker);
  EXPECT_EQ(verdict.result(), Verdict::FAIL);
  EXPECT_THAT(verdict.reason(), HasSubstr("did not close"));
}

TEST(CircuitBreakerWhereCallsVanish, FailsWhenItIsSlowWhileOpen) {
  SimulatedBreaker breaker = Hidden("blackhole");
  breaker.open_ms = 60;
  const Verdict verdict = Judged(breaker);
  EXPECT_EQ(verdict.result(), Verdict::FAIL);
  EXPECT_THAT(verdict.reason(), HasSubstr("p99 of the answers while it was open"));
}

TEST(CircuitBreakerWhereCallsVanish, IsInconclusiveWhereNobodyCountsTheConnects) {
  for (const char* fault : kHiding) {
    for (const int trips_at : {0, 6}) {
      SimulatedBreaker breaker = Hidden(fault);
      breaker.trips_at = trips_at;
      breaker.counted = false;
      const Verdict verdict = Judged(breaker);
      EXPECT_EQ(verdict.result(), Verdict::INCONCLUSIVE) << fault << verdict.DebugString();
      EXPECT_THAT(verdict.reason(), HasSubstr("calls vanish under this fault with or without a breaker"));
      EXPECT_THAT(verdict.advice(), HasSubstr("leave out `relay_at`"));
    }
  }
}

TEST(CircuitBreakerWhereCallsVanish, PassesWhenTheConnectionsThatItHadWereEnoughToOpenIt) {
  for (const int pool : {3, 50, 64, 90, 1000}) {
    for (const double opens_late : {0.0, 1.5}) {
      SimulatedBreaker breaker = Hidden("blackhole");
      breaker.pool = pool;
      breaker.opens_late = opens_late;
      const Verdict verdict = Judged(breaker);
      EXPECT_EQ(verdict.result(), Verdict::PASS) << pool << verdict.DebugString();
      if (pool == 1000) {
        EXPECT_THAT(verdict.reason(), HasSubstr("opened within its 5 s: no connect"));
      }
    }
  }
}

TEST(CircuitBreakerWhereCallsVanish, FailsWhenItWaitsForEverOnTheConnectionsThatItHad) {
  // As one whose calls share a connection: it tries no other, and has no breaker.
  SimulatedBreaker breaker = Hidden("partition");
  breaker.pool = 1 << 20;
  breaker.trips_at = 0;
  const Verdict verdict = Judged(breaker);
  EXPECT_EQ(verdict.result(), Verdict::FAIL) << verdict.DebugString();
  EXPECT_THAT(verdict.reason(), HasSubstr("p99 of the answers while it was open is 302"));
  CircuitBreaker spec = OpenFor2s();
  spec.mutable_opens_within()->set_seconds(9);
  spec.mutable_opens_within()->set_nanos(900'000'000);
  EXPECT_EQ(Judged(breaker, spec).result(), Verdict::INCONCLUSIVE);
}

TEST(CircuitBreakerWhereCallsVanish, IsInconclusiveWhenNothingWasTriedAndNobodyFeltIt) {
  TimelineBuilder builder;
  builder.Hides("blackhole", kInjected, kHealed).Answer(0, kEnd, Reply{});
  for (double at = 0; at < kEnd; at += TimelineBuilder::kEverySeconds) {
    if (at < kInjected || at >= kHealed) builder.AddCall(at, 5, ANSWERED);
  }
  for (int at = 0; at < 45; ++at) builder.Connects(at, 4);
  const Verdict verdict = Judged(builder);
  EXPECT_EQ(verdict.result(), Verdict::INCONCLUSIVE) << verdict.DebugString();
  EXPECT_THAT(verdict.reason(), HasSubstr("no connect over edge recommend was tried during the fault"));
}

TEST(CircuitBreakerWhereCallsVanish, IsJudgedByEachProcessAlone) {
  SimulatedBreaker well = Hidden("blackhole"), bad = Hidden("blackhole");
  bad.trips_at = 0;
  const auto judged = [](const SimulatedBreaker& last) {
    return Judged(Simulation(std::vector<std::pair<uint32_t, SimulatedBreaker>>{{100, Hidden("blackhole")}, {666, last}}).builder());
  };
  EXPECT_EQ(judged(well).result(), Verdict::PASS) << judged(well).DebugString();
  EXPECT_EQ(judged(bad).result(), Verdict::FAIL);
  EXPECT_THAT(judged(bad).reason(), ::testing::StartsWith("process 666: never opened"));
}

TEST(CircuitBreakerUnderADnsFault, IsNotJudgedByConnectsThatNeedAName) {
  TimelineBuilder builder;
  builder.Names("gone", kInjected, kHealed).Answer(0, kEnd, Reply{});
  int64_t connects = 0;
  for (int i = 0; i < 9000; ++i) {
    const double at = i * TimelineBuilder::kEverySeconds;
    if (at < kInjected || at >= kHealed) builder.AddCall(at, 5, ANSWERED), ++connects;
    if (i % 200 == 0) builder.Connects(at, connects);
  }
  builder.AddCall(kInjected - 0.001, 300, CALLER_LEFT);  // one was under way
  EXPECT_EQ(Judged(builder).result(), Verdict::INCONCLUSIVE) << Judged(builder).DebugString();
}

TEST(CircuitBreaker, StaysClosedIsNotJudgedWhereCallsVanish) {
  CircuitBreaker spec = OpenFor2s();
  spec.set_stays_closed(true);
  EXPECT_EQ(Judged(Hidden("blackhole"), spec).result(), Verdict::INCONCLUSIVE);
}

TEST(CircuitBreaker, IsFinalOnceCallsAreBack) {
  TimelineBuilder builder = Simulation(SimulatedBreaker()).builder();
  builder.StillRunningAt(kEnd);
  const Judgement judgement = JudgeCircuitBreaker(OpenFor2s(), builder.Build());
  EXPECT_EQ(judgement.verdict.result(), Verdict::PASS);
  EXPECT_TRUE(judgement.final);
}

TEST(CircuitBreaker, IsNotFinalWhileItMayStillClose) {
  SimulatedBreaker breaker;
  breaker.closes = false;
  TimelineBuilder builder = Simulation(breaker).builder();
  CircuitBreaker spec = OpenFor2s();
  spec.mutable_closes_within()->set_seconds(30);
  builder.StillRunningAt(kEnd);
  const Judgement judgement = JudgeCircuitBreaker(spec, builder.Build());
  EXPECT_EQ(judgement.verdict.result(), Verdict::INCONCLUSIVE);
  EXPECT_FALSE(judgement.final);
}

}  // namespace
}  // namespace squall
