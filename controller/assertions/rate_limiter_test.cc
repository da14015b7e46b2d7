#include "controller/assertions/rate_limiter.h"

#include <string>
#include <utility>

#include "controller/assertions/limited_run.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace squall {
namespace {

using ::testing::HasSubstr;
using ::testing::SizeIs;
using ::testing::StartsWith;

RateLimiter Limiter(double rate = 100, int burst = 20, RateLimiter::Model model = RateLimiter::MODEL_TOKEN_BUCKET) {
  RateLimiter spec;
  spec.set_load("checkout");
  spec.set_rate(rate);
  spec.set_burst(burst);
  spec.set_model(model);
  spec.set_instances(1);
  spec.mutable_period()->set_seconds(1);
  spec.mutable_rejects_within()->set_nanos(50'000'000);
  return spec;
}

Verdict Judged(const LimitedRun& run) {
  const Timeline timeline = run.Build();
  return JudgeRateLimiter(run.spec, timeline).verdict;
}

std::string DetailOf(const Verdict& verdict, const std::string& name) {
  for (const Detail& detail : verdict.details()) {
    if (detail.name() == name) return detail.value();
  }
  return "";
}

// ---- what sound limiters do

TEST(RateLimiter, PassesATokenBucketThatKeepsItsPromise) {
  const Verdict verdict = Judged(LimitedRun(Limiter(), Bucket(100, 20)));
  EXPECT_EQ(verdict.result(), Verdict::PASS) << verdict.reason() << verdict.DebugString();
  EXPECT_THAT(verdict.reason(), StartsWith("admits what it promises (100/s, 20 at once (token bucket)): at most "));
  EXPECT_THAT(verdict.limit(), StartsWith("at most "));
  EXPECT_EQ(DetailOf(verdict, "offered 80/s or less").substr(0, 5), "0 of ");
  EXPECT_THAT(DetailOf(verdict, "admitted when more is offered"), HasSubstr("of 200/s over"));
  EXPECT_THAT(DetailOf(verdict, "full burst after a quiet time"), HasSubstr("20 are promised"));
}

TEST(RateLimiter, PassesBucketsOfManyRatesAndBursts) {
  for (const auto& [rate, burst] : {std::pair(1.0, 1), std::pair(0.5, 3), std::pair(10.0, 100), std::pair(50.0, 1),
                                    std::pair(1000.0, 50), std::pair(333.3, 7)}) {
    const Verdict verdict = Judged(LimitedRun(Limiter(rate, burst), Bucket(rate, burst)));
    EXPECT_EQ(verdict.result(), Verdict::PASS) << rate << " " << burst << ": " << verdict.DebugString();
  }
}

TEST(RateLimiter, PassesNginxWithAndWithoutDelay) {
  for (const bool delays : {true, false}) {
    const Verdict verdict = Judged(LimitedRun(Limiter(100, 20, RateLimiter::MODEL_NGINX), Nginx(100, 20, delays)));
    EXPECT_EQ(verdict.result(), Verdict::PASS) << delays << verdict.DebugString();
  }
}

TEST(RateLimiter, PassesAFixedWindowOfWhichTwoMeetInTheBurst) {
  for (const double phase : {0.0, 0.25, 0.5, 0.62, 0.66, 0.7, 0.75}) {
    LimitedRun run(Limiter(100, 100, RateLimiter::MODEL_FIXED_WINDOW), FixedWindow(100, 1, phase));
    const Verdict verdict = Judged(run);
    EXPECT_EQ(verdict.result(), Verdict::PASS) << phase << verdict.DebugString();
  }
}

TEST(RateLimiter, PassesASlidingLog) {
  const Verdict verdict = Judged(LimitedRun(Limiter(100, 100, RateLimiter::MODEL_SLIDING_LOG), SlidingLog(100, 1)));
  EXPECT_EQ(verdict.result(), Verdict::PASS) << verdict.DebugString();
}

TEST(RateLimiter, PassesInstancesThatDoNotKnowEachOther) {
  RateLimiter spec = Limiter();
  spec.set_instances(3);
  const Limiting three = RoundRobin({Bucket(100, 20), Bucket(100, 20), Bucket(100, 20)});
  Verdict verdict = Judged(LimitedRun(spec, three));
  EXPECT_EQ(verdict.result(), Verdict::PASS) << verdict.DebugString();
  // One that were three is too much.
  verdict = Judged(LimitedRun(Limiter(), three));
  EXPECT_EQ(verdict.result(), Verdict::FAIL) << verdict.DebugString();
  EXPECT_THAT(verdict.reason(), StartsWith("too m"));
}

// ---- the bound

// A load of its own rate, far below the limit.
LimitedRun Calm(RateLimiter spec) {
  LimitedRun run(std::move(spec), [](double) { return Ruling{}; });
  run.load.clear_steps();
  run.load.set_rate(10);
  run.answer_ms = 0;
  return run;
}

// The same, with so many admitted requests at once, and 30 rejected ones.
Verdict JudgedWithBurst(int count, const RateLimiter& spec) {
  const LimitedRun run = Calm(spec);
  Timeline timeline = run.Build();
  std::vector<Request>& requests = timeline.requests["checkout"];
  for (int i = 0; i < count + 30; ++i) {
    Request request;
    request.intended_ns = request.sent_ns = request.end_ns = LimitedRun::Ns(20.05);
    request.number = 100'000 + i;
    request.status = i < count ? 200 : 429;
    request.outcome = i < count ? OK : REJECTED;
    requests.push_back(request);
  }
  timeline.Sort();
  return JudgeRateLimiter(spec, timeline).verdict;
}

TEST(RateLimiter, PassesExactlyAtTheBoundAndFailsOneAbove) {
  EXPECT_EQ(JudgedWithBurst(21, Limiter()).result(), Verdict::PASS) << JudgedWithBurst(21, Limiter()).DebugString();
  const Verdict verdict = JudgedWithBurst(22, Limiter());
  EXPECT_EQ(verdict.result(), Verdict::FAIL);
  EXPECT_EQ(verdict.reason(),
            "too many are admitted at once: 22 were sent and answered within 0 s, from 20.1 s on; a burst of 20 and 100/s "
            "allow 21 in that time, 1 fewer");
  EXPECT_EQ(verdict.measured(), "22 in 0 s");
  EXPECT_EQ(verdict.limit(), "at most 21 in 0 s");
  EXPECT_EQ(verdict.margin(), "-1");
  EXPECT_EQ(verdict.first_broken_ns(), LimitedRun::Ns(20.05));
  EXPECT_THAT(verdict.examples(), SizeIs(10));
}

TEST(RateLimiter, AllowsNginxOneMoreThanItsQueue) {
  EXPECT_EQ(JudgedWithBurst(22, Limiter(100, 20, RateLimiter::MODEL_NGINX)).result(), Verdict::PASS);
  EXPECT_EQ(JudgedWithBurst(23, Limiter(100, 20, RateLimiter::MODEL_NGINX)).result(), Verdict::FAIL);
}

TEST(RateLimiter, AllowsTwoFixedWindowsToMeetAndNoMore) {
  const RateLimiter fixed = Limiter(100, 100, RateLimiter::MODEL_FIXED_WINDOW);
  // Of the load itself 19 fall within a second of the burst; those before and after cannot both be in two windows.
  EXPECT_EQ(JudgedWithBurst(190, fixed).result(), Verdict::PASS) << JudgedWithBurst(190, fixed).reason();
  EXPECT_EQ(JudgedWithBurst(202, fixed).result(), Verdict::FAIL);
  const RateLimiter sliding = Limiter(100, 100, RateLimiter::MODEL_SLIDING_LOG);
  EXPECT_EQ(JudgedWithBurst(90, sliding).result(), Verdict::PASS) << JudgedWithBurst(90, sliding).reason();
  const Verdict verdict = JudgedWithBurst(102, sliding);
  EXPECT_EQ(verdict.result(), Verdict::FAIL);
  EXPECT_THAT(verdict.reason(), HasSubstr("100 in 1 s allow 101"));
}

TEST(RateLimiter, AddsTheBurstsOfInstances) {
  RateLimiter spec = Limiter();
  spec.set_instances(2);
  EXPECT_EQ(JudgedWithBurst(42, spec).result(), Verdict::PASS);
  EXPECT_EQ(JudgedWithBurst(43, spec).result(), Verdict::FAIL);
}

TEST(RateLimiter, FailsALimiterThatIsOffByItsBurst) {
  const Verdict verdict = Judged(LimitedRun(Limiter(), Bucket(100, 40)));
  EXPECT_EQ(verdict.result(), Verdict::FAIL);
  EXPECT_THAT(verdict.reason(), StartsWith("too many are admitted at once: ")) << verdict.DebugString();
  // The burst, though the 10 s above the limit have as many too many.
  EXPECT_THAT(verdict.measured(), StartsWith("4"));
  EXPECT_THAT(verdict.measured(), HasSubstr(" ms"));
}

TEST(RateLimiter, FailsALimiterWithTwiceItsRateForTheLongRun) {
  const Verdict verdict = Judged(LimitedRun(Limiter(), Bucket(200, 20)));
  EXPECT_EQ(verdict.result(), Verdict::FAIL);
  EXPECT_THAT(verdict.reason(), StartsWith("too much is admitted in the long run: of 200/s offered for "));
  EXPECT_THAT(verdict.reason(), HasSubstr("200/s were admitted; the limit is 100/s"));
}

TEST(RateLimiter, FailsALimiterThatAdmitsATenthTooMuch) {
  EXPECT_EQ(Judged(LimitedRun(Limiter(), Bucket(110, 20))).result(), Verdict::FAIL);
}

TEST(RateLimiter, FailsNginxWithTwiceTheQueue) {
  const RateLimiter spec = Limiter(100, 20, RateLimiter::MODEL_NGINX);
  EXPECT_THAT(Judged(LimitedRun(spec, Nginx(100, 40, false))).reason(), StartsWith("too many are admitted at once"));
  // What waits is answered as slowly as it is admitted: only how long it waits tells.
  EXPECT_THAT(Judged(LimitedRun(spec, Nginx(100, 40, true))).reason(), StartsWith("the queue is longer than promised"));
  EXPECT_THAT(Judged(LimitedRun(spec, Nginx(200, 20, true))).reason(), StartsWith("too much is admitted in the long run"));
}

TEST(RateLimiter, FailsASlidingLogThatIsAFixedWindow) {
  // Where two windows meet in the burst.
  int failed = 0;
  for (double phase = 0; phase < 1; phase += 0.02) {
    LimitedRun run(Limiter(100, 100, RateLimiter::MODEL_SLIDING_LOG), FixedWindow(100, 1, phase));
    failed += Judged(run).result() == Verdict::FAIL;
  }
  EXPECT_GE(failed, 1);
}

TEST(RateLimiter, ForgivesWhatAStartedServiceAdmitsAnew) {
  LimitedRun run(Limiter(), Bucket(100, 20));
  const double restart = run.StepAt(5) + 4;
  run.limiting = [bucket = Bucket(100, 20), fresh = Bucket(100, 20), restart](double at) mutable {
    return at < restart ? bucket(at) : fresh(at);
  };
  EXPECT_EQ(Judged(run).result(), Verdict::FAIL);
  run.restarts = {restart};
  EXPECT_EQ(Judged(run).result(), Verdict::PASS) << Judged(run).DebugString();
}

// ---- not too strict

TEST(RateLimiter, FailsALimiterThatIsTooStrictInTheLongRun) {
  Verdict verdict = Judged(LimitedRun(Limiter(), Bucket(60, 20)));
  EXPECT_EQ(verdict.result(), Verdict::FAIL);
  EXPECT_THAT(verdict.reason(), StartsWith("too strict: ")) << verdict.reason();
  EXPECT_THAT(verdict.reason(), HasSubstr("80/s or less were offered"));
  verdict = Judged(LimitedRun(Limiter(), Bucket(90, 20)));
  EXPECT_EQ(verdict.result(), Verdict::FAIL);
  EXPECT_THAT(verdict.reason(), StartsWith("too strict: of 200/s offered")) << verdict.reason();
}

TEST(RateLimiter, PassesALimiterThatIsAlmostAsFastAsPromised) {
  EXPECT_EQ(Judged(LimitedRun(Limiter(), Bucket(97, 20))).result(), Verdict::PASS);
}

TEST(RateLimiter, FailsWhenMoreThanOneOfAThousandIsRejectedForNothing) {
  LimitedRun run(Limiter(), Bucket(100, 20));
  const double at = run.StepAt(4) + 5;
  int changed = 0;
  run.change = [&](Request& request) {
    if (request.sent_ns < LimitedRun::Ns(at) || changed++ > 1) return;
    request.outcome = REJECTED;
    request.status = 429;
  };
  EXPECT_EQ(Judged(run).result(), Verdict::FAIL);
  // Two of 1,455 are too many, two of 2,255 are not.
  run.load.mutable_steps(4)->mutable_for_()->set_seconds(20);
  changed = 0;
  EXPECT_EQ(Judged(run).result(), Verdict::PASS) << Judged(run).reason();
}

TEST(RateLimiter, FailsWhenTheBurstIsOneShort) {
  const Verdict verdict = Judged(LimitedRun(Limiter(10, 20), Bucket(10, 19)));
  EXPECT_EQ(verdict.result(), Verdict::FAIL) << verdict.DebugString();
  EXPECT_THAT(verdict.reason(), StartsWith("the full burst is not there: "));
  EXPECT_EQ(verdict.limit(), "at least 20");
}

TEST(RateLimiter, FailsWhenTheBurstDoesNotComeBack) {
  // Half of it is lost for ever with the first burst.
  LimitedRun run(Limiter(), Bucket(100, 20));
  const double lost = run.StepAt(6) + 0.05;
  run.limiting = [whole = Bucket(100, 20), half = Bucket(100, 10), lost](double at) mutable {
    return at < lost ? whole(at) : half(at);
  };
  const Verdict verdict = Judged(run);
  EXPECT_EQ(verdict.result(), Verdict::FAIL);
  EXPECT_THAT(verdict.reason(), StartsWith("the full burst is not there: "));
  EXPECT_GT(verdict.first_broken_ns(), LimitedRun::Ns(run.StepAt(6)));
}

// ---- how it answers

TEST(RateLimiter, FailsSlowRejections) {
  LimitedRun run(Limiter(), Bucket(100, 20));
  run.reject_ms = 50;
  EXPECT_EQ(Judged(run).result(), Verdict::PASS) << Judged(run).reason();
  run.reject_ms = 51;
  const Verdict verdict = Judged(run);
  EXPECT_EQ(verdict.result(), Verdict::FAIL);
  EXPECT_THAT(verdict.reason(), StartsWith("rejects slowly: p99 of "));
  EXPECT_EQ(verdict.measured(), "51.0 ms");
}

TEST(RateLimiter, DoesNotBlameTheLimiterForABusyMachine) {
  // One answer in 49 is slow, whatever it is.
  LimitedRun run(Limiter(), Bucket(100, 20));
  run.change = [](Request& request) {
    if (request.number % 49 == 0) request.end_ns = request.sent_ns + 60'000'000;
  };
  Verdict verdict = Judged(run);
  EXPECT_EQ(verdict.result(), Verdict::INCONCLUSIVE) << verdict.DebugString();
  EXPECT_THAT(verdict.reason(), HasSubstr("what was admitted at the same time was as slow"));
  // Only rejections are.
  run.change = [](Request& request) {
    if (request.number % 49 == 0 && request.outcome == REJECTED) request.end_ns = request.sent_ns + 60'000'000;
  };
  verdict = Judged(run);
  EXPECT_EQ(verdict.result(), Verdict::FAIL);
  EXPECT_THAT(verdict.reason(), StartsWith("rejects slowly: "));
}

TEST(RateLimiter, FailsWhatIsTurnedAwayInAnotherWay) {
  LimitedRun run(Limiter(), Bucket(100, 20));
  run.change = [](Request& request) {
    if (request.outcome != REJECTED) return;
    request.outcome = ERROR;
    request.status = 500;
  };
  const Verdict verdict = Judged(run);
  EXPECT_EQ(verdict.result(), Verdict::FAIL);
  EXPECT_THAT(verdict.reason(), StartsWith("not rejected as `rejected_when` says: "));
  EXPECT_THAT(verdict.reason(), HasSubstr("the first with status 500"));
}

LimitedRun Retried(int count) {
  RateLimiter spec = Limiter();
  spec.set_retry_after(true);
  LimitedRun run(spec, Bucket(100, 20));
  run.retry_after_ms = 1002;
  run.retries = count;
  return run;
}

TEST(RateLimiter, WantsARetryAfterThatIsKept) {
  LimitedRun run = Retried(20);
  EXPECT_EQ(Judged(run).result(), Verdict::PASS) << Judged(run).DebugString();
  EXPECT_EQ(DetailOf(Judged(run), "Retry-After").substr(0, 3), "on ");
  EXPECT_THAT(DetailOf(Judged(run), "Retry-After"), HasSubstr("1 s to 1 s; 20 of 20 that were sent again after it were admitted"));
  run.retries_admitted = false;
  EXPECT_THAT(Judged(run).reason(), StartsWith("Retry-After is not kept: only 0 of 20 requests"));
}

TEST(RateLimiter, IsInconclusiveOneRetryShort) {
  const Verdict verdict = Judged(Retried(19));
  EXPECT_EQ(verdict.result(), Verdict::INCONCLUSIVE);
  EXPECT_THAT(verdict.reason(), StartsWith("only 19 rejected requests could be sent again"));
}

TEST(RateLimiter, FailsARetryAfterThatIsMissingOrCannotBeRead) {
  LimitedRun run = Retried(20);
  run.retry_after_ms = 0;
  EXPECT_THAT(Judged(run).reason(), HasSubstr("carry no Retry-After"));
  run.retry_after_ms = 1;
  EXPECT_THAT(Judged(run).reason(), HasSubstr("neither seconds nor an HTTP date"));
  run.spec.set_retry_after(false);
  EXPECT_EQ(Judged(run).result(), Verdict::PASS);
}

// The load `browse`, 20/s, of which `lost` requests are lost from 20 s on.
std::vector<Request> Browsing(int lost) {
  std::vector<Request> requests;
  for (int i = 0; i < 800; ++i) {
    Request request;
    request.intended_ns = request.sent_ns = LimitedRun::Ns(1 + i * 0.05);
    request.end_ns = request.sent_ns + 1'000'000;
    request.number = i;
    const bool is_lost = request.intended_ns > LimitedRun::Ns(24) && lost-- > 0;
    request.status = is_lost ? 429 : 200;
    request.outcome = is_lost ? REJECTED : OK;
    requests.push_back(request);
  }
  return requests;
}

TEST(RateLimiter, OtherKeysMustNotFeelIt) {
  RateLimiter spec = Limiter();
  spec.add_others("browse");
  LimitedRun run(spec, Bucket(100, 20));
  EXPECT_EQ(Judged(run).result(), Verdict::INCONCLUSIVE) << "no data";
  EXPECT_THAT(Judged(run).reason(), StartsWith("load browse sent 0 requests"));
  run.other = Browsing(1);
  EXPECT_EQ(Judged(run).result(), Verdict::PASS) << Judged(run).DebugString();
  run.other = Browsing(5);
  EXPECT_EQ(Judged(run).result(), Verdict::FAIL);
  EXPECT_THAT(Judged(run).reason(), StartsWith("load browse feels the limit of checkout: it lost 5 of "));
}

// ---- no data never passes

TEST(RateLimiter, IsInconclusiveWhenTheLimitIsNeverReached) {
  LimitedRun run(Limiter(1000, 200), Bucket(1000, 200));
  run.load.clear_steps();
  run.load.set_rate(200);
  const Verdict verdict = Judged(run);
  EXPECT_EQ(verdict.result(), Verdict::INCONCLUSIVE);
  EXPECT_THAT(verdict.reason(), StartsWith("the limit was never reached: none of "));
  EXPECT_THAT(verdict.advice(), HasSubstr("leave out the load's `rate`"));
}

TEST(RateLimiter, IsInconclusiveWithoutAnyRequest) {
  LimitedRun run(Limiter(), Bucket(100, 20));
  Timeline timeline = run.Build();
  timeline.requests.clear();
  const Verdict verdict = JudgeRateLimiter(run.spec, timeline).verdict;
  EXPECT_EQ(verdict.result(), Verdict::INCONCLUSIVE);
  EXPECT_EQ(verdict.reason(), "no request of load checkout was sent");
}

TEST(RateLimiter, IsInconclusiveOneRejectionShort) {
  int rejected = 0;
  for (const int needed : {20, 19}) {
    LimitedRun run(Limiter(), Bucket(100, 20));
    run.load.clear_steps();
    run.load.set_rate(50);
    Timeline timeline = run.Build();
    std::vector<Request>& requests = timeline.requests["checkout"];
    for (int i = 0; i < 20 + needed; ++i) {
      Request request;
      request.intended_ns = request.sent_ns = request.end_ns = LimitedRun::Ns(20.005);
      request.number = 100'000 + i;
      request.status = i < 20 ? 200 : 429;
      request.outcome = i < 20 ? OK : REJECTED;
      requests.push_back(request);
    }
    timeline.Sort();
    const Verdict verdict = JudgeRateLimiter(run.spec, timeline).verdict;
    EXPECT_EQ(verdict.result(), needed == 20 ? Verdict::PASS : Verdict::INCONCLUSIVE) << verdict.DebugString();
    rejected += needed;
  }
  EXPECT_EQ(rejected, 39);
}

TEST(RateLimiter, JudgesWhatALoadOfItsOwnRateShows) {
  LimitedRun run(Limiter(), Bucket(100, 20));
  run.load.clear_steps();
  run.load.set_rate(200);
  EXPECT_EQ(Judged(run).result(), Verdict::PASS) << Judged(run).DebugString();
  EXPECT_EQ(DetailOf(Judged(run), "full burst after a quiet time"), "no burst was offered");
  run.limiting = Bucket(150, 20);
  EXPECT_THAT(Judged(run).reason(), StartsWith("too much is admitted in the long run: of 200/s offered for"));
  run.limiting = Bucket(60, 20);
  EXPECT_THAT(Judged(run).reason(), StartsWith("too strict: of 200/s offered for"));
}

TEST(RateLimiter, IsNotSettledBeforeThePlannedStepsAreOver) {
  LimitedRun run(Limiter(), Bucket(100, 20));
  run.running = true;
  run.last_seconds = 6;
  EXPECT_TRUE(JudgeRateLimiter(run.spec, run.Build()).final);
  run.last_seconds = 0;
  EXPECT_FALSE(JudgeRateLimiter(run.spec, run.Build()).final);
}

TEST(RateLimiter, LeavesWhatFaultsDoToALimiterOut) {
  // Everything is rejected once the planned steps are over.
  LimitedRun run(Limiter(), Bucket(100, 20));
  const int64_t over_ns = LimitedRun::Ns(run.StepAt(9));
  run.change = [&](Request& request) {
    if (request.sent_ns < over_ns) return;
    request.outcome = ERROR;
    request.status = 500;
  };
  EXPECT_EQ(Judged(run).result(), Verdict::PASS) << Judged(run).reason();
}

// ---- a machine that stands still

TEST(RateLimiter, DoesNotJudgeABurstInWhichTheMachineStoodStill) {
  LimitedRun run(Limiter(), Bucket(100, 20));
  run.stalls_ms = {{run.StepAt(2) + 0.01, 30}};
  Verdict verdict = Judged(run);
  EXPECT_EQ(verdict.result(), Verdict::PASS) << "the other burst is enough: " << verdict.reason();
  EXPECT_THAT(DetailOf(verdict, "full burst after a quiet time"), HasSubstr("(the machine stood still)"));
  run.stalls_ms = {{run.StepAt(2) + 0.01, 30}, {run.StepAt(7) + 0.01, 30}};
  verdict = Judged(run);
  EXPECT_EQ(verdict.result(), Verdict::INCONCLUSIVE);
  EXPECT_THAT(verdict.reason(), StartsWith("no burst can be judged: the machine stood still"));
}

TEST(RateLimiter, ForgivesWhatAClockThatStoodStillExplains) {
  // 25 within an instant, of which five came of a clock that was read before.
  RateLimiter spec = Limiter();
  LimitedRun run = Calm(spec);
  for (const bool stalled : {true, false}) {
    run.stalls_ms.clear();
    if (stalled) run.stalls_ms = {{20.0, 40}};
    Timeline timeline = run.Build();
    for (int i = 0; i < 50; ++i) {
      Request request;
      request.intended_ns = request.sent_ns = request.end_ns = LimitedRun::Ns(20.05);
      request.number = 100'000 + i;
      request.status = i < 25 ? 200 : 429;
      request.outcome = i < 25 ? OK : REJECTED;
      timeline.requests["checkout"].push_back(request);
    }
    timeline.Sort();
    const Verdict verdict = JudgeRateLimiter(spec, timeline).verdict;
    if (stalled) {
      EXPECT_NE(verdict.result(), Verdict::FAIL) << verdict.reason();
    } else {
      EXPECT_EQ(verdict.result(), Verdict::FAIL);
    }
  }
}

TEST(RateLimiter, IsInconclusiveWhenTheMachineStoodStillForLong) {
  LimitedRun run(Limiter(), Bucket(100, 20));
  for (int i = 0; i < 20; ++i) run.stalls_ms.push_back({run.StepAt(4) + i, 200});
  const Verdict verdict = Judged(run);
  EXPECT_EQ(verdict.result(), Verdict::INCONCLUSIVE);
  EXPECT_THAT(verdict.reason(), HasSubstr("the machine stood still in "));
}

}  // namespace
}  // namespace squall
