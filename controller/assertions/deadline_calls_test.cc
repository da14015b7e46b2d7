#include "controller/assertions/deadline_calls.h"

#include <cmath>
#include <optional>

#include "controller/assertions/timeline_builder.h"
#include "controller/assertions/timeout.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace squall {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::SizeIs;
using Reply = TimelineBuilder::Reply;

// One call over the edge for each request: `after_ms` later, for so long. Negative: it tells nothing.
struct Made {
  double after_ms = 2;
  double ms = 300;
  CallResult result = CALLER_LEFT;
  double told_ms = 298;
  uint16_t trace = TimelineBuilder::kTrace;  // 0: it carries no trace id
};

// The fault acts from 12 s to 22 s, in which requests are answered by a fallback 305 ms after they were sent. `at_least` of 20
// calls.
TimelineBuilder Called(double from, double to, const std::function<Made(double)>& made) {
  TimelineBuilder builder;
  builder.Latency("slow", 12, 22).Answer(0, 12, Reply{}).Answer(12, 22, Reply{305, DEGRADED}).Answer(22, 40, Reply{});
  const auto first = static_cast<int64_t>(from / TimelineBuilder::kEverySeconds + 0.5);
  const auto last = static_cast<int64_t>(to / TimelineBuilder::kEverySeconds + 0.5);
  for (int64_t i = first; i < last; ++i) {
    const double at = static_cast<double>(i) * TimelineBuilder::kEverySeconds;
    const Made each = made(at);
    Call call;
    call.start_ns = TimelineBuilder::Ns(at + each.after_ms / 1e3);
    call.end_ns = call.start_ns + TimelineBuilder::Ns(each.ms / 1e3);
    call.result = each.result;
    if (each.told_ms >= 0) call.timeout_ms_plus_1 = static_cast<uint32_t>(each.told_ms) + 1;
    call.trace = each.trace;
    if (each.trace != 0) call.number = i;
    builder.AddCall(call);
  }
  return builder;
}
TimelineBuilder Called(Made made) {
  return Called(12, 21.9, [made](double) { return made; });
}
// All but those at `at`.
TimelineBuilder CalledWith(std::vector<double> at, Made other, Made made = {}) {
  return Called(12, 21.9, [=](double now) {
    for (const double each : at) {
      if (std::abs(each - now) < 0.001) return other;
    }
    return made;
  });
}

// m = 60 ms, and the path 10 ms, since the fastest baseline request takes 10 ms.
Timeout Asked(bool propagates, bool cancels) {
  Timeout spec;
  spec.set_load("checkout");
  spec.mutable_deadline()->set_nanos(300'000'000);
  spec.set_at_least(20);
  spec.set_propagates(propagates);
  spec.set_cancels(cancels);
  spec.mutable_cancels_within()->set_nanos(200'000'000);
  return spec;
}
const Timeout kPropagates = Asked(true, false);
const Timeout kCancels = Asked(false, true);

Verdict Judged(const TimelineBuilder& builder, const Timeout& spec) { return JudgeTimeout(spec, builder.Build()).verdict; }
Verdict::Result Result(const TimelineBuilder& builder, const Timeout& spec) { return Judged(builder, spec).result(); }

TEST(DeadlineCalls, AreNotJudgedUnlessAskedFor) {
  const Verdict verdict = Judged(Called({.ms = 5000, .told_ms = -1}), Asked(false, false));
  EXPECT_EQ(verdict.result(), Verdict::PASS);
  EXPECT_EQ(verdict.reason(), "2,000 requests ran into the deadline of 300 ms; the slowest took 305.0 ms (limit 420.0 ms)");
}

TEST(DeadlineCalls, PassWhenTheyAreToldWhatIsLeftAndGivenUp) {
  const Verdict verdict = Judged(Called({}), Asked(true, true));
  EXPECT_EQ(verdict.result(), Verdict::PASS) << verdict.reason();
  EXPECT_EQ(verdict.reason(),
            "2,000 requests ran into the deadline of 300 ms; the slowest took 305.0 ms (limit 420.0 ms); 1,980 calls over "
            "recommend were "
            "told what is left of the deadline; 1,980 calls over recommend that ran into the deadline of 300 ms were given up, "
            "the last "
            "2.0 ms after it");
  EXPECT_EQ(verdict.measured(), "305.0 ms") << "what answers took comes first";
}

TEST(DeadlineCalls, FailWhenOneIsToldNothing) {
  const Verdict verdict = Judged(CalledWith({15}, {.told_ms = -1}), kPropagates);
  EXPECT_EQ(verdict.result(), Verdict::FAIL);
  EXPECT_EQ(
      verdict.reason(),
      "the deadline is not propagated: 1 of 1,980 calls over recommend told nothing of it (no grpc-timeout, and the edge has no "
      "`deadline_header`), so that the dependency may work on them for ever");
  EXPECT_EQ(verdict.first_broken_ns(), TimelineBuilder::Ns(15.002));
  EXPECT_THAT(verdict.examples(), ElementsAre("4bf92f3577b34da60000000000000bb8"));
  EXPECT_THAT(verdict.DebugString(), HasSubstr("2,000 requests ran into the deadline"))
      << "what the answers say is among the details";
  EXPECT_EQ(Judged(Called({.told_ms = -1}), kPropagates).measured(), "none told");
}

TEST(DeadlineCalls, FailWhenTheyAreToldThatNoTimeIsLeft) {
  EXPECT_EQ(Result(CalledWith({15}, {.told_ms = 1}), kPropagates), Verdict::PASS);
  const Verdict verdict = Judged(CalledWith({15}, {.told_ms = 0}), kPropagates);
  EXPECT_EQ(verdict.result(), Verdict::FAIL);
  EXPECT_THAT(verdict.reason(), HasSubstr("1 of 1,980 calls over recommend told that no time is left"));
}

TEST(DeadlineCalls, FailWhenTheyAreToldMoreThanIsLeft) {
  // 100 ms are spent: 200 ms are left, and 11 ms allowed for what lies between.
  EXPECT_EQ(Result(Called({.after_ms = 100, .told_ms = 211}), kPropagates), Verdict::PASS);
  const Verdict verdict = Judged(Called({.after_ms = 100, .told_ms = 212}), kPropagates);
  EXPECT_EQ(verdict.result(), Verdict::FAIL);
  EXPECT_EQ(verdict.reason(),
            "the deadline is not propagated: 1,980 of 1,980 calls over recommend told more than was left of 300 ms: the first "
            "212.0 ms, "
            "when 100.0 ms were spent");
  EXPECT_THAT(verdict.examples(), SizeIs(10));
  EXPECT_EQ(Result(Called({.after_ms = 100, .told_ms = 300}), kPropagates), Verdict::FAIL) << "the whole of it, every time";
}

TEST(DeadlineCalls, MaySometimesBeHeldUpWithinTheMargin) {
  EXPECT_EQ(Result(CalledWith({15}, {.told_ms = 358}), kPropagates), Verdict::PASS);
  EXPECT_EQ(Result(CalledWith({15}, {.told_ms = 359}), kPropagates), Verdict::FAIL);
  const auto some = [](int of_hundred) {
    return Called(12, 22, [of_hundred](double at) {
      return static_cast<int64_t>(at * 200 + 0.5) % 100 < of_hundred ? Made{.told_ms = 340} : Made{};
    });
  };
  EXPECT_EQ(Result(some(10), kPropagates), Verdict::PASS);
  EXPECT_EQ(Result(some(11), kPropagates), Verdict::FAIL);
}

TEST(DeadlineCalls, AreHeldAgainstTheWholeDeadlineWithoutATraceId) {
  const Verdict verdict = Judged(Called({.after_ms = 100, .told_ms = 360, .trace = 0}), kPropagates);
  EXPECT_EQ(verdict.result(), Verdict::PASS);
  EXPECT_THAT(verdict.reason(), HasSubstr("no call carries a trace id of the load"));
  EXPECT_EQ(Result(Called({.told_ms = 361, .trace = 0}), kPropagates), Verdict::FAIL);
  EXPECT_EQ(Result(Called({.told_ms = -1, .trace = 0}), kPropagates), Verdict::FAIL);
}

TEST(DeadlineCalls, OfOtherLoadsHaveDeadlinesOfTheirOwn) {
  const Made other = {.ms = 5000, .told_ms = 9000, .trace = TimelineBuilder::kTrace + 1};
  EXPECT_EQ(Result(CalledWith({15, 16, 17}, other), Asked(true, true)), Verdict::PASS);
}

TEST(DeadlineCalls, AreJudgedWhenTheyBeginWhileTheFaultActs) {
  for (const double at : {11.9, 22.1}) {
    TimelineBuilder builder = Called({});
    EXPECT_EQ(Result(builder.AddCall(at, 2000, ANSWERED), Asked(true, true)), Verdict::PASS) << at;
  }
  TimelineBuilder builder = Called({});
  EXPECT_EQ(Result(builder.AddCall(22, 2000, ANSWERED), Asked(true, true)), Verdict::FAIL);
}

TEST(DeadlineCalls, PassWhenTheyAreGivenUpJustInTime) {
  // Expiry is 298 ms after the start of the call, and 210 ms are allowed.
  EXPECT_EQ(Result(CalledWith({15}, {.ms = 508}), kCancels), Verdict::PASS);
  const Verdict verdict = Judged(CalledWith({15}, {.ms = 508.001}), kCancels);
  EXPECT_EQ(verdict.result(), Verdict::FAIL);
  EXPECT_EQ(verdict.reason(),
            "calls are not cancelled: 1 of 1,980 calls over recommend that ran into the deadline of 300 ms went on for more than "
            "200 ms "
            "after it, the longest for 210.0 ms");
  EXPECT_THAT(verdict.examples(), ElementsAre("4bf92f3577b34da60000000000000bb8"));
}

TEST(DeadlineCalls, FailWhenTheyGoOnWhateverBecomesOfThem) {
  for (const CallResult result : {ANSWERED, FAILED, CALLER_LEFT, PEER_LEFT, STILL_OPEN}) {
    EXPECT_EQ(Result(Called({.ms = 2000, .result = result}), kCancels), Verdict::FAIL) << result;
  }
  EXPECT_THAT(Judged(Called({.ms = 2000, .result = STILL_OPEN}), kCancels).reason(),
              HasSubstr("; 1,980 were still open when the run ended"));
  // Work that begins when nobody waits for it any more.
  EXPECT_EQ(Result(CalledWith({15}, {.after_ms = 600, .ms = 5, .result = ANSWERED}), kCancels), Verdict::FAIL);
}

TEST(DeadlineCalls, ExpireByWhatTheyWereToldWithoutATraceId) {
  EXPECT_EQ(Result(Called({.ms = 310, .told_ms = 100, .trace = 0}), kCancels), Verdict::PASS);
  EXPECT_EQ(Result(Called({.ms = 310.001, .told_ms = 100, .trace = 0}), kCancels), Verdict::FAIL);
  EXPECT_EQ(Result(Called({.ms = 510, .told_ms = -1, .trace = 0}), kCancels), Verdict::PASS);
  EXPECT_EQ(Result(Called({.ms = 510.001, .told_ms = -1, .trace = 0}), kCancels), Verdict::FAIL);
}

TEST(DeadlineCalls, AreInconclusiveWhenNoneWasOpenAtTheDeadline) {
  // Answered, though late: nobody had to give them up.
  const Verdict verdict = Judged(Called({.ms = 400, .result = ANSWERED}), kCancels);
  EXPECT_EQ(verdict.result(), Verdict::INCONCLUSIVE);
  EXPECT_EQ(verdict.reason(),
            "no call over recommend was open when the deadline of 300 ms had passed during the fault; 20 are needed");
  EXPECT_THAT(verdict.advice(), HasSubstr("hold calls up for longer than 510 ms"));
  // A service that gives up a little sooner, to answer in time, gives up at the deadline.
  EXPECT_EQ(Result(Called({.ms = 238}), kCancels), Verdict::PASS);
  EXPECT_EQ(Result(Called({.ms = 237.999}), kCancels), Verdict::INCONCLUSIVE);
}

TEST(DeadlineCalls, AreInconclusiveOneShort) {
  const auto some = [](int count, Made made) {
    return Called(12, 12 + count * TimelineBuilder::kEverySeconds, [made](double) { return made; });
  };
  EXPECT_EQ(Result(some(20, {}), Asked(true, true)), Verdict::PASS);
  const Verdict few = Judged(some(19, {}), kPropagates);
  EXPECT_EQ(few.result(), Verdict::INCONCLUSIVE);
  EXPECT_EQ(few.reason(), "19 calls over recommend began during the fault; 20 are needed");
  EXPECT_EQ(Result(some(19, {.told_ms = -1}), kPropagates), Verdict::INCONCLUSIVE);
  EXPECT_EQ(Result(some(19, {.ms = 2000}), kCancels), Verdict::INCONCLUSIVE);
  const Verdict none = Judged(Called(5, 6, [](double) { return Made{}; }), kPropagates);
  EXPECT_EQ(none.result(), Verdict::INCONCLUSIVE);
  EXPECT_THAT(none.advice(), HasSubstr("what is encrypted cannot be read"));
  EXPECT_EQ(Result(Called({.result = CONNECTION}), kPropagates), Verdict::INCONCLUSIVE);
}

TEST(DeadlineCalls, WeighNoLessThanTheAnswers) {
  // Nothing was answered late enough to tell, and calls go on all the same.
  TimelineBuilder quick;
  quick.Latency("slow", 12, 22).Answer(0, 40, Reply{});
  for (int i = 0; i < 100; ++i) {
    Call call;
    call.start_ns = TimelineBuilder::Ns(13 + i * 0.05);
    call.end_ns = call.start_ns + TimelineBuilder::Ns(2);
    call.result = ANSWERED;
    quick.AddCall(call);
  }
  EXPECT_EQ(Result(quick, kCancels), Verdict::FAIL);
  EXPECT_EQ(Result(quick, Asked(false, false)), Verdict::INCONCLUSIVE);
  // Answers that fail stay the reason.
  TimelineBuilder late = Called({.told_ms = -1});
  late.Add(15.0025, {510, OK});
  EXPECT_THAT(Judged(late, kPropagates).reason(), HasSubstr("had no answer by 420.0 ms"));
}

TEST(DeadlineCalls, AreLeftOutWhereAStallExplainsThem) {
  const Made slow = {.ms = 600};
  EXPECT_EQ(Result(CalledWith({15}, slow), kCancels), Verdict::FAIL);
  const Verdict verdict = Judged(CalledWith({15}, slow).StandStill(15.35, 100), kCancels);
  EXPECT_EQ(verdict.result(), Verdict::PASS) << verdict.reason();
  // What piled up meanwhile takes longer than the stall did, and ends.
  EXPECT_EQ(Result(CalledWith({15}, {.ms = 900}).StandStill(15.35, 100), kCancels), Verdict::PASS);
  EXPECT_EQ(Result(CalledWith({15}, {.ms = 900}).StandStill(15.8, 100), kCancels), Verdict::FAIL) << "it was to be given up before";
  EXPECT_EQ(Result(CalledWith({15}, {.ms = 2000}).StandStill(15.35, 100), kCancels), Verdict::FAIL);
  const Made held_up = {.after_ms = 150, .told_ms = 290};
  EXPECT_EQ(Result(CalledWith({15}, held_up), kPropagates), Verdict::FAIL);
  EXPECT_EQ(Result(CalledWith({15}, held_up).StandStill(15.01, 100), kPropagates), Verdict::PASS);
}

TEST(DeadlineCalls, AreInconclusiveWhereFewGoOnAndTheMachineWasNotAlwaysThere) {
  const auto late = [](int in_twenty) {
    int i = 0;
    return Called(12, 16, [=](double) mutable { return i++ % 20 < in_twenty ? Made{.ms = 2000} : Made{}; });
  };
  EXPECT_EQ(Result(late(1), kCancels), Verdict::FAIL);
  const Verdict verdict = Judged(late(1).StandStill(14, 300), kCancels);
  EXPECT_EQ(verdict.result(), Verdict::INCONCLUSIVE) << verdict.reason();
  EXPECT_EQ(verdict.advice(), "run it again on a machine with less else to do");
  EXPECT_EQ(Result(late(3).StandStill(14, 300), kCancels), Verdict::FAIL) << "15 % are not few";
}

TEST(DeadlineCalls, AreInconclusiveWhenStallsExplainTooMany) {
  TimelineBuilder builder = Called(12, 14, [](double at) {
    return at < 12.2 ? Made{.ms = 600} : at < 12.8 ? Made{.ms = 100, .result = ANSWERED} : Made{};
  });
  builder.StandStill(12.45, 100);
  EXPECT_EQ(Result(builder, kCancels), Verdict::INCONCLUSIVE);
  EXPECT_THAT(Judged(builder, kCancels).reason(), HasSubstr("stood still"));
}

TEST(DeadlineCalls, HoldForTheEdgeThatIsNamed) {
  Timeout spec = kPropagates;
  spec.set_edge("recommend");
  EXPECT_EQ(Result(Called({}), spec), Verdict::PASS);
  spec.set_edge("another");
  EXPECT_EQ(Result(Called({}), spec), Verdict::INCONCLUSIVE);
}

TEST(DeadlineCalls, AreFinalWhenTheRunHasEnded) {
  TimelineBuilder running = Called({});
  running.StillRunningAt(50);
  EXPECT_TRUE(JudgeTimeout(Asked(false, false), running.Build()).final);
  EXPECT_FALSE(JudgeTimeout(kCancels, running.Build()).final) << "one may still be open, and nobody has told of it";
  EXPECT_FALSE(JudgeTimeout(kPropagates, running.Build()).final);
  EXPECT_TRUE(JudgeTimeout(kCancels, Called({}).Build()).final);
  TimelineBuilder broken = Called({.ms = 2000});
  broken.StillRunningAt(25);
  EXPECT_TRUE(JudgeTimeout(kCancels, broken.Build()).final);
  TimelineBuilder early;  // a request of the fault is still waiting
  early.Latency("slow", 12, 22).Answer(0, 12, Reply{}).Answer(12, 21, Reply{305, DEGRADED}).StillRunningAt(22.5);
  for (int i = 0; i < 20; ++i) early.AddCall(13 + i * 0.1, 2000, ANSWERED);
  EXPECT_FALSE(JudgeTimeout(Asked(false, false), early.Build()).final);
  EXPECT_TRUE(JudgeTimeout(kCancels, early.Build()).final);
}

}  // namespace
}  // namespace squall
