// The main job on the bundled services: the sound one passes, each mutant fails for its own reason and no other.
#include <gtest/gtest.h>

#include <filesystem>
#include <memory>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "tests/e2e/harness.h"

namespace squall {
namespace {

struct Case {
  const char* mutant;
  int exit_code;
  const char* in_time;        // the verdict of each assertion
  const char* after_slowness;
  const char* after_death;
};

constexpr Case kCases[] = {
    {"none", 0, "PASS", "PASS", "PASS"},
    {"ignores-deadline", 1, "FAIL", "PASS", "PASS"},
    {"never-reconnects", 1, "PASS", "PASS", "FAIL"},
    {"never-drains", 1, "PASS", "FAIL", nullptr},  // what comes after a queue that never drains is not judged
};

class MainJobTest : public ::testing::TestWithParam<Case> {};

std::string Scenario() {
  return IsRoot() ? "/scenarios/demo/recommend.yaml" : "/scenarios/demo/unprivileged/recommend.yaml";
}

TEST_P(MainJobTest, GivesTheRightVerdictsAndLeavesNothing) {
  const Case& expected = GetParam();
  const std::vector<std::string> before = Residue();
  Checkout checkout;
  std::vector<std::string> args = {checkout.path() + Scenario(), absl::StrCat("--var=mutant=", expected.mutant),
                                   absl::StrCat("--var=port=", FreePort()), absl::StrCat("--var=peer_port=", FreePort())};
  if (!IsRoot()) args.push_back(absl::StrCat("--var=relay_port=", FreePort()));
  const JudgedRun run = RunToVerdict(checkout, args, expected.exit_code);
  EXPECT_EQ(run.exit_code, expected.exit_code) << run.output;
  const std::string& folder = run.folder;
  EXPECT_EQ(VerdictOf(folder, "answers-in-time"), expected.in_time) << run.output;
  EXPECT_EQ(VerdictOf(folder, "recovers-from-slowness"), expected.after_slowness) << run.output;
  if (expected.after_death != nullptr) {
    EXPECT_EQ(VerdictOf(folder, "recovers-from-death"), expected.after_death) << run.output;
  }
  EXPECT_EQ(ResidueSince(before), std::vector<std::string>());

  // The recorded timeline alone gives the same verdicts again.
  const std::string verdicts = ReadFile(folder + "/verdicts.json");
  std::filesystem::remove(folder + "/verdicts.json");
  Process judge({checkout.squall(), "judge", folder});
  EXPECT_EQ(judge.Wait(absl::Seconds(30)), expected.exit_code) << judge.Output();
  EXPECT_EQ(ReadFile(folder + "/verdicts.json"), verdicts);
  for (const char* file : {"report.html", "junit.xml", "scenario.yaml", "timeline.squall", "logs"}) {
    EXPECT_TRUE(std::filesystem::exists(absl::StrCat(folder, "/", file))) << file;
  }
}

INSTANTIATE_TEST_SUITE_P(Services, MainJobTest, ::testing::ValuesIn(kCases), [](const auto& test) {
  std::string name = test.param.mutant;
  for (char& c : name) {
    if (c == '-') c = '_';
  }
  return name;
});

}  // namespace
}  // namespace squall
