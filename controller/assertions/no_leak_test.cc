#include "controller/assertions/no_leak.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "controller/assertions/leak_limits.h"
#include "controller/assertions/rested_run.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace squall {
namespace {

using ::testing::HasSubstr;

ProcessSnapshot WithStack(int64_t goroutines, int64_t count, const std::string& frame, const std::string& state = "") {
  ProcessSnapshot snapshot;
  *snapshot.mutable_sample() = Holds(goroutines);
  snapshot.set_moment(state.empty() ? ProcessSnapshot::AT_REST : ProcessSnapshot::LEAKED);
  StackCount& stack = *snapshot.add_goroutines();
  stack.add_frames("runtime.gopark /usr/lib/go/src/runtime/proc.go:363");
  stack.add_frames(frame);
  stack.set_count(count);
  stack.set_state(state);
  return snapshot;
}

TEST(NoLeak, PassesWhenTheServiceHoldsWhatItHeldBefore) {
  const Judgement judgement = Rested().Before(Holds(14, 9)).After(Holds(16, 8)).Judged();
  EXPECT_EQ(judgement.verdict.result(), Verdict::PASS);
  EXPECT_EQ(judgement.verdict.reason(),
            "holds at rest what it held before: goroutines 14 -> 16 (at most 24), heap 4 MiB -> 4 MiB (at most 12 MiB), fds 9 -> "
            "8 (at most "
            "14), connections in CLOSE_WAIT 0 -> 0 (at most 2), established connections 3 -> 3 (at most 8), threads 8 -> 8 (at "
            "most 24), RSS "
            "30 MiB -> 30 MiB (at most 46 MiB)");
  EXPECT_EQ(judgement.verdict.measured(), "16 goroutines");
  EXPECT_EQ(judgement.verdict.limit(), "at most 24");
  EXPECT_EQ(judgement.verdict.samples(), 2);
  EXPECT_TRUE(judgement.final);
}

TEST(NoLeak, FailsWithThePlaceAndThePriceOfTheLeak) {
  const std::string line = "main.(*Orders).call.func1 /src/orders.go:41";
  Rested rested;
  rested.Take(11, WithStack(14, 1, line))
      .Take(38, WithStack(314, 301, line))
      .Take(38.5, WithStack(314, 300, line, "chan receive, 2 minutes"));
  const Verdict verdict = rested.Is(Verdict::FAIL);
  EXPECT_EQ(verdict.reason(),
            "goroutines 14 -> 314 (at most 24): 1.00 goroutine per timed-out request; 300 more at "
            "main.(*Orders).call.func1 /src/orders.go:41 (chan receive, 2 minutes)");
  EXPECT_EQ(verdict.measured(), "314 goroutines");
  EXPECT_EQ(verdict.margin(), "-290");
  EXPECT_EQ(verdict.first_broken_ns(), TimelineBuilder::Ns(38));
  ASSERT_EQ(verdict.examples_size(), 10);
  EXPECT_EQ(verdict.examples(0), TraceId(TimelineBuilder::kTracePrefix, 2400));
}

TEST(NoLeak, PassesExactlyAtTheLimitAndFailsJustPastIt) {
  Rested().Before(Holds(14)).After(Holds(24)).Is(Verdict::PASS);
  Rested().Before(Holds(14)).After(Holds(25)).Is(Verdict::FAIL);
  // 5 % of many is more than 10.
  Rested().Before(Holds(1000)).After(Holds(1050)).Is(Verdict::PASS);
  Rested().Before(Holds(1000)).After(Holds(1051)).Is(Verdict::FAIL);
}

TEST(NoLeak, JudgesEachThingByItsOwnLimit) {
  const auto leaks = [](void (*change)(ServiceSample&, int), int past) {
    ServiceSample before = Holds(), at = Holds();
    change(before, 0);
    change(at, past);
    return Rested().Before(before).After(at).Judged().verdict;
  };
  const auto edge = [&](void (*change)(ServiceSample&, int), int most, const std::string& name) {
    EXPECT_EQ(leaks(change, most).result(), Verdict::PASS) << name;
    EXPECT_EQ(leaks(change, most + 1).result(), Verdict::FAIL) << name;
    EXPECT_THAT(leaks(change, most + 1).reason(), HasSubstr(name));
  };
  edge([](ServiceSample& sample, int more) { sample.set_fds(9 + more); }, 5, "fds 9 -> 15 (at most 14)");
  edge([](ServiceSample& sample, int more) { sample.set_close_wait(more); }, 2, "connections in CLOSE_WAIT 0 -> 3 (at most 2)");
  edge([](ServiceSample& sample, int more) { sample.set_established(3 + more); }, 5,
       "established connections 3 -> 9 (at most 8)");
  edge([](ServiceSample& sample, int more) { sample.set_threads(8 + more); }, 16, "threads 8 -> 25 (at most 24)");
  edge([](ServiceSample& sample, int more) { sample.set_rss_bytes((30 + more) * kMiB); }, 16,
       "RSS 30 MiB -> 47 MiB (at most 46 MiB)");
  edge([](ServiceSample& sample, int more) { sample.set_heap_bytes((4 + more) * kMiB); }, 8,
       "heap 4 MiB -> 13 MiB (at most 12 MiB)");
}

TEST(NoLeak, TakesTheLimitsThatAreWritten) {
  Rested rested;
  rested.spec.mutable_goroutines()->set_at_most(0);
  rested.Before(Holds(14)).After(Holds(15)).Is(Verdict::FAIL);
  rested.spec.mutable_goroutines()->set_share(10);
  rested.Is(Verdict::PASS);
}

TEST(NoLeak, NamesWhatLeaksWithoutALineOfTheServicesOwnByItsPeer) {
  ProcessSnapshot before = WithStack(14, 1, "net/http.(*persistConn).readLoop /usr/lib/go/src/net/http/transport.go:2101");
  ProcessSnapshot after = WithStack(314, 301, "net/http.(*persistConn).readLoop /usr/lib/go/src/net/http/transport.go:2101");
  FdCount& fd = *after.add_fds();
  fd.set_kind("tcp");
  fd.set_to("127.0.0.1:9090");
  fd.set_state("ESTABLISHED");
  fd.set_count(300);
  after.mutable_sample()->set_fds(309);
  const Verdict verdict = Rested().Take(11, before).Take(38, after).Is(Verdict::FAIL);
  EXPECT_EQ(verdict.reason(),
            "goroutines 14 -> 314 (at most 24): 1.00 goroutine per timed-out request; 300 more at "
            "net/http.(*persistConn).readLoop /usr/lib/go/src/net/http/transport.go:2101, 300 more tcp sockets to "
            "127.0.0.1:9090 in ESTABLISHED; also fds 9 -> 309 (at most 14)");
}

TEST(NoLeak, SaysPerWhichRequestItLeaks) {
  const auto per = [](Outcome outcome, int32_t status) {
    Rested rested;
    rested.builder = TimelineBuilder();
    rested.builder.Latency("slow", 12, 22).Answer(11, 12, TimelineBuilder::Reply{}).Answer(12, 13.5, {50, outcome, status});
    return rested.Before(Holds(14)).After(Holds(614)).Is(Verdict::FAIL).reason();
  };
  EXPECT_THAT(per(TIMED_OUT, 0), HasSubstr(": 2.00 goroutines per timed-out request"));
  EXPECT_THAT(per(ERROR, 500), HasSubstr("per failed request"));
  EXPECT_THAT(per(RESET, 0), HasSubstr("per failed request"));
  EXPECT_THAT(per(ABANDONED, 0), HasSubstr("per request whose client hung up"));
  EXPECT_THAT(per(DEGRADED, 200), HasSubstr("per degraded request"));
  EXPECT_THAT(per(REJECTED, 503), HasSubstr("per rejected request"));
  EXPECT_THAT(per(OK, 200), HasSubstr("1.20 goroutines per request"));
  // Without a load of ours nothing is said of requests.
  Rested live;
  live.spec.clear_load();
  EXPECT_EQ(live.Before(Holds(14)).After(Holds(614)).Is(Verdict::FAIL).reason(), "goroutines 14 -> 614 (at most 24)");
}

TEST(NoLeak, DoesNotJudgeWhatCannotBeSeen) {
  ServiceSample sample = Holds(-1);
  sample.set_heap_bytes(-1);
  const Verdict verdict = Rested().Before(sample).After(sample).Is(Verdict::PASS);
  EXPECT_THAT(verdict.ShortDebugString(), HasSubstr("not seen, and so not judged"));
}

TEST(NoLeak, IsInconclusiveWhereWhatIsWrittenCannotBeSeen) {
  Rested rested;
  rested.spec.mutable_goroutines()->set_at_most(5);
  ProcessSnapshot after;
  *after.mutable_sample() = Holds(-1);
  after.set_moment(ProcessSnapshot::AT_REST);
  after.set_pprof_error("connection refused");
  const Verdict verdict = rested.Before(Holds(-1)).Take(38, after).Is(Verdict::INCONCLUSIVE);
  EXPECT_EQ(verdict.reason(), "of orders, goroutines could not be seen at rest: connection refused");
  EXPECT_THAT(verdict.advice(), HasSubstr("`pprof`"));
  // What is seen to leak, leaks.
  Rested leaks;
  leaks.spec = rested.spec;
  leaks.Before(Holds(-1, 9)).After(Holds(-1, 90)).Is(Verdict::FAIL);
}

TEST(NoLeak, IsInconclusiveWhereWhatWasSeenCanNoLongerBe) {
  EXPECT_EQ(Rested().Before(Holds(14)).After(Holds(-1)).Is(Verdict::INCONCLUSIVE).reason(),
            "of orders, goroutines could not be seen at rest after the faults");
}

TEST(NoLeak, IsInconclusiveWhereNothingCanBeSeen) {
  ServiceSample nothing;
  nothing.set_pid(4711);
  Rested().Before(nothing).After(nothing).Is(Verdict::INCONCLUSIVE);
}

TEST(NoLeak, IsInconclusiveWithoutARestBeforeOrAfter) {
  EXPECT_EQ(Rested().Is(Verdict::INCONCLUSIVE).reason(),
            "nothing is recorded of what orders held at rest before the first fault");
  EXPECT_EQ(Rested().After(Holds()).Is(Verdict::INCONCLUSIVE).reason(),
            "nothing is recorded of what orders held at rest before the first fault");
  EXPECT_EQ(Rested().Before(Holds()).Is(Verdict::INCONCLUSIVE).reason(),
            "nothing is recorded of what orders holds at rest after the faults");
}

TEST(NoLeak, IsFinalOnceTheLastRestIsThere) {
  Rested rested;
  rested.Before(Holds(14)).builder.StillRunningAt(36);
  EXPECT_EQ(rested.Judged().verdict.result(), Verdict::INCONCLUSIVE);
  EXPECT_FALSE(rested.Judged().final);
  rested.After(Holds(14));
  EXPECT_EQ(rested.Judged().verdict.result(), Verdict::PASS);
  EXPECT_TRUE(rested.Judged().final);
}

TEST(NoLeak, WaitsForTheRestAfterTheRecovery) {
  Rested rested;
  rested.Before(Holds(14)).Take(25, Holds(14)).builder.StillRunningAt(26);
  Timeline timeline = rested.builder.Build();
  std::vector<PhaseEvent>& phases = timeline.phases;
  phases.erase(
      std::remove_if(phases.begin(), phases.end(), [](const PhaseEvent& phase) { return phase.phase() == PhaseEvent::RECOVERY; }),
      phases.end());
  const Judgement judgement = JudgeNoLeak(rested.spec, timeline, Stalls({}));
  EXPECT_EQ(judgement.verdict.reason(), "nothing is recorded yet of what orders holds at rest after the faults");
  EXPECT_FALSE(judgement.final);
}

TEST(NoLeak, IsNotFinalWhenTheRunWasCutShort) {
  Rested rested;
  rested.Before(Holds(14)).builder.End(Footer::INTERRUPTED);
  EXPECT_FALSE(rested.Judged().final);
}

TEST(NoLeak, DoesNotCompareWithAnotherProcess) {
  ServiceSample restarted = Holds();
  restarted.set_pid(4800);
  const Verdict verdict = Rested().Before(Holds()).After(restarted).Is(Verdict::INCONCLUSIVE);
  EXPECT_EQ(verdict.reason(),
            "orders was started again between the rests (process 4711, then 4800): what another process held cannot be "
            "compared");
  ServiceSample same_pid = Holds();
  same_pid.set_started_ticks(2000);
  Rested().Before(Holds()).After(same_pid).Is(Verdict::INCONCLUSIVE);
  EXPECT_EQ(Rested().Before(Holds()).After({}).Is(Verdict::INCONCLUSIVE).reason(),
            "orders was gone at the rest after the faults");

  Rested told;
  Record exited;
  exited.mutable_service()->set_service("orders");
  exited.mutable_service()->set_what(ServiceEvent::EXITED);
  exited.mutable_service()->set_at_ns(TimelineBuilder::Ns(15));
  exited.mutable_service()->set_message("killed by SIGSEGV");
  told.builder.Put(exited);
  EXPECT_THAT(told.Before(Holds()).After(restarted).Is(Verdict::INCONCLUSIVE).reason(),
              HasSubstr("; it ended: killed by SIGSEGV"));
}

TEST(NoLeak, SaysSoWhereAFaultKillsTheService) {
  Rested rested;
  rested.builder.Kill("crash", 23, 24);
  rested.builder.scenario.mutable_faults(1)->mutable_kill()->set_service("orders");
  ServiceSample restarted = Holds();
  restarted.set_pid(4800);
  EXPECT_EQ(rested.Before(Holds()).After(restarted).Is(Verdict::INCONCLUSIVE).advice(),
            "judge no_leak in a scenario without fault crash, which kills orders");
  rested.builder.scenario.mutable_faults(1)->mutable_kill()->set_service("recommend");
  EXPECT_THAT(rested.Is(Verdict::INCONCLUSIVE).advice(), HasSubstr("find out why it ended"));
}

TEST(NoLeak, NeedsTheWholeRestToCondemn) {
  Rested early;
  early.Before(Holds(14)).Take(33, Holds(314));
  EXPECT_EQ(early.Is(Verdict::INCONCLUSIVE).reason(),
            "goroutines 14 -> 314 (at most 24), but the loads had rested for only 5.0 s of 10 s");
  early.After(Holds(314)).Is(Verdict::FAIL);
  Rested().Before(Holds(14)).Take(33, Holds(14)).Is(Verdict::PASS);
}

TEST(NoLeak, NeedsRequestsBetweenTheRests) {
  Rested idle;
  idle.builder = TimelineBuilder();
  idle.builder.Latency("slow", 12, 22).Answer(1, 10, TimelineBuilder::Reply{});
  EXPECT_EQ(idle.Before(Holds()).After(Holds()).Is(Verdict::INCONCLUSIVE).reason(),
            "load checkout sent no request between the rests: nothing could leak");
}

TEST(NoLeak, NeedsAFaultThatFired) {
  Rested rested;
  for (const auto state : {FaultEvent::INJECTED, FaultEvent::HEALING, FaultEvent::HEALED})
    rested.builder.Event("slow", state).clear_evidence();
  rested.Before(Holds()).After(Holds()).Is(Verdict::INCONCLUSIVE);
  // Without faults it compares all the same.
  Rested none;
  none.builder = TimelineBuilder();
  none.builder.Answer(1, 30, TimelineBuilder::Reply{});
  none.Take(11, Holds(14)).Take(38, Holds(14)).Is(Verdict::PASS);
}

// Each plateau after a cycle of its own.
Verdict JudgedCycles(const std::vector<int64_t>& goroutines) {
  Rested rested;
  rested.builder = TimelineBuilder();
  double at = 10;
  rested.builder.Answer(1, at, TimelineBuilder::Reply{});
  rested.Take(at, Holds(goroutines.front()));
  for (size_t i = 1; i < goroutines.size(); ++i) {
    rested.builder.Latency(absl::StrCat("slow-", i), at + 1, at + 3).Answer(at + 1, at + 4, {500, ERROR, 504});
    rested.Take(at + 9, Holds(goroutines[i]));
    at += 10;
  }
  // The rest after the recovery, in which nothing more came.
  return rested.Take(at + 20, Holds(goroutines.back())).Judged().verdict;
}

TEST(NoLeak, FailsWhenThePlateauRisesFromCycleToCycle) {
  const Verdict verdict = JudgedCycles({14, 16, 18, 20, 22, 24});
  EXPECT_EQ(verdict.result(), Verdict::FAIL);
  EXPECT_THAT(verdict.reason(), HasSubstr("goroutines 14 -> 24 (at most 24), rising from cycle to cycle"));
  EXPECT_THAT(verdict.ShortDebugString(), HasSubstr("14 -> 16 -> 18 -> 20 -> 22 -> 24, at most 24"));
  EXPECT_EQ(JudgedCycles({14, 15, 16, 15, 16, 14}).result(), Verdict::PASS);
}

TEST(NoLeak, KnowsALeakFromAPoolThatWarmsUp) {
  const Allowance ten{Held::kGoroutines, false, 10, 0};
  for (const std::vector<int64_t>& leak : {std::vector<int64_t>{14, 16, 18, 20, 22, 24},
                                           {14, 16, 18, 20, 20, 22},  // 4 of 5 is enough
                                           {14, 16, 16, 18, 20, 22},
                                           {14, 16, 18, 20, 22},  // 4 of 4
                                           {14, 17, 19, 21, 23}}) {
    EXPECT_TRUE(RisesLikeALeak(leak, ten)) << ::testing::PrintToString(leak);
  }
  for (const std::vector<int64_t>& none : {std::vector<int64_t>{14, 14, 14, 14, 14, 14},
                                           {14, 22, 23, 24, 24, 24},  // warm after the first
                                           {14, 19, 21, 22, 23, 24},  // slower and slower
                                           {14, 18, 21, 23, 24},
                                           {14, 17, 17, 20, 20, 24},     // 3 of 5
                                           {14, 16, 18, 20},             // too few
                                           {14, 15, 16, 17, 18, 19},     // no more than half of what is allowed
                                           {14, 24, 14, 24, 14, 24}}) {  // breathes
    EXPECT_FALSE(RisesLikeALeak(none, ten)) << ::testing::PrintToString(none);
  }
}

TEST(NoLeak, DoesNotTakeWhatBreathesForWhatGrows) {
  const Allowance heap{Held::kHeap, false, 8 * kMiB, 0};
  const int64_t step = 8 * kMiB / 20;
  const auto rising = [](int64_t by, int64_t last) {
    return std::vector<int64_t>{100, 100 + by, 100 + 2 * by, 100 + 3 * by, 100 + 3 * by + last};
  };
  EXPECT_TRUE(RisesLikeALeak(rising(3 * step, 3 * step), heap));
  EXPECT_FALSE(RisesLikeALeak(rising(4 * step, step - 1), heap));
}

}  // namespace
}  // namespace squall
