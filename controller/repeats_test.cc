#include "controller/repeats.h"

#include "controller/plan.h"
#include "controller/scenario.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace squall {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

LoadedScenario Parse(const std::string& faults, const std::string& assertions = "recovery: {within: 3s}") {
  return ParseScenario("s.yaml",
                       absl::StrCat("squall: 1\nname: again\nservices:\n  orders: {attach: {listen: 8080}}\n"
                                    "edges:\n  recommend: {to: \"127.0.0.1:9090\"}\n"
                                    "load:\n  checkout: {http: {url: \"http://127.0.0.1:8080/\"}, rate: 200/s}\n"
                                    "faults:\n",
                                    faults, "assert:\n  - ", assertions, "\n"),
                       {});
}

std::vector<std::string> Planned(const LoadedScenario& loaded) {
  EXPECT_EQ(FormatMistakes(loaded), "");
  std::vector<std::string> planned;
  for (const PlannedFault& each : MakePlan(loaded.scenario).faults) {
    planned.push_back(absl::StrCat(each.fault->name(), " ", absl::FormatDuration(each.at), "-", absl::FormatDuration(each.until)));
  }
  return planned;
}

TEST(Repeats, AreFaultsOfTheirOwnOneAfterAnother) {
  EXPECT_THAT(Planned(Parse("  - {name: slow, latency: {delay: 500ms}, at: 1s, for: 10s, repeat: 3, rest: 5s}\n")),
              ElementsAre("slow 1s-11s", "slow-2 16s-26s", "slow-3 31s-41s"));
}

TEST(Repeats, RestAsLongAsTheAssertionsNeedToSeeRecovery) {
  // The budget of 3 s and a run of ten windows and one more.
  EXPECT_THAT(Planned(Parse("  - {name: slow, latency: {delay: 500ms}, for: 10s, repeat: 2}\n")),
              ElementsAre("slow 0-10s", "slow-2 24s-34s"));
}

TEST(Repeats, WhatComesAfterComesAfterTheLast) {
  EXPECT_THAT(Planned(Parse("  - {name: slow, latency: {delay: 500ms}, for: 1s, repeat: 2, rest: 1s}\n"
                            "  - {name: gone, reset: {edge: recommend}, for: 1s, after: slow}\n")),
              ElementsAre("slow 0-1s", "slow-2 2s-3s", "gone 3s-4s"));
}

TEST(Repeats, OnceIsNoRepeat) {
  const LoadedScenario loaded = Parse("  - {name: slow, latency: {delay: 500ms}, for: 1s}\n");
  EXPECT_THAT(Planned(loaded), ElementsAre("slow 0-1s"));
  EXPECT_THAT(RepeatsOf(loaded.scenario, "slow"), IsEmpty());
  EXPECT_THAT(RepeatsOf(loaded.scenario, ""), IsEmpty());
}

TEST(Repeats, AreFoundByTheFirstNameAndWithoutOneWhereThereIsNoOtherFault) {
  const LoadedScenario alone = Parse("  - {name: slow, latency: {delay: 500ms}, for: 1s, repeat: 2, rest: 1s}\n");
  EXPECT_THAT(RepeatsOf(alone.scenario, "slow"), ElementsAre("slow", "slow-2"));
  EXPECT_THAT(RepeatsOf(alone.scenario, ""), ElementsAre("slow", "slow-2"));
  const LoadedScenario both = Parse("  - {name: slow, latency: {delay: 500ms}, for: 1s, repeat: 2, rest: 1s}\n"
                                    "  - {name: gone, reset: {edge: recommend}, for: 1s, after: slow}\n");
  EXPECT_THAT(RepeatsOf(both.scenario, "slow"), ElementsAre("slow", "slow-2"));
  EXPECT_THAT(RepeatsOf(both.scenario, ""), IsEmpty());
}

TEST(Repeats, LoadsRestBetweenThemForANoLeak) {
  const LoadedScenario loaded = Parse("  - {name: slow, latency: {delay: 500ms}, for: 10s, repeat: 3, rest: 5s}\n", "no_leak: {settle: 20s}");
  ASSERT_EQ(FormatMistakes(loaded), "");
  const Plan plan = MakePlan(loaded.scenario);
  EXPECT_EQ(plan.rest, absl::Seconds(20));
  EXPECT_EQ(plan.faults_end, absl::Seconds(40) + 2 * absl::Seconds(21));
  EXPECT_EQ(plan.FaultsStart(), absl::Seconds(11 + 21));
  EXPECT_EQ(plan.Longest(), plan.FaultsStart() + plan.faults_end + plan.recovery + absl::Seconds(20));
}

TEST(Repeats, NamesAndRestsThatCannotBeAreMistakes) {
  EXPECT_THAT(FormatMistakes(Parse("  - {name: slow, latency: {delay: 500ms}, for: 1s, repeat: 2, rest: 1s}\n"
                                   "  - {name: slow-2, reset: {edge: recommend}, for: 1s, after: slow}\n")),
              HasSubstr("another fault has the name \"slow-2\""));
  EXPECT_THAT(FormatMistakes(Parse("  - {latency: {delay: 500ms}, for: 1s, rest: 1s}\n")), HasSubstr("rest goes with repeat"));
  EXPECT_THAT(FormatMistakes(Parse("  - {name: slow, latency: {delay: 500ms}, for: 10s, repeat: 2, rest: 1s}\n"
                                   "  - {name: gone, reset: {edge: recommend}, at: 9s, for: 4s}\n",
                                   "no_leak: {settle: 5s}")),
              HasSubstr("\"gone\" still acts then"));
}

}  // namespace
}  // namespace squall
