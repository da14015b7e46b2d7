#include "controller/assertions/retry_budget.h"

#include <algorithm>
#include <cmath>
#include <random>
#include <vector>

#include "controller/assertions/timeline_builder.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace squall {
namespace {

using ::testing::HasSubstr;

using Reply = TimelineBuilder::Reply;

RetryBudget OneAndAFifth() {
  RetryBudget spec;
  spec.set_edge("recommend");
  spec.set_load("checkout");
  spec.set_at_most(1.2);
  spec.set_synchrony(3);
  spec.set_surge(1.5);
  spec.mutable_surge_for()->set_seconds(30);
  return spec;
}

RetryBudget WithAttempts(int attempts) {
  RetryBudget spec = OneAndAFifth();
  spec.set_at_most(1000);
  spec.set_attempts(attempts);
  return spec;
}

// 100 ms, 200 ms and so on, of which a half may be missing.
RetryBudget WithBackoff() {
  RetryBudget spec = OneAndAFifth();
  spec.set_at_most(1000);
  spec.mutable_backoff()->mutable_base()->set_nanos(100'000'000);
  spec.mutable_backoff()->set_multiplier(2);
  spec.mutable_backoff()->set_jitter(50);
  spec.mutable_backoff()->mutable_longest()->set_seconds(30);
  return spec;
}

// A service that makes a call for each request, and tries again what failed. Calls fail from 12 s to 22 s.
struct Service {
  int tries = 1;             // calls for a request at most
  int budget_percent = 100;  // of the failures are tried again
  double every = 0.005;      // seconds between requests
  double gap_ms = 5;         // between the attempts
  double grows = 1;          // the gap, each time
  double fails_ms = 5;       // how long a call takes that fails
  bool traced = true;
  bool in_step = false;      // retries wait for the next second
  double opens_after = 100;  // a breaker, so many seconds after the injection; some calls each 2 s
  double after = 1;          // calls for a request after healing
  double until = 22;
  double end = 55;
  CallResult result = FAILED;
};

class Retried {
 public:
  explicit Retried(const Service& service) : service_(service) {
    builder.Latency("slow", 12, service.until);
    // Counted in whole steps: what is added up drifts.
    for (int64_t i = 0; static_cast<double>(i) * service.every < service.end - 1e-9; ++i) {
      const double at = static_cast<double>(i) * service.every;
      const bool failing = at >= 12 - 1e-6 && at < service.until - 1e-6;
      Request(at, i, failing);
    }
  }

  TimelineBuilder builder;

 private:
  void Request(double at, int64_t i, bool failing) {
    builder.Add(at, failing ? Reply{20, ERROR, 503} : Reply{});
    const int64_t number = static_cast<int64_t>(at / TimelineBuilder::kEverySeconds + 0.5);
    if (!failing) {
      const bool healed = at > service_.until - 1e-6;
      const double calls = healed ? service_.after : 1;
      for (int call = 0; call < static_cast<int>(calls); ++call) AddCall(at + 0.001 + 0.0001 * call, 8, ANSWERED, number);
      const double share = calls - std::floor(calls);
      if (std::floor(static_cast<double>(i + 1) * share + 1e-6) > std::floor(static_cast<double>(i) * share + 1e-6))
        AddCall(at + 0.002, 8, ANSWERED, number);
      return;
    }
    if (at > 12 + service_.opens_after && std::fmod(at, 2) > 0.05) return;
    double start = at + 0.001;
    double gap = service_.gap_ms;
    for (int attempt = 0; attempt < service_.tries; ++attempt) {
      if (attempt > 0 && (i * 37) % 100 >= service_.budget_percent) return;
      AddCall(start, service_.fails_ms, service_.result, number);
      start += (service_.fails_ms + gap) / 1e3;
      gap *= service_.grows;
      if (service_.in_step) start = std::ceil(start);
    }
  }

  void AddCall(double start, double ms, CallResult result, int64_t number) {
    Call call;
    call.start_ns = TimelineBuilder::Ns(start);
    call.end_ns = call.start_ns + TimelineBuilder::Ns(ms / 1e3);
    call.result = result;
    if (service_.traced) call.trace = TimelineBuilder::kTrace;
    call.number = number;
    builder.AddCall(call);
  }

  Service service_;
};

Verdict Judged(const TimelineBuilder& builder, const RetryBudget& spec = OneAndAFifth()) {
  return JudgeRetryBudget(spec, builder.Build()).verdict;
}
Verdict Judged(const Service& service, const RetryBudget& spec = OneAndAFifth()) { return Judged(Retried(service).builder, spec); }

TEST(RetryBudget, PassesWhenNothingIsTriedAgain) {
  const Verdict verdict = Judged(Service());
  EXPECT_EQ(verdict.result(), Verdict::PASS) << verdict.reason();
  EXPECT_EQ(verdict.measured(), "1 x");
  EXPECT_EQ(verdict.limit(), "at most 1.2 x");
  EXPECT_EQ(verdict.margin(), "0.2 x");
  EXPECT_EQ(verdict.samples(), 2000);
  EXPECT_EQ(
      verdict.reason(),
      "calls over edge recommend were 1 x the usual while calls failed (limit 1.2 x); the busiest 100 ms had 1 x the mean (limit 3 x); calls "
      "over edge recommend were 1 x the usual after healing (limit 1.5 x)");
}

TEST(RetryBudget, PassesWhenRetriesKeepWithinTheirBudget) {
  EXPECT_EQ(Judged({.tries = 2, .budget_percent = 10}).result(), Verdict::PASS);
  EXPECT_EQ(Judged({.tries = 2, .budget_percent = 20}).result(), Verdict::PASS);
}

TEST(RetryBudget, FailsWhenEachFailureIsTriedThreeTimes) {
  const Verdict verdict = Judged({.tries = 3, .gap_ms = 0.5, .fails_ms = 0.5});
  EXPECT_EQ(verdict.result(), Verdict::FAIL);
  EXPECT_EQ(verdict.measured(), "3 x");
  EXPECT_EQ(verdict.first_broken_ns(), 12'000'000'000);
  EXPECT_THAT(verdict.reason(), HasSubstr("were 3 x the usual while calls failed (limit 1.2 x)"));
  EXPECT_THAT(verdict.reason(), HasSubstr("in 5.0 s, where 1,000 are usual for 1,000 requests"));
}

TEST(RetryBudget, FailsOnlyBeyondWhatChanceExplains) {
  // Of 1,000 usual calls in a window: (U - 2.33 sqrt(U)) / 1000 > 1.2 from U = 1,284 on.
  EXPECT_EQ(Judged({.tries = 2, .budget_percent = 28}).result(), Verdict::PASS);
  EXPECT_EQ(Judged({.tries = 2, .budget_percent = 29}).result(), Verdict::FAIL);
}

TEST(RetryBudget, FailsForOneBadWindowAmongGoodOnes) {
  Retried run({.until = 42, .end = 80});
  for (double at = 27; at < 32; at += 0.005) run.builder.AddCall(at, 5, FAILED);
  const Verdict verdict = Judged(run.builder);
  EXPECT_EQ(verdict.result(), Verdict::FAIL);
  EXPECT_EQ(verdict.first_broken_ns(), 27'000'000'000);
}

TEST(RetryBudget, IsInconclusiveWhenCallsAreTooFewToTell) {
  RetryBudget spec = OneAndAFifth();
  // 10 usual calls a second: three times as many are certainly too many, 1.3 times are not.
  EXPECT_EQ(Judged({.tries = 1, .every = 0.1}, spec).result(), Verdict::PASS);
  EXPECT_EQ(Judged({.tries = 3, .every = 0.1}, spec).result(), Verdict::FAIL);
  const Verdict verdict = Judged({.tries = 2, .budget_percent = 40, .every = 0.1}, spec);
  EXPECT_EQ(verdict.result(), Verdict::INCONCLUSIVE);
  EXPECT_THAT(verdict.reason(), HasSubstr("too few to tell it from chance"));
}

TEST(RetryBudget, IsInconclusiveWhenNoCallFails) {
  const Verdict verdict = Judged({.result = ANSWERED});
  EXPECT_EQ(verdict.result(), Verdict::INCONCLUSIVE);
  EXPECT_THAT(verdict.reason(), HasSubstr("no call over edge recommend failed"));
  EXPECT_THAT(verdict.advice(), HasSubstr("raise `delay`"));
}

TEST(RetryBudget, NeedsTwentyFailures) {
  const auto failed = [](int count) {
    Retried run({.result = ANSWERED});
    for (int i = 0; i < count; ++i) run.builder.AddCall(13 + i * 0.1, 5, PEER_LEFT);
    return Judged(run.builder);
  };
  EXPECT_EQ(failed(20).result(), Verdict::PASS);
  EXPECT_THAT(failed(19).reason(), HasSubstr("only 19 calls"));
}

TEST(RetryBudget, IsInconclusiveBehindAnOpenBreaker) {
  const Verdict verdict = Judged({.opens_after = 0.11});
  EXPECT_EQ(verdict.result(), Verdict::INCONCLUSIVE);
  EXPECT_THAT(verdict.reason(), HasSubstr("behind an open breaker"));
}

TEST(RetryBudget, JudgesWhatWasTriedBeforeABreakerOpened) {
  EXPECT_EQ(Judged({.opens_after = 4}).result(), Verdict::PASS);
  EXPECT_EQ(Judged({.tries = 3, .opens_after = 4}).result(), Verdict::FAIL);
}

TEST(RetryBudget, IsInconclusiveWhenTheFaultIsShort) {
  EXPECT_EQ(Judged({.until = 17}).result(), Verdict::PASS);
  const Verdict verdict = Judged({.until = 16.9});
  EXPECT_EQ(verdict.result(), Verdict::INCONCLUSIVE);
  EXPECT_THAT(verdict.reason(), HasSubstr("fault slow acted for 4.9 s"));
}

TEST(RetryBudget, JudgesTheRestOfTheFaultTheWindowsDoNotFill) {
  // From 17 s on no second window of 5 s fits behind the first.
  Retried run({.until = 21, .end = 60});
  for (double at = 17; at < 21; at += 0.005) run.builder.AddCall(at, 5, FAILED);
  EXPECT_EQ(Judged(run.builder).result(), Verdict::FAIL);
}

TEST(RetryBudget, IsInconclusiveWithoutCallsAtBaseline) {
  TimelineBuilder none;
  none.Latency("slow", 12, 22).Answer(0, 55, Reply{});
  EXPECT_THAT(Judged(none).reason(), HasSubstr("makes no calls over edge recommend at baseline"));
  EXPECT_THAT(Judged({.every = 0.15}).reason(), HasSubstr("100 are needed"));
}

// A dependency that is dead: connects are refused, and counted four times a second.
TimelineBuilder Dead(double times, double every = 0.005) {
  TimelineBuilder builder;
  builder.Kill("gone", 12, 22);
  for (int64_t i = 0; static_cast<double>(i) * every < 55; ++i) {
    const double at = static_cast<double>(i) * every;
    const bool failing = at >= 12 - 1e-6 && at < 22 - 1e-6;
    builder.Add(at, failing ? Reply{5, ERROR, 503} : Reply{});
    if (!failing) builder.AddCall(at + 0.001, 8, ANSWERED);
  }
  for (double at = 0.1; at < 55; at += 0.25) {
    builder.Refused(at, static_cast<int64_t>(times * std::clamp(at - 12, 0.0, 10.0) / every + 0.5));
  }
  return builder;
}

TEST(RetryBudget, CountsConnectsThatAreRefused) {
  EXPECT_EQ(Judged(Dead(1)).result(), Verdict::PASS) << Judged(Dead(1)).reason();
  EXPECT_EQ(Judged(Dead(3)).result(), Verdict::FAIL);
  EXPECT_THAT(Judged(Dead(1)).reason(), HasSubstr("whether retries come in step is not known"));
}

TEST(RetryBudget, DoesNotCountRefusedConnectsTwiceThatAreSeenAsCallsToo) {
  TimelineBuilder builder = Dead(1, 0.02);
  for (double at = 12; at < 22; at += 0.02) builder.AddCall(at + 0.001, 1, CONNECT_REFUSED);
  EXPECT_EQ(Judged(builder).measured(), "1 x");
}

// Packets vanish; connects are counted, and the service has no pool: one for each call.
TimelineBuilder Vanishing(double times, const std::string& kind = "blackhole", bool pooled = false) {
  TimelineBuilder builder;
  builder.Hides(kind, 12, 22);
  for (int64_t i = 0; i < 55 * 200; ++i) {
    const double at = static_cast<double>(i) * 0.005;
    const bool failing = i >= 12 * 200 && i < 22 * 200;
    builder.Add(at, failing ? Reply{300, ERROR, 503} : Reply{});
    if (!failing) builder.AddCall(at + 0.001, 8, ANSWERED);
  }
  for (double at = 0.1; at < 55; at += 0.5) {
    const double usual = pooled ? 0 : at - std::clamp(at - 12, 0.0, 10.0);
    builder.Connects(at, static_cast<int64_t>(200 * (usual + times * std::clamp(at - 12, 0.0, 10.0)) + 0.5));
  }
  return builder;
}

TEST(RetryBudget, CountsConnectsWhereCallsVanish) {
  for (const bool pooled : {false, true}) {
    EXPECT_EQ(Judged(Vanishing(1, "blackhole", pooled)).result(), Verdict::PASS)
        << Judged(Vanishing(1, "blackhole", pooled)).reason();
    EXPECT_EQ(Judged(Vanishing(3, "partition", pooled)).result(), Verdict::FAIL);
  }
}

TEST(RetryBudget, IsInconclusiveWhereNothingCountsWhatVanishes) {
  TimelineBuilder uncounted;
  uncounted.Hides("blackhole", 12, 22).Answer(0, 55, Reply{});
  for (double at = 0; at < 12; at += 0.005) uncounted.AddCall(at, 8, ANSWERED);
  EXPECT_THAT(Judged(uncounted).advice(), HasSubstr("leave out `relay_at`"));
  TimelineBuilder nameless;
  nameless.Names("gone", 12, 22).Answer(0, 55, Reply{}).Connects(0.1, 10).Connects(50, 20);
  for (double at = 0; at < 12; at += 0.005) nameless.AddCall(at, 8, ANSWERED);
  EXPECT_THAT(Judged(nameless).reason(), HasSubstr("nothing counts the attempts"));
}

TEST(RetryBudget, AllowsASurgeOfOneAndAHalfAndNoMore) {
  EXPECT_EQ(Judged({.after = 1.5}).result(), Verdict::PASS);
  EXPECT_EQ(Judged({.after = 1.59}).result(), Verdict::PASS);  // may be chance
  const Verdict verdict = Judged({.after = 1.6});
  EXPECT_EQ(verdict.result(), Verdict::FAIL);
  EXPECT_EQ(verdict.first_broken_ns(), 22'000'000'000);
  EXPECT_THAT(verdict.reason(), HasSubstr("were 1.6 x the usual after healing (limit 1.5 x)"));
}

TEST(RetryBudget, IsInconclusiveWhenTheLoadEndsTooSoonForTheSurge) {
  EXPECT_EQ(Judged({.end = 52}).result(), Verdict::PASS);
  const Verdict verdict = Judged({.end = 51});
  EXPECT_EQ(verdict.result(), Verdict::INCONCLUSIVE);
  EXPECT_THAT(verdict.reason(), HasSubstr("ended too soon"));
}

TEST(RetryBudget, IsInconclusiveWhenAnotherFaultComesTooSoonOrStillActs) {
  RetryBudget spec = OneAndAFifth();
  spec.set_fault("slow");
  Retried next({});
  next.builder.Quota("busy", 30, 35);
  EXPECT_THAT(Judged(next.builder, spec).reason(), HasSubstr("the next fault came 8.0 s after healing"));
  Retried still({.after = 2});
  still.builder.Quota("busy", 15, 35);
  const Verdict verdict = Judged(still.builder, spec);
  EXPECT_EQ(verdict.result(), Verdict::INCONCLUSIVE);
  EXPECT_THAT(verdict.reason(), HasSubstr("fault busy was still acting"));
}

TEST(RetryBudget, JudgesNoSurgeOfOneThatStaysDead) {
  TimelineBuilder builder;
  builder.Kill("gone", 12, -1).Answer(0, 12, Reply{}).Answer(12, 22, Reply{5, ERROR, 503});
  for (double at = 0; at < 22; at += 0.005) builder.AddCall(at, 5, at < 12 ? ANSWERED : PEER_LEFT);
  Timeline timeline = builder.Build();
  for (PhaseEvent& phase : timeline.phases) phase.set_at_ns(21'000'000'000);
  EXPECT_EQ(JudgeRetryBudget(OneAndAFifth(), timeline).verdict.result(), Verdict::PASS);
}

TEST(RetryBudget, FailsWhenRetriesComeInStep) {
  // All failures of a second are tried again at its end.
  RetryBudget spec = OneAndAFifth();
  spec.set_at_most(10);
  const Verdict verdict = Judged({.tries = 2, .in_step = true}, spec);
  EXPECT_EQ(verdict.result(), Verdict::FAIL);
  EXPECT_THAT(verdict.reason(), HasSubstr("retries come in step: 220 calls over edge recommend in 100 ms"));
  EXPECT_EQ(Judged({.tries = 2}, spec).result(), Verdict::PASS);
}

TEST(RetryBudget, DoesNotTakeChanceForStep) {
  // 2 calls in a bin on average, at random: the busiest of 100 bins often has more than 6.
  std::mt19937 random(7);
  for (int repeat = 0; repeat < 30; ++repeat) {
    TimelineBuilder builder;
    builder.Latency("slow", 12, 22);
    std::exponential_distribution<double> gap(20);
    for (double at = 0; at < 55; at += gap(random)) {
      const double seen = std::floor(at * 1e6) / 1e6;
      const bool failing = seen >= 12 && seen < 22;
      builder.Add(seen, failing ? Reply{20, ERROR, 503} : Reply{}).AddCall(seen, 5, failing ? FAILED : ANSWERED);
    }
    EXPECT_NE(Judged(builder).result(), Verdict::FAIL) << Judged(builder).reason();
  }
}

TEST(RetryBudget, DoesNotHoldAgainstRetriesWhatComesInStepAnyway) {
  // Twice a second the service makes all calls of ten requests at once.
  TimelineBuilder builder;
  builder.Latency("slow", 12, 22);
  for (int i = 0; i < 1100; ++i) {
    const double at = 0.05 * i;
    const bool failing = i >= 240 && i < 440;
    builder.Add(at, failing ? Reply{20, ERROR, 503} : Reply{});
    for (int call = 0; i % 10 == 0 && call < 60; ++call) builder.AddCall(at + 0.001, 5, failing ? FAILED : ANSWERED);
  }
  EXPECT_EQ(Judged(builder).result(), Verdict::PASS) << Judged(builder).reason();
}

TEST(RetryBudget, CountsTheAttemptsOfEachRequest) {
  EXPECT_EQ(Judged({.tries = 3}, WithAttempts(3)).result(), Verdict::PASS);
  const Verdict verdict = Judged({.tries = 4, .budget_percent = 10}, WithAttempts(3));
  EXPECT_EQ(verdict.result(), Verdict::FAIL);
  EXPECT_THAT(verdict.reason(), HasSubstr("200 of 2,000 requests made more than 3 calls over edge recommend: one made 4"));
  EXPECT_EQ(verdict.examples_size(), 10);
  EXPECT_EQ(verdict.examples(0), "4bf92f3577b34da60000000000000960");
}

TEST(RetryBudget, IsInconclusiveWhenNoCallCarriesATraceId) {
  for (const RetryBudget& spec : {WithAttempts(3), WithBackoff()}) {
    const Verdict verdict = Judged({.tries = 3, .traced = false}, spec);
    EXPECT_EQ(verdict.result(), Verdict::INCONCLUSIVE);
    EXPECT_THAT(verdict.reason(), HasSubstr("no call over edge recommend carried the trace id"));
    EXPECT_THAT(verdict.advice(), HasSubstr("traceparent"));
  }
}

TEST(RetryBudget, IsInconclusiveWhenManyCallsCarryNoTraceId) {
  const auto with_others = [](int untraced) {
    Retried run({});
    for (int i = 0; i < untraced; ++i) run.builder.AddCall(12 + i * 0.01, 5, FAILED);
    return Judged(run.builder, WithAttempts(3));
  };
  EXPECT_EQ(with_others(222).result(), Verdict::PASS);
  EXPECT_THAT(with_others(223).reason(), HasSubstr("only 2,000 of 2,223 calls"));
}

TEST(RetryBudget, IsInconclusiveWhenRefusedConnectsHideTheAttempts) {
  const Verdict verdict = Judged(Dead(1), WithAttempts(3));
  EXPECT_EQ(verdict.result(), Verdict::INCONCLUSIVE);
  EXPECT_THAT(verdict.advice(), HasSubstr("carries no trace id"));
}

TEST(RetryBudget, PassesWhenAttemptsBackOff) {
  EXPECT_EQ(Judged({.tries = 3, .gap_ms = 100, .grows = 2}, WithBackoff()).result(), Verdict::PASS);
  EXPECT_EQ(Judged({.tries = 3, .gap_ms = 50, .grows = 2}, WithBackoff()).result(), Verdict::PASS);
  EXPECT_EQ(Judged({.tries = 2, .gap_ms = 40}, WithBackoff()).result(), Verdict::PASS);  // as seen from outside
}

TEST(RetryBudget, FailsWhenAttemptsComeTooSoon) {
  const Verdict verdict = Judged({.tries = 2, .gap_ms = 39.9}, WithBackoff());
  EXPECT_EQ(verdict.result(), Verdict::FAIL);
  EXPECT_EQ(verdict.measured(), "39.9 ms");
  EXPECT_EQ(verdict.limit(), "at least 50.0 ms");
  EXPECT_THAT(verdict.reason(), HasSubstr("2,000 of 2,000 retries came too soon"));
  EXPECT_EQ(verdict.examples_size(), 10);
}

TEST(RetryBudget, FailsWhenTheBackoffDoesNotGrow) {
  EXPECT_EQ(Judged({.tries = 2, .gap_ms = 60}, WithBackoff()).result(), Verdict::PASS);
  EXPECT_EQ(Judged({.tries = 3, .gap_ms = 60}, WithBackoff()).result(), Verdict::FAIL);
  RetryBudget spec = WithBackoff();
  spec.mutable_backoff()->mutable_longest()->set_seconds(0);
  spec.mutable_backoff()->mutable_longest()->set_nanos(120'000'000);
  EXPECT_EQ(Judged({.tries = 3, .gap_ms = 60}, spec).result(), Verdict::PASS);
}

TEST(RetryBudget, FailsWhenTheNextAttemptDoesNotWaitForTheLast) {
  const Verdict verdict = Judged({.tries = 2, .gap_ms = -30, .fails_ms = 100}, WithBackoff());
  EXPECT_EQ(verdict.result(), Verdict::FAIL);
  EXPECT_THAT(verdict.reason(), HasSubstr("30.0 ms before the attempt before had ended"));
}

TEST(RetryBudget, AllowsOneRetryInAHundredToComeTooSoon) {
  const auto early = [](int percent) {
    Retried run({.tries = 2, .gap_ms = 100, .end = 55});
    Timeline timeline = run.builder.Build();
    std::vector<Call>& calls = timeline.calls["recommend"];
    for (Call& call : calls) {
      const bool second =
          call.result == FAILED && call.start_ns > 0 && (call.start_ns / 1000) % 5000 == 1000 && call.number % 100 < percent;
      const bool retry = second && std::any_of(calls.begin(), calls.end(), [&](const Call& other) {
                           return other.number == call.number && other.result == FAILED && other.start_ns < call.start_ns;
                         });
      if (retry) call.start_ns -= 90'000'000, call.end_ns -= 90'000'000;
    }
    timeline.Sort();
    return JudgeRetryBudget(WithBackoff(), timeline).verdict;
  };
  EXPECT_EQ(early(1).result(), Verdict::PASS) << early(1).reason();
  EXPECT_EQ(early(2).result(), Verdict::FAIL) << early(2).reason();
}

TEST(RetryBudget, IsInconclusiveWhenNothingBacksOff) {
  const Verdict verdict = Judged(Service(), WithBackoff());
  EXPECT_EQ(verdict.result(), Verdict::INCONCLUSIVE);
  EXPECT_THAT(verdict.reason(), HasSubstr("nothing over edge recommend was tried again"));
}

TEST(RetryBudget, DoesNotTakeACallBesideAnotherForARetry) {
  Retried run({.tries = 2});
  for (int i = 0; i < 12 * 200; ++i) {
    Call call;
    call.start_ns = TimelineBuilder::Ns(i * 0.005 + 0.002);
    call.end_ns = call.start_ns + 5'000'000;
    call.result = ANSWERED;
    call.trace = TimelineBuilder::kTrace;
    call.number = i;
    run.builder.AddCall(call);
  }
  const Verdict verdict = Judged(run.builder, WithBackoff());
  EXPECT_EQ(verdict.result(), Verdict::INCONCLUSIVE);
  EXPECT_THAT(verdict.reason(), HasSubstr("when nothing fails"));
}

TEST(RetryBudget, LeavesOutWhenTheMachineStoodStill) {
  // What piled up meanwhile comes at once.
  Retried run({});
  for (int i = 0; i < 100; ++i) run.builder.AddCall(15.42, 5, FAILED);
  EXPECT_EQ(Judged(run.builder).result(), Verdict::FAIL);
  EXPECT_EQ(Judged(run.builder.StandStill(15, 400)).result(), Verdict::PASS);
  // Neither calls nor requests of these two seconds count, nor the connects that were counted meanwhile.
  Retried twice({.tries = 2});
  EXPECT_EQ(Judged(twice.builder.StandStill(13, 2200)).first_broken_ns(), 12'000'000'000);
  EXPECT_EQ(Judged(Dead(1).StandStill(13, 2200)).result(), Verdict::PASS);
  Retried still({});
  for (double at = 12; at < 22; at += 0.2) still.builder.StandStill(at, 80);
  EXPECT_THAT(Judged(still.builder).reason(), HasSubstr("stood still"));
}

TEST(RetryBudget, IsFinalOnceTheSurgeIsOver) {
  const auto at = [](double end, double after) {
    Retried run({.tries = after < 0 ? 3 : 1, .after = 1, .end = end});
    return JudgeRetryBudget(OneAndAFifth(), run.builder.StillRunningAt(end).Build());
  };
  EXPECT_FALSE(at(50, 1).final);
  EXPECT_EQ(at(50, 1).verdict.result(), Verdict::INCONCLUSIVE);
  EXPECT_TRUE(at(54.1, 1).final);
  EXPECT_EQ(at(54.1, 1).verdict.result(), Verdict::PASS);
  // What is broken already stays so.
  EXPECT_TRUE(at(30, -1).final);
  EXPECT_EQ(at(30, -1).verdict.result(), Verdict::FAIL);
}

TEST(RetryBudget, IsInconclusiveWithoutData) {
  EXPECT_EQ(Judged(TimelineBuilder()).result(), Verdict::INCONCLUSIVE);
  Retried run({});
  run.builder.Event("slow", FaultEvent::HEALED).set_state(FaultEvent::HEALING);
  EXPECT_EQ(Judged(run.builder.End(Footer::GUARDRAIL)).result(), Verdict::INCONCLUSIVE);
}

}  // namespace
}  // namespace squall
