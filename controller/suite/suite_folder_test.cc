#include "controller/suite/suite_folder.h"

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "controller/suite/outcome.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace squall {
namespace {

namespace fs = std::filesystem;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::UnorderedElementsAre;

class SuiteFolderTest : public ::testing::Test {
 protected:
  SuiteFolderTest() {
    std::string name = ::testing::TempDir() + "/suite-XXXXXX";
    root_ = mkdtemp(name.data());
  }
  ~SuiteFolderTest() override { fs::remove_all(root_); }
  void Make(const std::string& folder, const std::vector<std::string>& files) {
    fs::create_directories(root_ + "/" + folder);
    for (const std::string& file : files) std::ofstream(root_ + "/" + folder + "/" + file) << "x";
  }
  std::vector<std::string> Left() const {
    std::vector<std::string> names;
    for (const auto& entry : fs::directory_iterator(root_)) names.push_back(entry.path().filename());
    return names;
  }
  std::string root_;
};

TEST(ToPrune, LeavesTheNewestAndWhatIsNotOfSquall) {
  const std::vector<std::string> names = {"20260101T000000Z-demo-0000aa", "20260103T000000Z-a-b.c-0000ac", "notes",
                                          "20260102T000000Z-demo-0000ab", "20260101T000000Z", "20260101T000000Z-demo-XYZXYZ"};
  EXPECT_THAT(ToPrune(names, 1), ElementsAre("20260102T000000Z-demo-0000ab", "20260101T000000Z-demo-0000aa"));
  EXPECT_THAT(ToPrune(names, 2), ElementsAre("20260101T000000Z-demo-0000aa"));
  EXPECT_THAT(ToPrune(names, 3), IsEmpty());
  EXPECT_THAT(ToPrune(names, 30), IsEmpty());
}

TEST_F(SuiteFolderTest, PruningDeletesOldRunsAndSuitesAndNothingThatGoesOn) {
  Make("20260101T000000Z-run-0000aa", {"report.html", "timeline.squall"});
  Make("20260101T000000Z-suite-0000ab", {"index.html", "suite.json"});
  Make("20260101T000000Z-going-0000ac", {"timeline.squall"});
  Make("20260101T000000Z-killed-0000ad", {"timeline.squall"});
  fs::last_write_time(root_ + "/20260101T000000Z-killed-0000ad/timeline.squall",
                      fs::file_time_type::clock::now() - std::chrono::hours(2));
  Make("20260102T000000Z-newest-0000ae", {"report.html"});
  Make("mine", {"report.html"});
  const auto deleted = Prune(root_, 1);
  ASSERT_TRUE(deleted.ok()) << deleted.status();
  EXPECT_EQ(deleted->size(), 3u);
  EXPECT_THAT(Left(), UnorderedElementsAre("20260101T000000Z-going-0000ac", "20260102T000000Z-newest-0000ae", "mine"));
}

TEST_F(SuiteFolderTest, PruningDoesNotFollowLinks) {
  Make("elsewhere", {"kept"});
  Make("20260102T000000Z-newest-0000ae", {"report.html"});
  fs::create_directory_symlink(root_ + "/elsewhere", root_ + "/20260101T000000Z-link-0000aa");
  EXPECT_THAT(*Prune(root_, 1), IsEmpty());
  EXPECT_TRUE(fs::exists(root_ + "/elsewhere/kept"));
}

TEST_F(SuiteFolderTest, JudgingAgainFailsWhatHasLostItsTimelineAndKeepsWhatNeverHadOne) {
  SuiteResult suite;
  suite.set_suite("demo");
  ScenarioResult& lost = *suite.add_scenarios();
  lost.set_scenario("lost");
  lost.set_repeat(1);
  lost.add_runs()->set_folder("20260101T000000Z-lost-0000aa");
  ScenarioResult& never = *suite.add_scenarios();
  never.set_scenario("never");
  never.set_repeat(1);
  never.add_runs()->mutable_result()->set_exit_code(3);
  never.mutable_runs(0)->mutable_result()->set_ending_reason("disk full");
  Conclude(suite);
  EXPECT_EQ(suite.exit_code(), 3);
  lost.mutable_runs(0)->mutable_result()->set_exit_code(0);
  ASSERT_TRUE(WriteSuite(root_, suite, /*at_end=*/false).ok());
  EXPECT_TRUE(IsSuiteFolder(root_));
  EXPECT_FALSE(fs::exists(root_ + "/index.html")) << "not before the end";

  const auto judged = JudgeSuite(root_);
  ASSERT_TRUE(judged.ok()) << judged.status();
  EXPECT_EQ(judged->scenarios(0).exit_code(), 3);
  EXPECT_EQ(judged->scenarios(1).runs(0).result().ending_reason(), "disk full");
  EXPECT_TRUE(fs::exists(root_ + "/index.html"));
}

TEST_F(SuiteFolderTest, WhatIsNoSuiteIsSaid) {
  EXPECT_FALSE(IsSuiteFolder(root_));
  EXPECT_EQ(JudgeSuite(root_).status().code(), absl::StatusCode::kNotFound);
  std::ofstream(root_ + "/suite.json") << "{ half";
  EXPECT_EQ(JudgeSuite(root_).status().code(), absl::StatusCode::kDataLoss);
}

}  // namespace
}  // namespace squall
