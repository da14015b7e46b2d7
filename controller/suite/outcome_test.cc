#include "controller/suite/outcome.h"

#include <vector>

#include "gtest/gtest.h"

namespace squall {
namespace {

// A suite of scenarios with one run each, which ended with these exit codes.
SuiteResult SuiteOf(const std::vector<int>& codes, SuiteResult::Inconclusive inconclusive = SuiteResult::INCONCLUSIVE_FAIL) {
  SuiteResult suite;
  suite.set_inconclusive(inconclusive);
  for (const int code : codes) {
    ScenarioResult& scenario = *suite.add_scenarios();
    scenario.set_repeat(1);
    scenario.add_runs()->mutable_result()->set_exit_code(code);
  }
  return suite;
}

int Concluded(SuiteResult suite) {
  Conclude(suite);
  return suite.exit_code();
}

TEST(Conclude, TakesTheMostSeriousOfMany) {
  EXPECT_EQ(Concluded(SuiteOf({0, 0})), 0);
  // Each beats all that follow it.
  const std::vector<int> most_serious_first = {5, 3, 130, 4, 1, 2, 0};
  for (size_t i = 0; i < most_serious_first.size(); ++i) {
    for (size_t j = i; j < most_serious_first.size(); ++j) {
      EXPECT_EQ(Concluded(SuiteOf({most_serious_first[j], most_serious_first[i]})), most_serious_first[i]);
      EXPECT_EQ(Concluded(SuiteOf({most_serious_first[i], most_serious_first[j]})), most_serious_first[i]);
    }
  }
}

TEST(Conclude, NeverPassesASuiteWithoutScenarios) { EXPECT_EQ(Concluded(SuiteOf({})), 2); }

TEST(Conclude, CountsInconclusiveAsTheSuiteSays) {
  EXPECT_EQ(Concluded(SuiteOf({0, 2}, SuiteResult::INCONCLUSIVE_FAIL)), 2);
  EXPECT_EQ(Concluded(SuiteOf({0, 2}, SuiteResult::INCONCLUSIVE_RERUN)), 2);
  EXPECT_EQ(Concluded(SuiteOf({0, 2}, SuiteResult::INCONCLUSIVE_WARN)), 0);
  EXPECT_EQ(Concluded(SuiteOf({1, 2}, SuiteResult::INCONCLUSIVE_WARN)), 1);
  SuiteResult warned = SuiteOf({2}, SuiteResult::INCONCLUSIVE_WARN);
  Conclude(warned);
  EXPECT_EQ(warned.scenarios(0).exit_code(), 2) << "its own table still says so";
}

TEST(Conclude, CountsTheRunThatReplacedAnother) {
  SuiteResult suite = SuiteOf({2}, SuiteResult::INCONCLUSIVE_RERUN);
  suite.mutable_scenarios(0)->mutable_runs(0)->set_replaced(true);
  suite.mutable_scenarios(0)->add_runs()->mutable_result()->set_exit_code(0);
  EXPECT_EQ(Concluded(suite), 0);
  suite.mutable_scenarios(0)->mutable_runs(1)->mutable_result()->set_exit_code(1);
  EXPECT_EQ(Concluded(suite), 1);
}

TEST(Conclude, DoesNotAverageAFailedRepetitionAway) {
  SuiteResult suite = SuiteOf({0});
  suite.mutable_scenarios(0)->set_repeat(3);
  suite.mutable_scenarios(0)->add_runs()->mutable_result()->set_exit_code(1);
  suite.mutable_scenarios(0)->add_runs()->mutable_result()->set_exit_code(0);
  Conclude(suite);
  EXPECT_EQ(suite.scenarios(0).exit_code(), 1);
  EXPECT_EQ(suite.exit_code(), 1);
}

TEST(Conclude, NeverPassesWhatWasNotRun) {
  SuiteResult suite = SuiteOf({0, 0}, SuiteResult::INCONCLUSIVE_WARN);
  suite.mutable_scenarios(1)->clear_runs();
  EXPECT_EQ(Concluded(suite), 2) << "nothing was seen of it, and a warning would hide that";
  suite.set_interrupted(true);
  EXPECT_EQ(Concluded(suite), 130);

  SuiteResult repeated = SuiteOf({0});
  repeated.mutable_scenarios(0)->set_repeat(2);
  EXPECT_EQ(Concluded(repeated), 2);
  EXPECT_TRUE(IsIncomplete(repeated.scenarios(0)));
}

TEST(IsIncomplete, DoesNotCountARunThatWasReplaced) {
  ScenarioResult scenario;
  scenario.set_repeat(1);
  scenario.add_runs()->set_replaced(true);
  EXPECT_TRUE(IsIncomplete(scenario)) << "interrupted before it could be run again";
  scenario.add_runs();
  EXPECT_FALSE(IsIncomplete(scenario));
}

TEST(EndsFailFast, DependsOnWhatInconclusiveCountsAs) {
  EXPECT_FALSE(EndsFailFast(0, SuiteResult::INCONCLUSIVE_FAIL));
  EXPECT_TRUE(EndsFailFast(1, SuiteResult::INCONCLUSIVE_FAIL));
  EXPECT_TRUE(EndsFailFast(2, SuiteResult::INCONCLUSIVE_FAIL));
  EXPECT_FALSE(EndsFailFast(2, SuiteResult::INCONCLUSIVE_WARN));
  EXPECT_TRUE(EndsFailFast(3, SuiteResult::INCONCLUSIVE_WARN));
}

}  // namespace
}  // namespace squall
