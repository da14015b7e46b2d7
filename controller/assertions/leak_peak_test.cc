#include "controller/assertions/no_leak.h"
#include "controller/assertions/rested_run.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace squall {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

// The load offers 200/s and a request may take 300 ms: 60 at a time.
Rested Peaked(int64_t goroutines, int64_t after = 14) {
  Rested rested;
  rested.spec.mutable_peak()->mutable_deadline()->set_nanos(300'000'000);
  rested.spec.mutable_peak()->set_goroutines_each(4);
  rested.spec.mutable_peak()->set_heap_each(64 * 1024);
  rested.spec.mutable_peak()->set_fds_each(2);
  rested.Before(Holds(14)).After(Holds(after));
  for (int i = 0; i < 20; ++i) rested.Sample(12 + 0.5 * i, Holds(i == 15 ? goroutines : 50));
  return rested;
}

TEST(NoLeakPeak, HoldsWhatItsRequestsNeed) {
  Peaked(14 + 10 + 4 * 60).Is(Verdict::PASS);
  const Verdict verdict = Peaked(14 + 10 + 4 * 60 + 1).Is(Verdict::FAIL);
  EXPECT_EQ(verdict.reason(),
            "goroutines rose from 14 to 265 while faults acted (at most 264: 4 for each of 60 requests at a time)");
  EXPECT_EQ(verdict.first_broken_ns(), TimelineBuilder::Ns(19.5));
}

TEST(NoLeakPeak, IsToldBesideWhatNeverCameBack) {
  Rested rested = Peaked(265, 25);
  EXPECT_THAT(rested.Is(Verdict::FAIL).reason(),
              AllOf(HasSubstr("goroutines 14 -> 25 (at most 24)"), HasSubstr("; goroutines rose from 14 to 265 while faults acted")));
}

TEST(NoLeakPeak, CountsWhatASurgeOffers) {
  Rested rested = Peaked(14 + 10 + 4 * 120);
  rested.Is(Verdict::FAIL);
  rested.builder.Surge("more", 14, 20, 2);
  rested.Is(Verdict::PASS);
}

TEST(NoLeakPeak, LooksOnlyWhileFaultsAct) { Peaked(50).Sample(23, Holds(5000)).Sample(11.5, Holds(5000)).Is(Verdict::PASS); }

TEST(NoLeakPeak, JudgesHeapOnlyWhereGarbageWasCollected) {
  ServiceSample garbage = Holds(50);
  garbage.set_heap_bytes(500 * kMiB);
  Rested rested = Peaked(50).Sample(21, garbage);
  EXPECT_THAT(rested.Is(Verdict::PASS).ShortDebugString(), HasSubstr("not seen at the peak"));
  ServiceSample live = Holds(50);
  live.set_heap_bytes(4 * kMiB + 8 * kMiB + 60 * 64 * 1024);
  rested.Take(21.5, live, ProcessSnapshot::AT_PEAK).Is(Verdict::PASS);
  ProcessSnapshot held;
  live.set_heap_bytes(live.heap_bytes() + 1);
  *held.mutable_sample() = live;
  held.set_moment(ProcessSnapshot::AT_PEAK);
  StackCount& stack = *held.add_heap();
  stack.add_frames("time.NewTimer /usr/lib/go/src/time/sleep.go:86");
  stack.add_frames("main.poll /src/poll.go:12");
  stack.set_bytes(8 * kMiB);
  EXPECT_THAT(rested.Take(21.6, held).Is(Verdict::FAIL).reason(),
              AllOf(HasSubstr("heap rose from 4 MiB to 15.8 MiB"), HasSubstr("; 8 MiB more at main.poll /src/poll.go:12")));
}

TEST(NoLeakPeak, LeavesOutWhatPiledUpWhileTheMachineStoodStill) {
  Rested rested = Peaked(265);
  rested.builder.StandStill(19.1, 100);
  rested.Is(Verdict::PASS);
  rested.builder.StandStill(14, 3000);
  EXPECT_THAT(rested.Is(Verdict::INCONCLUSIVE).reason(), HasSubstr("the machine stood still in"));
}

TEST(NoLeakPeak, IsInconclusiveWhereNothingWasSeen) {
  Rested rested;
  rested.spec.mutable_peak()->mutable_deadline()->set_nanos(300'000'000);
  EXPECT_THAT(rested.Before(Holds()).After(Holds()).Is(Verdict::INCONCLUSIVE).reason(),
              HasSubstr("could not be seen while faults acted"));
  Rested live = Peaked(50);
  live.spec.clear_load();
  live.Is(Verdict::INCONCLUSIVE);
}

TEST(IsBackAtRest, OnceItHeldNoMoreForTwoSeconds) {
  Rested rested;
  rested.Before(Holds(14)).builder.StillRunningAt(33);
  EXPECT_FALSE(rested.IsBack()) << "nothing is known of it";
  rested.Sample(28.5, Holds(200)).Sample(29, Holds(24)).Sample(30, Holds(20));
  EXPECT_FALSE(rested.IsBack()) << "it is so for 1 s";
  rested.Sample(31, Holds(14));
  EXPECT_TRUE(rested.IsBack());
  rested.Sample(31.5, Holds(25));
  EXPECT_FALSE(rested.IsBack());
}

TEST(IsBackAtRest, NotBeforeLoadsRestNorWhenTheyGoOn) {
  Rested rested;
  rested.Before(Holds(14)).Sample(28.5, Holds()).Sample(29.5, Holds()).builder.StillRunningAt(33);
  EXPECT_FALSE(rested.IsBack());
  rested.Sample(30.5, Holds());
  EXPECT_TRUE(rested.IsBack());
  rested.Phase(31, PhaseEvent::RESTED);
  EXPECT_FALSE(rested.IsBack());
}

TEST(IsBackAtRest, NotWhereOnlyASnapshotTells) {
  Rested rested;
  rested.Before(Holds(14)).Sample(29, Holds(-1)).Sample(31, Holds(-1)).builder.StillRunningAt(33);
  EXPECT_FALSE(rested.IsBack());
}

TEST(IsBackAtRest, NotAtTheFirstRestNorOfAnotherProcess) {
  Rested first;
  first.builder = TimelineBuilder();
  first.Phase(10, PhaseEvent::REST).Sample(11, Holds()).Sample(12, Holds()).Sample(13, Holds()).Take(13, Holds());
  EXPECT_FALSE(first.IsBack());
  Rested other;
  ServiceSample restarted = Holds();
  restarted.set_pid(4800);
  other.Before(Holds()).Sample(29, restarted).Sample(31, restarted).builder.StillRunningAt(33);
  EXPECT_FALSE(other.IsBack());
}

}  // namespace
}  // namespace squall
