#include "controller/assertions/circuit_breaker.h"

#include <algorithm>
#include <queue>
#include <vector>

#include "controller/assertions/timeline_builder.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace squall {
namespace {

using ::testing::HasSubstr;

using Reply = TimelineBuilder::Reply;

constexpr double kInjected = 12;
constexpr double kHealed = 22;
constexpr double kEnd = 45;

// A service with a breaker, and what is wrong with it. It gives a call 300 ms, then answers with a fallback.
struct Breaker {
  int trips_at = 6;      // failures in a row; 0: never
  double open_time = 2;  // seconds
  int probes = 1;        // at a time
  bool closes = true;
  bool reopens = true;    // a failed probe opens it again
  double open_ms = 2;     // how long an answer takes while it is open
  bool dead = false;      // the peer is dead while the fault acts: calls are refused at once
  double opens_late = 0;  // ignores that many seconds of failures
};

// Sends requests from 0 to kEnd through it, as a service would behave.
class Simulation {
 public:
  explicit Simulation(const Breaker& breaker) : breaker_(breaker) {
    if (breaker.dead) {
      builder_.Kill("gone", kInjected, kHealed);
    } else {
      builder_.Latency("slow", kInjected, kHealed);
    }
    for (int64_t i = 0; i < static_cast<int64_t>(kEnd / TimelineBuilder::kEverySeconds); ++i) {
      const double at = static_cast<double>(i) * TimelineBuilder::kEverySeconds;
      Learn(at);
      Send(at);
    }
    if (breaker.dead) CountRefused();
  }

  TimelineBuilder& builder() { return builder_; }

 private:
  struct Failure {
    double at;
    bool probe;
    bool operator<(const Failure& other) const { return at > other.at; }
  };

  // What the breaker has learned of its calls by now.
  void Learn(double now) {
    while (!outcomes_.empty() && outcomes_.top().at <= now) {
      const Failure failure = outcomes_.top();
      outcomes_.pop();
      if (failure.at < kInjected + 0.3 + breaker_.opens_late) continue;
      ++in_a_row_;
      if (failure.probe) {
        half_open_ = 0;
        if (breaker_.reopens) open_until_ = failure.at + breaker_.open_time;
        if (!breaker_.reopens) open_ = false, in_a_row_ = -1000;
      } else if (!open_ && breaker_.trips_at > 0 && in_a_row_ >= breaker_.trips_at) {
        open_ = true;
        open_until_ = failure.at + breaker_.open_time;
      }
    }
  }

  void Send(double at) {
    const bool failing = at >= kInjected && at < kHealed;
    if (open_) {
      const bool may_probe = at >= open_until_ && half_open_ < breaker_.probes;
      if (!may_probe || (!failing && !breaker_.closes)) {
        builder_.Add(at, Reply{breaker_.open_ms, DEGRADED});
        return;
      }
      if (failing) {
        ++half_open_;
      } else {
        open_ = false;
        half_open_ = 0;
        in_a_row_ = 0;
      }
    }
    if (!failing) {
      builder_.Add(at, Reply{10, OK}).AddCall(at + 0.001, 8, ANSWERED);
    } else if (breaker_.dead) {
      builder_.Add(at, Reply{1, DEGRADED});
      refused_.push_back(at);
      outcomes_.push({at + 0.001, open_});
    } else {
      builder_.Add(at, Reply{302, DEGRADED}).AddCall(at + 0.001, 300, CALLER_LEFT);
      outcomes_.push({at + 0.301, open_});
    }
  }

  // The relay only counts what is refused, and says so four times a second.
  void CountRefused() {
    for (int64_t quarter = 0; quarter < static_cast<int64_t>(4 * kEnd); ++quarter) {
      const double at = static_cast<double>(quarter) / 4;
      builder_.Refused(
          at, std::count_if(refused_.begin(), refused_.end(), [at](double each) { return each < at; }));
    }
  }

  Breaker breaker_;
  TimelineBuilder builder_;
  std::priority_queue<Failure> outcomes_;
  std::vector<double> refused_;
  int in_a_row_ = 0;
  bool open_ = false;
  double open_until_ = 0;
  int half_open_ = 0;
};

CircuitBreaker OpenFor2s() {
  CircuitBreaker spec;
  spec.set_edge("recommend");
  spec.set_load("checkout");
  spec.mutable_open_time()->set_seconds(2);
  spec.mutable_opens_within()->set_seconds(5);
  spec.set_probes(1);
  return spec;
}

Verdict Judged(const TimelineBuilder& builder, const CircuitBreaker& spec = OpenFor2s()) {
  return JudgeCircuitBreaker(spec, builder.Build()).verdict;
}

Verdict Judged(const Breaker& breaker, const CircuitBreaker& spec = OpenFor2s()) {
  return Judged(Simulation(breaker).builder(), spec);
}

TEST(CircuitBreaker, PassesWhenItOpensFailsFastProbesAndCloses) {
  const Verdict verdict = Judged(Breaker());
  EXPECT_EQ(verdict.result(), Verdict::PASS) << verdict.DebugString();
  EXPECT_THAT(verdict.reason(), HasSubstr("after the first failed call (limit 5 s)"));
  EXPECT_THAT(verdict.reason(), HasSubstr("p99 of the answers while it was open is 2.0 ms (limit 50.0 ms)"));
  EXPECT_THAT(verdict.reason(), HasSubstr("tried again 4 times, with 1 call at once at most (limit 1)"));
  EXPECT_THAT(verdict.reason(), HasSubstr("closed "));
}

TEST(CircuitBreaker, PassesWithSeveralProbesWhereTheyAreAllowed) {
  Breaker breaker;
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
  EXPECT_THAT(verdict.reason(), HasSubstr("calls over edge recommend vanish whether or not a breaker opens"));
}

TEST(CircuitBreaker, FailsWhenItNeverOpens) {
  Breaker breaker;
  breaker.trips_at = 0;
  const Verdict verdict = Judged(breaker);
  EXPECT_EQ(verdict.result(), Verdict::FAIL);
  EXPECT_THAT(verdict.reason(), HasSubstr("never opened"));
  EXPECT_THAT(verdict.reason(), HasSubstr("100 % of the usual calls went on over edge recommend"));
}

TEST(CircuitBreaker, FailsWhenItOpensTooLate) {
  Breaker breaker;
  breaker.opens_late = 3;
  EXPECT_EQ(Judged(breaker).result(), Verdict::PASS);
  CircuitBreaker spec = OpenFor2s();
  spec.mutable_opens_within()->set_seconds(2);
  const Verdict verdict = Judged(breaker, spec);
  EXPECT_EQ(verdict.result(), Verdict::FAIL);
  EXPECT_THAT(verdict.reason(), HasSubstr("opened 3."));
}

TEST(CircuitBreaker, FailsWhenItNeverCloses) {
  Breaker breaker;
  breaker.closes = false;
  const Verdict verdict = Judged(breaker);
  EXPECT_EQ(verdict.result(), Verdict::FAIL);
  EXPECT_THAT(verdict.reason(), HasSubstr("did not close"));
  EXPECT_THAT(verdict.reason(), HasSubstr("0 % of the usual calls are answered"));
}

TEST(CircuitBreaker, FailsWhenItClosesOneBinAfterTheBudget) {
  // It tripped 0.32 s into the fault, and each of four failed probes took it 2.3 s further: it tries
  // again 1.5 s after healing.
  CircuitBreaker spec = OpenFor2s();
  spec.mutable_closes_within()->set_seconds(1);
  spec.mutable_closes_within()->set_nanos(500'000'000);
  const Verdict verdict = Judged(Breaker(), spec);
  EXPECT_EQ(verdict.result(), Verdict::PASS);
  EXPECT_EQ(verdict.measured(), "1.5 s");
  EXPECT_EQ(verdict.margin(), "0.0 ms");
  spec.mutable_closes_within()->set_nanos(400'000'000);
  EXPECT_EQ(Judged(Breaker(), spec).result(), Verdict::FAIL);
}

TEST(CircuitBreaker, FailsWhenItFloodsTheDependencyWithProbes) {
  Breaker breaker;
  breaker.probes = 1000;
  const Verdict verdict = Judged(breaker);
  EXPECT_EQ(verdict.result(), Verdict::FAIL);
  EXPECT_THAT(verdict.reason(), HasSubstr("calls through at once when it tried again; at most 1 may"));
}

TEST(CircuitBreaker, FailsWhenAFailedProbeDoesNotOpenItAgain) {
  Breaker breaker;
  breaker.reopens = false;
  const Verdict verdict = Judged(breaker);
  EXPECT_EQ(verdict.result(), Verdict::FAIL);
  EXPECT_THAT(verdict.reason(), HasSubstr("did not stay open after a failed probe"));
}

TEST(CircuitBreaker, FailsWhenItProbesTooSoon) {
  Breaker breaker;
  breaker.open_time = 1.2;
  const Verdict verdict = Judged(breaker);
  EXPECT_EQ(verdict.result(), Verdict::FAIL);
  EXPECT_THAT(verdict.reason(), HasSubstr("after the call before; the open time is 2 s"));
  // One that opens for longer than it says is fine.
  breaker.open_time = 2.5;
  EXPECT_EQ(Judged(breaker).result(), Verdict::PASS);
}

TEST(CircuitBreaker, FailsWhenItIsSlowWhileOpen) {
  Breaker breaker;
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
  Breaker breaker;
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
  Breaker breaker;
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
  EXPECT_EQ(Judged(Breaker(), spec).result(), Verdict::INCONCLUSIVE);
  EXPECT_THAT(Judged(Breaker(), spec).reason(), HasSubstr("too short to be seen"));
}

TEST(CircuitBreaker, IsInconclusiveWhenTheRunEndsBeforeItCouldClose) {
  Breaker breaker;
  breaker.closes = false;
  CircuitBreaker spec = OpenFor2s();
  spec.mutable_closes_within()->set_seconds(30);
  const Verdict verdict = Judged(breaker, spec);
  EXPECT_EQ(verdict.result(), Verdict::INCONCLUSIVE);
  EXPECT_THAT(verdict.reason(), HasSubstr("calls have not come back"));
}

TEST(CircuitBreakerOfADeadPeer, PassesWhenAttemptsStop) {
  Breaker breaker;
  breaker.dead = true;
  const Verdict verdict = Judged(breaker);
  EXPECT_EQ(verdict.result(), Verdict::PASS) << verdict.DebugString();
  EXPECT_THAT(verdict.reason(), HasSubstr("tried to call the dead peer"));
}

TEST(CircuitBreakerOfADeadPeer, FailsWhenAttemptsGoOnAlthoughNoneArrives) {
  Breaker breaker;
  breaker.dead = true;
  breaker.trips_at = 0;
  const Verdict verdict = Judged(breaker);
  EXPECT_EQ(verdict.result(), Verdict::FAIL);
  EXPECT_THAT(verdict.reason(), HasSubstr("never opened"));
}

TEST(CircuitBreakerOfADeadPeer, FailsWhenItProbesTooOften) {
  Breaker breaker;
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

TEST(CircuitBreaker, IsFinalOnceCallsAreBack) {
  TimelineBuilder builder = Simulation(Breaker()).builder();
  builder.StillRunningAt(kEnd);
  const Judgement judgement = JudgeCircuitBreaker(OpenFor2s(), builder.Build());
  EXPECT_EQ(judgement.verdict.result(), Verdict::PASS);
  EXPECT_TRUE(judgement.final);
}

TEST(CircuitBreaker, IsNotFinalWhileItMayStillClose) {
  Breaker breaker;
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
