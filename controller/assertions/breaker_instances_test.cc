// Several processes behind one edge, each with a breaker of its own.
#include "controller/assertions/breaker_simulation.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace squall {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

using Instances = std::vector<std::pair<uint32_t, SimulatedBreaker>>;

std::string DetailOf(const Verdict& verdict, absl::string_view name) {
  for (const Detail& detail : verdict.details()) {
    if (detail.name() == name) return detail.value();
  }
  return "";
}

// All of them sound but the last.
Verdict JudgedWith(int sound, const SimulatedBreaker& last, const CircuitBreaker& spec = OpenFor2s()) {
  Instances instances;
  SimulatedBreaker well;
  well.dead = last.dead;
  for (int i = 0; i < sound; ++i) instances.emplace_back(100 + i, well);
  instances.emplace_back(666, last);
  return Judged(Simulation(instances).builder(), spec);
}

TEST(BreakerInstances, PassWhenEachHolds) {
  const Verdict verdict = JudgedWith(1, SimulatedBreaker());
  EXPECT_EQ(verdict.result(), Verdict::PASS) << verdict.DebugString();
  EXPECT_THAT(verdict.reason(), StartsWith("each of 2 processes holds; the slowest, process "));
  EXPECT_EQ(DetailOf(verdict, "callers"), "process 100, process 666");
  EXPECT_EQ(DetailOf(verdict, "process 666: calls per request"), "0.5 at baseline");
}

TEST(BreakerInstances, FailWhenOneNeverOpensAndNameIt) {
  SimulatedBreaker bad;
  bad.trips_at = 0;
  const Verdict verdict = JudgedWith(1, bad);
  EXPECT_EQ(verdict.result(), Verdict::FAIL);
  EXPECT_THAT(verdict.reason(), StartsWith("process 666: never opened"));
  EXPECT_THAT(verdict.reason(), HasSubstr("100 % of the usual calls went on"));
}

TEST(BreakerInstances, FailWhenOneNeverClosesAndNameIt) {
  SimulatedBreaker bad;
  bad.closes = false;
  const Verdict verdict = JudgedWith(1, bad);
  EXPECT_EQ(verdict.result(), Verdict::FAIL);
  EXPECT_THAT(verdict.reason(), StartsWith("process 666: did not close"));
}

TEST(BreakerInstances, OneBadAmongManyIsNotHiddenByTheRest) {
  // Its calls are 5 % of all: together with the rest they would count as stopped, and as back at 95 %.
  SimulatedBreaker bad;
  bad.trips_at = 0;
  CircuitBreaker spec = OpenFor2s();
  spec.mutable_open_time()->set_seconds(4);
  SimulatedBreaker well;
  well.open_time = 4;
  Instances instances;
  for (uint32_t i = 0; i < 19; ++i) instances.emplace_back(100 + i, well);
  instances.emplace_back(666, bad);
  Verdict verdict = Judged(Simulation(instances).builder(), spec);
  EXPECT_EQ(verdict.result(), Verdict::FAIL) << verdict.reason();
  EXPECT_THAT(verdict.reason(), StartsWith("process 666: never opened"));
  instances.back().second = well;
  instances.back().second.closes = false;
  verdict = Judged(Simulation(instances).builder(), spec);
  EXPECT_EQ(verdict.result(), Verdict::FAIL) << verdict.reason();
  EXPECT_THAT(verdict.reason(), StartsWith("process 666: did not close"));
  instances.back().second = well;
  EXPECT_EQ(Judged(Simulation(instances).builder(), spec).result(), Verdict::PASS);
}

TEST(BreakerInstances, ProbesAreCountedForEach) {
  // Two at a time and place, one for each process: no more than one may come from either.
  EXPECT_EQ(JudgedWith(1, SimulatedBreaker()).result(), Verdict::PASS);
  SimulatedBreaker bad;
  bad.probes = 2;
  EXPECT_THAT(JudgedWith(1, bad).reason(),
              StartsWith("process 666: let 2 calls through at once when it tried again; at most 1 may"));
}

TEST(BreakerInstances, WithTooFewCallsToBeSeenAreInconclusive) {
  // 9 processes share 200/s: 22/s each, 44 in an open time of 2 s; at 1.1 s they are 24.
  Instances instances;
  SimulatedBreaker breaker;
  breaker.open_time = 1.1;
  for (uint32_t i = 0; i < 9; ++i) instances.emplace_back(100 + i, breaker);
  CircuitBreaker spec = OpenFor2s();
  EXPECT_NE(Judged(Simulation(instances).builder(), spec).result(), Verdict::INCONCLUSIVE);
  spec.mutable_open_time()->set_seconds(1);
  spec.mutable_open_time()->set_nanos(100'000'000);
  const Verdict verdict = Judged(Simulation(instances).builder(), spec);
  EXPECT_EQ(verdict.result(), Verdict::INCONCLUSIVE) << verdict.reason();
  EXPECT_THAT(
      verdict.reason(),
      AllOf(StartsWith("process 100: an open time of 1.1 s is too short to be seen"), HasSubstr("24 calls")));
}

TEST(BreakerInstances, AFewCallsOfAnotherProcessAreLeftOutAndSaidSo) {
  TimelineBuilder builder = Simulation(SimulatedBreaker(), 100).builder();
  for (int i = 0; i < 9; ++i) builder.AddCall(5 * i, 1, ANSWERED, 7);
  const Verdict verdict = Judged(builder);
  EXPECT_EQ(verdict.result(), Verdict::PASS) << verdict.reason();
  EXPECT_EQ(DetailOf(verdict, "callers"), "process 100, and 1 with too few calls to be judged");
}

TEST(BreakerInstances, ThatComeAndGoAreTakenTogether) {
  // After healing all calls come from a process that was not there at baseline.
  Simulation simulation(SimulatedBreaker(), 100);
  Timeline timeline = simulation.builder().Build();
  for (Call& call : timeline.calls["recommend"]) {
    if (call.start_ns > TimelineBuilder::Ns(kHealed)) call.source_pid = 200;
  }
  const Verdict verdict = JudgeCircuitBreaker(OpenFor2s(), timeline).verdict;
  EXPECT_EQ(verdict.result(), Verdict::PASS) << verdict.reason();
  EXPECT_THAT(DetailOf(verdict, "callers"),
              HasSubstr("2 callers that come and go during the run: all calls are taken "));
}

TEST(BreakerInstances, ThatAreNotToldApartAreTakenTogether) {
  const Verdict verdict = Judged(SimulatedBreaker());
  EXPECT_EQ(DetailOf(verdict, "callers"), "not told apart; all calls are taken together");
  EXPECT_THAT(verdict.reason(), Not(HasSubstr("process")));
}

TEST(BreakerInstances, MayShareRequestsOtherwiseAfterwards) {
  // From the fault on, one gets two thirds of the requests, the other one third: all calls are back, and none
  // has stopped.
  SimulatedBreaker breaker;
  Timeline timeline = Simulation(Instances{{100, breaker}, {200, breaker}}).builder().Build();
  int nth = 0;
  for (Call& call : timeline.calls["recommend"]) {
    if (call.start_ns > TimelineBuilder::Ns(kHealed + 3)) call.source_pid = ++nth % 3 == 0 ? 100 : 200;
  }
  EXPECT_EQ(JudgeCircuitBreaker(OpenFor2s(), timeline).verdict.result(), Verdict::PASS);
}

TEST(BreakerInstancesOfADeadPeer, FailWhenOneGoesOnTrying) {
  SimulatedBreaker bad;
  bad.dead = true;
  EXPECT_EQ(JudgedWith(1, bad).result(), Verdict::PASS);
  bad.trips_at = 0;
  const Verdict verdict = JudgedWith(1, bad);
  EXPECT_EQ(verdict.result(), Verdict::FAIL);
  EXPECT_THAT(verdict.reason(), StartsWith("process 666: never opened"));
}

}  // namespace
}  // namespace squall
