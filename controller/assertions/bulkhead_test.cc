#include "controller/assertions/bulkhead.h"

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

// Ten at a time; load browse does not need recommend.
Bulkhead Ten() {
  Bulkhead spec;
  spec.set_edge("recommend");
  spec.set_load("checkout");
  spec.set_limit(10);
  spec.set_instances(1);
  spec.add_others("browse");
  spec.set_others_lose(0.5);
  spec.set_others_factor(1.25);
  spec.mutable_others_slack()->set_nanos(10'000'000);
  return spec;
}

struct Service {
  size_t limit = 10;      // calls at a time
  double gives_up = 0.3;  // seconds after which a call that hangs is given up
  double left_after = 0;  // seconds by which that is seen late
  double until = 22;      // recommend hangs from 12 s on
  double every = 0.005;
  std::function<Reply(double)> browse = [](double) { return Reply{}; };
};

// Each request makes a call if there is a slot left, else is answered by a fallback at once.
TimelineBuilder Built(const Service& service) {
  TimelineBuilder builder;
  builder.Latency("slow", 12, service.until).AddLoad("browse");
  std::priority_queue<double, std::vector<double>, std::greater<>> ends;
  for (double at = 0; at < 30; at += service.every) {
    const bool hangs = at >= 12 - 0.001 && at < service.until - 0.001;
    while (!ends.empty() && ends.top() <= at + 1e-6) ends.pop();
    if (!hangs) {
      builder.Add(at, Reply{}).AddCall(at + 0.001, 8, ANSWERED);
    } else if (ends.size() < service.limit) {
      ends.push(at + service.gives_up);
      builder.Add(at, Reply{1e3 * service.gives_up + 2, DEGRADED});
      builder.AddCall(at, 1e3 * (service.gives_up + service.left_after), service.gives_up < 0.5 ? CALLER_LEFT : ANSWERED);
    } else {
      builder.Add(at, Reply{2, DEGRADED});
    }
  }
  return builder.Answer(0, 12, Reply{}, "browse").Answer(12, 22, service.browse, "browse").Answer(22, 30, Reply{}, "browse");
}

Verdict Judged(const TimelineBuilder& builder, const Bulkhead& spec = Ten()) {
  return JudgeBulkhead(spec, builder.Build()).verdict;
}
Verdict Judged(const Service& service, const Bulkhead& spec = Ten()) { return Judged(Built(service), spec); }

// `other` to the first so many requests of the fault.
std::function<Reply(double)> FirstGet(int count, Reply other) {
  return [=](double at) { return at < 12 + count * TimelineBuilder::kEverySeconds - 0.001 ? other : Reply{}; };
}

TEST(Bulkhead, PassesWhenNoMoreThanTheLimitWait) {
  const Verdict verdict = Judged(Service());
  EXPECT_EQ(verdict.result(), Verdict::PASS) << verdict.reason();
  EXPECT_EQ(verdict.measured(), "10");
  EXPECT_EQ(verdict.limit(), "at most 11");
  EXPECT_EQ(verdict.margin(), "1");
  EXPECT_EQ(
      verdict.reason(),
      "at most 10 calls over edge recommend waited at the same time (limit 10, and one that comes or goes), where 60 would have; load "
      "browse lost 0 of 2,000 requests (0 % before, 0.5 % more may be), with a p99 of 10.0 ms (limit 22.5 ms)");
}

TEST(Bulkhead, AllowsOneThatComesOrGoes) {
  EXPECT_EQ(Judged({.limit = 11}).result(), Verdict::PASS);
  const Verdict verdict = Judged({.limit = 12});
  EXPECT_EQ(verdict.result(), Verdict::FAIL);
  EXPECT_EQ(verdict.measured(), "12");
  EXPECT_EQ(verdict.margin(), "-1");
  EXPECT_EQ(verdict.first_broken_ns(), 12'055'000'000);
}

TEST(Bulkhead, FailsWithoutOne) {
  // 60 at 200/s, but for those of the last 20 ms that were given up.
  const Verdict verdict = Judged({.limit = 1000});
  EXPECT_EQ(verdict.result(), Verdict::FAIL);
  EXPECT_THAT(verdict.reason(), HasSubstr("56 calls over edge recommend waited at the same time"));
}

TEST(Bulkhead, CountsALimitForEachInstance) {
  Bulkhead spec = Ten();
  spec.set_instances(2);
  EXPECT_EQ(Judged({.limit = 21}, spec).result(), Verdict::PASS);
  EXPECT_EQ(Judged({.limit = 22}, spec).result(), Verdict::FAIL);
}

TEST(Bulkhead, DoesNotTakeACallThatWasGivenUpForOneThatWaits) {
  EXPECT_EQ(Judged({.left_after = 0.02}).result(), Verdict::PASS);
  EXPECT_EQ(Judged({.left_after = 0.04}).result(), Verdict::FAIL);
}

TEST(Bulkhead, IsInconclusiveWhenTheLimitIsNeverReached) {
  // 200/s, which wait for 50 ms each, are 10.
  const Verdict verdict = Judged({.limit = 1000, .gives_up = 0.05});
  EXPECT_EQ(verdict.result(), Verdict::INCONCLUSIVE);
  EXPECT_THAT(verdict.reason(), HasSubstr("the limit was never reached"));
  EXPECT_THAT(verdict.reason(), HasSubstr("at 200/s, which wait 50.0 ms each, no more than 10 would"));
  EXPECT_THAT(verdict.advice(), HasSubstr("longer than 50 ms each"));
  EXPECT_EQ(Judged({.gives_up = 0.055}).result(), Verdict::PASS);
}

TEST(Bulkhead, IsInconclusiveWhenCallsVanishOrAreNoneOrFew) {
  TimelineBuilder vanish;
  vanish.Hides("blackhole", 12, 22).AddLoad("browse").Answer(0, 30, Reply{}).Answer(0, 30, Reply{}, "browse");
  EXPECT_THAT(Judged(vanish).reason(), HasSubstr("under fault cut-off no call arrives"));
  TimelineBuilder none;
  none.Latency("slow", 12, 22).AddLoad("browse").Answer(0, 30, Reply{}).Answer(0, 30, Reply{}, "browse");
  EXPECT_THAT(Judged(none).reason(), HasSubstr("makes no calls over edge recommend at baseline"));
  EXPECT_THAT(Judged({.until = 12.095}).reason(), HasSubstr("only 19 calls"));
}

TEST(Bulkhead, FailsWhenOthersLoseMoreThanTheyMay) {
  const Reply error{10, ERROR, 500};
  EXPECT_EQ(Judged({.browse = FirstGet(10, error)}).result(), Verdict::PASS);
  const Verdict verdict = Judged({.browse = FirstGet(11, error)});
  EXPECT_EQ(verdict.result(), Verdict::FAIL);
  EXPECT_EQ(verdict.measured(), "0.55 % more");
  EXPECT_THAT(verdict.reason(), HasSubstr("load browse lost 11 of 2,000 requests"));
  EXPECT_EQ(verdict.first_broken_ns(), 12'000'000'000);
  EXPECT_EQ(verdict.examples_size(), 10);
  EXPECT_EQ(verdict.examples(0), "4bf92f3577b34da70000000000000960");  // of browse, not of checkout
}

TEST(Bulkhead, FailsWhenOthersBecomeSlow) {
  // 1.25 x 10 ms + 10 ms.
  EXPECT_EQ(Judged({.browse = FirstGet(2000, {22.5})}).result(), Verdict::PASS);
  const Verdict verdict = Judged({.browse = FirstGet(2000, {22.501})});
  EXPECT_EQ(verdict.result(), Verdict::FAIL);
  EXPECT_EQ(verdict.limit(), "at most 22.5 ms");
  EXPECT_EQ(Judged({.browse = FirstGet(20, {900})}).result(), Verdict::PASS);  // 1 %
}

TEST(Bulkhead, NeedsAHundredRequestsOfOthers) {
  const auto some = [](int every) {
    TimelineBuilder builder = Built({});
    builder.AddLoad("rare");
    for (int i = 0; i < 30'000; i += every) builder.Add(i / 1000.0, Reply{}, "rare");
    return builder;
  };
  Bulkhead spec = Ten();
  spec.add_others("rare");
  EXPECT_EQ(Judged(some(100), spec).result(), Verdict::PASS);
  const Verdict verdict = Judged(some(102), spec);
  EXPECT_EQ(verdict.result(), Verdict::INCONCLUSIVE);
  EXPECT_THAT(verdict.advice(), HasSubstr("raise the rate of load rare"));
}

TEST(Bulkhead, LeavesOutWhenTheMachineStoodStill) {
  // For 60 ms nobody looked: the ends of ten calls were seen after the starts of ten others.
  TimelineBuilder builder = Built({});
  for (int i = 0; i < 10; ++i) builder.AddCall(15.30 + i * 0.001, 20, CALLER_LEFT);
  for (int i = 0; i < 10; ++i) builder.AddCall(15.30 + i * 0.001, 40, ANSWERED);
  EXPECT_EQ(Judged(builder).result(), Verdict::FAIL);
  EXPECT_EQ(Judged(builder.StandStill(15.29, 60)).result(), Verdict::PASS);
  EXPECT_EQ(Judged(Built({.browse = FirstGet(100, {60})})).result(), Verdict::FAIL);
  EXPECT_EQ(Judged(Built({.browse = FirstGet(100, {60})}).StandStill(12, 450)).result(), Verdict::PASS);
  const Reply error{10, ERROR, 500};
  EXPECT_EQ(Judged(Built({.browse = FirstGet(20, error)}).StandStill(12.01, 50)).result(), Verdict::PASS);
  EXPECT_THAT(Judged(Built({}).StandStill(15, 1000)).reason(), HasSubstr("stood still"));
}

TEST(Bulkhead, IsFinalOnceTheFaultIsRecorded) {
  TimelineBuilder builder = Built({});
  builder.StillRunningAt(23);
  Bulkhead spec = Ten();
  Timeline timeline = builder.Build();
  EXPECT_TRUE(JudgeBulkhead(spec, timeline).final);
  timeline.requests["browse"].resize(12 * 200 + 1990);  // the last before healing are missing
  timeline.last_ns = 25'000'000'000;
  EXPECT_FALSE(JudgeBulkhead(spec, timeline).final);
}

TEST(Bulkhead, IsInconclusiveWithoutData) {
  EXPECT_EQ(Judged(TimelineBuilder()).result(), Verdict::INCONCLUSIVE);
  TimelineBuilder cut_short = Built({});
  cut_short.Event("slow", FaultEvent::HEALED).set_state(FaultEvent::HEALING);
  EXPECT_EQ(Judged(cut_short.End(Footer::INTERRUPTED)).result(), Verdict::INCONCLUSIVE);
  Bulkhead spec = Ten();
  spec.add_others("nobody");
  EXPECT_THAT(Judged(Service(), spec).reason(), HasSubstr("no load nobody"));
}

// A pool of connections over plain TCP: `size` of them, used again and again, and held while recommend hangs.
Verdict JudgedPool(int size, Outcome others, int limit = 10, Edge::Protocol protocol = Edge::PROTOCOL_TCP) {
  TimelineBuilder builder;
  builder.Latency("slow", 12, 22).Answer(0, 12, Reply{});
  int nth = 0;
  builder.Answer(12, 22, [&](double) { return nth++ % 8 == 0 ? Reply{300, ERROR} : Reply{2, others}; }).Answer(22, 30, Reply{});
  for (int i = 0; i < size; ++i) builder.AddCall(0.5 + i, 29e3, CONNECTION);
  Timeline timeline = builder.Build();
  timeline.header.mutable_scenario()->mutable_edges(0)->set_protocol(protocol);
  Bulkhead spec = Ten();
  spec.clear_others();
  spec.set_limit(limit);
  return JudgeBulkhead(spec, timeline).verdict;
}

TEST(Bulkhead, CountsThePoolsConnectionsOverPlainTcp) {
  const Verdict verdict = JudgedPool(10, REJECTED);
  EXPECT_EQ(verdict.result(), Verdict::PASS) << verdict.reason();
  EXPECT_EQ(verdict.measured(), "10");
}

TEST(Bulkhead, FailsWhenThePoolHasTwoConnectionsMore) {
  const Verdict verdict = JudgedPool(12, REJECTED);
  EXPECT_EQ(verdict.result(), Verdict::FAIL) << verdict.reason();
  EXPECT_EQ(verdict.measured(), "12");
}

TEST(Bulkhead, IsInconclusiveWhenThePoolWasNeverNeeded) {
  const Verdict verdict = JudgedPool(3, OK, 50);
  EXPECT_EQ(verdict.result(), Verdict::INCONCLUSIVE) << verdict.reason();
}

TEST(Bulkhead, IsInconclusiveWithoutAnyConnection) {
  const Verdict verdict = JudgedPool(0, REJECTED);
  EXPECT_EQ(verdict.result(), Verdict::INCONCLUSIVE) << verdict.reason();
}

TEST(Bulkhead, CountsNoConnectionsOfAnotherProtocolOverHttp) {
  const Verdict verdict = JudgedPool(10, REJECTED, 10, Edge::PROTOCOL_HTTP);
  EXPECT_EQ(verdict.result(), Verdict::INCONCLUSIVE) << verdict.reason();
}

}  // namespace
}  // namespace squall
