#include "controller/suite/schedule.h"

#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace squall {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

LoadedScenario Named(const std::string& name, const std::vector<std::string>& tags = {}, const std::string& path = "") {
  LoadedScenario loaded;
  loaded.path = path;
  loaded.scenario.set_name(name);
  for (const std::string& tag : tags) loaded.scenario.add_tags(tag);
  return loaded;
}

std::vector<std::string> Names(const std::vector<LoadedScenario>& scenarios) {
  std::vector<std::string> names;
  for (const LoadedScenario& loaded : scenarios) names.push_back(loaded.scenario.name());
  return names;
}

// 0 and 1 clash; 2 clashes with all.
const Clashes kClashes = {{true, true, true, false}, {true, true, true, false}, {true, true, true, true}, {false, false, true, true}};

TEST(NextToStart, IsTheFirstThatClashesWithNothingThatRuns) {
  EXPECT_EQ(NextToStart({0, 1, 2, 3}, {}, kClashes), 0u);
  EXPECT_EQ(NextToStart({1, 2, 3}, {0}, kClashes), 2u) << "scenario 3 overtakes those that have to wait";
  EXPECT_EQ(NextToStart({1, 2}, {0, 3}, kClashes), std::nullopt);
  EXPECT_EQ(NextToStart({2, 0}, {}, kClashes), 0u) << "scenario 2 runs alone";
  EXPECT_EQ(NextToStart({0}, {2}, kClashes), std::nullopt) << "and nothing beside it";
  EXPECT_EQ(NextToStart({}, {}, kClashes), std::nullopt);
}

TEST(NextToStart, NeverRunsAScenarioBesideItself) {
  EXPECT_EQ(NextToStart({3, 3}, {3}, kClashes), std::nullopt);
}

TEST(Order, RepeatsEachScenarioBeforeTheNext) {
  EXPECT_THAT(Order(3, 1), ElementsAre(0, 1, 2));
  EXPECT_THAT(Order(2, 3), ElementsAre(0, 0, 0, 1, 1, 1));
  EXPECT_THAT(Order(0, 3), IsEmpty());
}

TEST(WithTags, KeepsThoseThatHaveAnyOfThemInTheirOrder) {
  const std::vector<LoadedScenario> all = {Named("a", {"nightly", "checkout"}), Named("b"), Named("c", {"quick"}),
                                           Named("d", {"nightly"})};
  EXPECT_THAT(Names(*WithTags(all, {})), ElementsAre("a", "b", "c", "d"));
  EXPECT_THAT(Names(*WithTags(all, {"nightly"})), ElementsAre("a", "d"));
  EXPECT_THAT(Names(*WithTags(all, {"quick", "checkout"})), ElementsAre("a", "c"));
}

TEST(WithTags, WithoutAMatchNamesTheTagsThatThereAre) {
  const std::vector<LoadedScenario> all = {Named("a", {"nightly", "checkout"}), Named("c", {"quick", "nightly"})};
  EXPECT_THAT(std::string(WithTags(all, {"nightli", "x"}).status().message()),
              HasSubstr("no scenario has the tag nightli or x; there are: checkout, nightly, quick"));
  EXPECT_THAT(std::string(WithTags({Named("a")}, {"x"}).status().message()), HasSubstr("none has any tag"));
}

TEST(Labels, NameTheFileWhereTwoScenariosHaveOneName) {
  EXPECT_THAT(Labels({Named("a", {}, "1.yaml"), Named("b", {}, "2.yaml"), Named("a", {}, "3.yaml")}),
              ElementsAre("a (1.yaml)", "b", "a (3.yaml)"));
}

}  // namespace
}  // namespace squall
