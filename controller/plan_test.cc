#include "controller/plan.h"

#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "controller/scenario.h"
#include "controller/scenario_samples.h"
#include "gtest/gtest.h"

namespace squall {
namespace {

using absl::Milliseconds;
using absl::Seconds;

Scenario Load(std::string text) {
  const LoadedScenario loaded = ParseScenario("s.yaml", std::move(text), {});
  EXPECT_EQ(FormatMistakes(loaded), "");
  return loaded.scenario;
}

Scenario Minimal(std::vector<std::pair<absl::string_view, absl::string_view>> changes = {}) {
  return Load(absl::StrReplaceAll(kMinimalScenario, changes));
}

::squall::Load LoadOf(double rate, const std::vector<double>& steps = {}) {
  ::squall::Load load;
  load.set_rate(rate);
  for (double step : steps) load.add_steps()->set_rate(step);
  return load;
}

TEST(JudgedWindow, HoldsTwentyRequestsAndAtLeastASecond) {
  EXPECT_EQ(JudgedWindow(LoadOf(200)), Seconds(1));
  EXPECT_EQ(JudgedWindow(LoadOf(20)), Seconds(1));
  EXPECT_EQ(JudgedWindow(LoadOf(10)), Seconds(2));
  EXPECT_EQ(JudgedWindow(LoadOf(0.1)), Seconds(200));
}

TEST(JudgedWindow, FollowsTheSlowestStepThatSendsAnything) {
  EXPECT_EQ(JudgedWindow(LoadOf(0, {200, 5, 0, 100})), Seconds(4));
  EXPECT_EQ(JudgedWindow(LoadOf(0, {0})), Seconds(1));
  EXPECT_EQ(JudgedWindow(LoadOf(0)), Seconds(1));
}

TEST(Plan, HasTenBaselineWindowsAndOneToWarmUp) {
  EXPECT_EQ(MakePlan(Minimal()).baseline, Seconds(11));
  const Plan slow = MakePlan(Minimal({{"200/s", "10/s"}}));
  EXPECT_EQ(slow.window, Seconds(2));
  EXPECT_EQ(slow.baseline, Seconds(22));
}

TEST(Plan, TakesTheWindowOfTheSlowestLoad) {
  Scenario scenario;
  *scenario.add_load() = LoadOf(200);
  *scenario.add_load() = LoadOf(5);
  EXPECT_EQ(MakePlan(scenario).window, Seconds(4));
}

TEST(Plan, RecoversAsLongAsTheAssertionsNeed) {
  // within + (windows + 1) windows.
  EXPECT_EQ(MakePlan(Minimal({{"  - circuit_breaker: {open_time: 2s}\n", ""}})).recovery, Seconds(21));
  // closes_within, which is 1.5 x open_time + 5s, + 4 windows.
  EXPECT_EQ(MakePlan(Minimal({{"  - recovery: {within: 10s}\n", ""}})).recovery, Seconds(8 + 4));
  // At least 5 windows.
  EXPECT_EQ(MakePlan(Minimal({{"  - recovery: {within: 10s}\n", ""},
                              {"  - circuit_breaker: {open_time: 2s}\n", ""}}))
                .recovery,
            Seconds(5));
}

TEST(Plan, LongestIsTheSumOfItsPhases) {
  const Plan plan = MakePlan(Minimal());
  EXPECT_EQ(plan.faults_end, Seconds(10));
  EXPECT_EQ(plan.Longest(), Seconds(11 + 10 + 21));
}

TEST(Plan, FaultsStartAtTheirTimeOrAfterAnother) {
  const Scenario scenario = Load(absl::StrReplaceAll(
      kMinimalScenario, {{"{attach: {listen: 8080}}", "{run: [bin/orders]}"}, {"    for: 10s", R"(    for: 10s
    at: 1s
  - {name: last, latency: {delay: 1s}, for: 2s, after: kill, at: 500ms}
  - {kill: {restart_after: 4s}, after: latency}
  - {name: early, kill: {restart_after: 0s}})"}}));
  const Plan plan = MakePlan(scenario);
  ASSERT_EQ(plan.faults.size(), 4u);
  const auto expect = [&](size_t i, absl::string_view name, absl::Duration at, absl::Duration until) {
    EXPECT_EQ(plan.faults[i].fault->name(), name);
    EXPECT_EQ(plan.faults[i].at, at) << name;
    EXPECT_EQ(plan.faults[i].until, until) << name;
  };
  expect(0, "early", Seconds(0), Seconds(0));
  expect(1, "latency", Seconds(1), Seconds(11));
  expect(2, "kill", Seconds(11), Seconds(15));
  expect(3, "last", Milliseconds(15500), Milliseconds(17500));
  EXPECT_EQ(plan.faults_end, Milliseconds(17500));
}

TEST(Plan, KillsUntilTheLastSignalAndWaitsForSupervisors) {
  const Scenario scenario = Load(absl::StrReplaceAll(
      kMinimalScenario, {{"    for: 10s", R"(    for: 10s
  - {name: slow-death, kill: {signal: SIGTERM, grace: 2s}, at: 5s}
  - {name: back, kill: {supervisor_within: 20s}, at: 9s})"}}));
  const Plan plan = MakePlan(scenario);
  EXPECT_EQ(plan.faults[1].until, Seconds(7));
  EXPECT_EQ(plan.faults[2].until, Seconds(9));
  EXPECT_EQ(plan.faults_end, Seconds(10 + 20));
}

TEST(Plan, OfNothingOrOfACycleStillEnds) {
  EXPECT_EQ(MakePlan(Scenario()).Longest(), Seconds(16));
  Scenario scenario;
  for (const auto& [name, after] : {std::pair{"a", "b"}, std::pair{"b", "a"}, std::pair{"c", "nowhere"}}) {
    Fault& fault = *scenario.add_faults();
    fault.set_name(name);
    fault.set_after(after);
    fault.mutable_kill();
  }
  EXPECT_EQ(MakePlan(scenario).faults.size(), 3u);
}

TEST(Kinds, AreTheKeysOfTheFile) {
  Fault fault;
  EXPECT_EQ(FaultKind(fault), "");
  fault.mutable_latency();
  EXPECT_EQ(FaultKind(fault), "latency");
  fault.mutable_kill();
  EXPECT_EQ(FaultKind(fault), "kill");
  Assertion assertion;
  assertion.mutable_circuit_breaker();
  EXPECT_EQ(AssertionKind(assertion), "circuit_breaker");
}

constexpr char kLimited[] = R"(squall: 1
name: limited
services:
  orders: {attach: {listen: 8080}}
load:
  checkout: {http: {url: "http://127.0.0.1:8080/order"}}
  browse: {http: {url: "http://127.0.0.1:8080/quote"}}
assert:
  - rate_limiter: {load: checkout, rate: 100/s, burst: 20}
  - rate_limiter: {load: browse, rate: 10/s, burst: 5, model: nginx}
)";

TEST(Plan, OffersALimitedLoadWhatItsLimiterNeedsOneAfterTheOther) {
  const Scenario scenario = Load(kLimited);
  EXPECT_EQ(scenario.load(0).rejected_when().status_size(), 2);
  EXPECT_EQ(scenario.load(0).rate(), 50);
  EXPECT_EQ(scenario.load(1).rate(), 5);
  ASSERT_EQ(scenario.load(0).steps_size(), 10);
  const auto length = [&](int load, int steps) {
    absl::Duration sum;
    for (int i = 0; i < steps; ++i) {
      const auto& step = scenario.load(load).steps(i).for_();
      sum += absl::Seconds(step.seconds()) + absl::Nanoseconds(step.nanos());
    }
    return sum;
  };
  // The second waits, at half of its rate, until the first is through.
  EXPECT_EQ(length(1, 1), length(0, 9));
  const Plan plan = MakePlan(scenario);
  EXPECT_EQ(plan.limits, length(1, 9) + Seconds(1));
  EXPECT_EQ(plan.recovery, absl::ZeroDuration());
  EXPECT_EQ(plan.Longest(), plan.baseline + plan.limits);
  const std::string text = DescribePlan(scenario, plan);
  for (const char* part : {"(limits)", "50/s, and what its rate_limiter needs", "quiet for 464 ms", "80/s for 10 s",
                           "checkout is admitted at 100/s and 20 at once", "5 + 1 at once (nginx)"}) {
    EXPECT_NE(text.find(part), std::string::npos) << part << "\n" << text;
  }
  EXPECT_EQ(text.find("(recovery)"), std::string::npos);
}

TEST(Plan, TriesLimitersBeforeTheFirstFault) {
  const Scenario scenario = Load(absl::StrReplaceAll(
      kLimited, {{"assert:", "faults:\n  - {kill: {service: orders}, at: 2s}\nassert:\n  - recovery: {load: checkout, within: 5s}"}}));
  const Plan plan = MakePlan(scenario);
  EXPECT_GT(plan.limits, Seconds(30));
  EXPECT_EQ(plan.faults[0].at, Seconds(2));
  EXPECT_EQ(plan.FaultsStart(), plan.baseline + plan.limits);
  EXPECT_EQ(plan.recovery, Seconds(5) + 11 * plan.window);
}

TEST(Plan, LeavesALoadOfItsOwnRateAlone) {
  const std::string own = absl::StrReplaceAll(kLimited, {{"/order\"}", "/order\"}, rate: 200/s"}, {"/quote\"}", "/quote\"}, rate: 20/s"}});
  const Scenario scenario = Load(own);
  EXPECT_TRUE(scenario.load(0).steps().empty());
  // Without faults it runs for a while; with faults these give it its time.
  EXPECT_EQ(MakePlan(scenario).limits, Seconds(20));
  EXPECT_EQ(MakePlan(Load(absl::StrReplaceAll(own, {{"assert:", "faults: [{kill: {service: orders}}]\nassert:"}}))).limits,
            absl::ZeroDuration());
}

TEST(DescribeFault, IsAPhrase) {
  const Scenario full = Load(kFullScenario);
  EXPECT_EQ(DescribeFault(Minimal().faults(0)), "500 ms on every response over recommend");
  EXPECT_EQ(DescribeFault(full.faults(0)),
            "500 ms +/- 50 ms on every request and every response over recommend");
  EXPECT_EQ(DescribeFault(full.faults(1)), "SIGTERM to recommend, started again after 4 s");
  EXPECT_EQ(DescribeFault(full.faults(2)), "SIGKILL to recommend");
}

TEST(DescribePlan, SaysWhoWhatWhenAndUndoneByWhat) {
  const Scenario scenario = Minimal();
  EXPECT_EQ(DescribePlan(scenario, MakePlan(scenario)), R"(recommend-slow

Services
  orders           attach to the process that listens on port 8080, and its children

Edges
  recommend        orders -> 127.0.0.1:9090, HTTP/1.1 and HTTP/2 requests counted
                   connects of orders redirected to a relay (cgroup BPF; needs root)
                   connections from before the run stay as they are; latency reaches them
                   through the packet queue

Load
  checkout         GET http://127.0.0.1:8080/order
                   200/s; a client gives up after 5 s; judged in windows of 1 s
                   rejected when: status 429

Timeline, at most 42 s
        0 s  (baseline)       11 windows of 1 s; nothing is injected unless the service is
                              steady: errors at most 1 %
       11 s  latency          500 ms on every response over recommend, for 10 s
                              scope:      edge: calls of orders to 127.0.0.1:9090, of no other
                                          process; connect as before
                              through:    connects of orders redirected to a relay (cgroup BPF;
                                          needs root)
                              undone by:  the relay passes on as before; redirection is a BPF
                                          link that dies with the agent
       21 s  (recovery)       at most 21 s, over as soon as all assertions can be judged
       42 s  (end)            everything is healed, services that squall started are stopped

Assertions
  timeout          requests of checkout that run into the deadline of 300 ms are answered within
                   400 ms (margin 50 ms + the fastest baseline request, twice), and 99.9 % of
                   1,000 or more within 350 ms; at least 20 of them
                   from the first injection to the last healing
  circuit_breaker  calls over recommend stop within 5 s of the first failed one, 1 probe every
                   2 s, and flow again within 8 s of healing; while open, checkout is answered
                   within max(50 ms, baseline p99 + 20 ms)
                   from the first injection to the last healing
  recovery         checkout is back within 10 s of healing: 10 windows, at most one of them out
                   of band; p50 and p95 up to 1.2 x baseline or + 5 ms, errors up to baseline +
                   0.5 points, goodput from 95 % of baseline
                   from the first injection to the last healing
)");
}

TEST(DescribePlan, SaysThatARelayNeedsNoPrivilegesAndWhatAKillLeaves) {
  const Scenario scenario = Load(kFullScenario);
  const std::string text = DescribePlan(scenario, MakePlan(scenario));
  for (const char* part : {
           "relay at 127.0.0.1:19090, no privileges",
           "scope:      edge: calls that orders or others send to 127.0.0.1:19090",
           "run bin/orders --port=8080 --recommend=127.0.0.1:19090",
           "as user nobody (needs root)",
           "ready when GET http://127.0.0.1:8080/healthz answers below 400, within 5 s",
           "undone by:  started again after 4 s",
           "undone by:  nothing to undo",
           "100/s for 10 s, then 50/s for 10 s, and on at the last",
           "more than 80 % of requests of checkout fail for 10 s",
           "after-slow",
           "recovery: browse is back within 10 s of healing",
           "checkout is back within 10 s of injection",
           "about slow",
       }) {
    EXPECT_NE(text.find(part), std::string::npos) << part << "\n" << text;
  }
  EXPECT_EQ(text.find("BPF"), std::string::npos);
}

TEST(DescribePlan, SaysWhomACpuFaultTouchesAndWhoUndoesIt) {
  constexpr char kLatency[] = "  - latency: {delay: 500ms}\n    for: 10s\n";
  constexpr char kCpu[] =
      "  - {name: less, cpu: {quota: 20%}, for: 10s}\n  - {name: busy, cpu: {load: 75%, cores: 2}, for: 3s}\n";
  const Scenario attached = Minimal({{kLatency, kCpu}, {"  - circuit_breaker: {open_time: 2s}\n", ""}});
  const std::string text = DescribePlan(attached, MakePlan(attached));
  for (const char* part : {
           "orders gets 20 % of the processor time that it may use, for 10 s",
           "scope:      process: all processes of orders together, no other",
           "through:    cfs quota with a period of 100 ms in the service's cgroup",
           "where it is alone there, else in one made for it below that",
           "undone by:  the quota is as before and the processes are where they",
           "75 % of each of 2 cores that orders may run on kept busy, for 3 s",
           "scope:      host: all that runs on these cores feels it",
           "undone by:  the burners are ended; they die with the agent",
       }) {
    EXPECT_NE(text.find(part), std::string::npos) << part << "\n" << text;
  }
  const Scenario run = Minimal({{kLatency, kCpu},
                                {"  - circuit_breaker: {open_time: 2s}\n", ""},
                                {"{attach: {listen: 8080}}", "{run: [bin/orders]}"}});
  EXPECT_NE(DescribePlan(run, MakePlan(run)).find("undone by:  the quota is lifted; the cgroup goes with the service"),
            std::string::npos);
}

TEST(DescribePlan, IsAtMostAHundredColumnsWide) {
  for (const char* sample : {kMinimalScenario, kFullScenario}) {
    const Scenario scenario = Load(absl::StrReplaceAll(
        sample, {{"checkout", "checkout-with-a-name-that-is-longer-than-any-column-can-be"}}));
    for (absl::string_view line : absl::StrSplit(DescribePlan(scenario, MakePlan(scenario)), '\n')) {
      EXPECT_LE(line.size(), 100u) << line;
    }
  }
}

}  // namespace
}  // namespace squall
