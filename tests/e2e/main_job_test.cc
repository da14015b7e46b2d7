// The main job on the bundled services, for an ordinary user too: the sound one passes, nothing is left, and the recorded run says the
// same. The mutants are judge_matrix_test's.
#include <gtest/gtest.h>

#include <filesystem>
#include <memory>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "tests/e2e/harness.h"

namespace squall {
namespace {

std::string Scenario() {
  return IsRoot() ? "/scenarios/demo/recommend.yaml" : "/scenarios/demo/unprivileged/recommend.yaml";
}

TEST(MainJob, GivesTheRightVerdictsAndLeavesNothing) {
  const std::vector<std::string> before = Residue();
  Checkout checkout;
  std::vector<std::string> args = {checkout.path() + Scenario(), absl::StrCat("--var=port=", FreePort()), absl::StrCat("--var=peer_port=", FreePort())};
  if (!IsRoot()) args.push_back(absl::StrCat("--var=relay_port=", FreePort()));
  const JudgedRun run = RunToVerdict(checkout, args, 0);
  EXPECT_EQ(run.exit_code, 0) << run.output;
  const std::string& folder = run.folder;
  EXPECT_EQ(VerdictOf(folder, "answers-in-time"), "PASS") << run.output;
  EXPECT_EQ(VerdictOf(folder, "recovers-from-slowness"), "PASS") << run.output;
  EXPECT_EQ(VerdictOf(folder, "recovers-from-death"), "PASS") << run.output;
  EXPECT_EQ(ResidueSince(before), std::vector<std::string>());

  // The recorded timeline alone gives the same verdicts again.
  const std::string verdicts = ReadFile(folder + "/verdicts.json");
  std::filesystem::remove(folder + "/verdicts.json");
  Process judge({checkout.squall(), "judge", folder});
  EXPECT_EQ(judge.Wait(absl::Seconds(30)), 0) << judge.Output();
  EXPECT_EQ(ReadFile(folder + "/verdicts.json"), verdicts);
  for (const char* file : {"report.html", "junit.xml", "scenario.yaml", "timeline.squall", "logs"}) {
    EXPECT_TRUE(std::filesystem::exists(absl::StrCat(folder, "/", file))) << file;
  }
}

}  // namespace
}  // namespace squall
