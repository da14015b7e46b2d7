// Every scenario that the project ships or prints can be checked; and the ways in which a run can end early end it with their
// own exit code.
#include <gtest/gtest.h>

#include <filesystem>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "tests/e2e/harness.h"

namespace squall {
namespace {

namespace fs = std::filesystem;

// The blocks between ```yaml and ``` of a Markdown file.
std::vector<std::string> YamlBlocks(const std::string& markdown) {
  std::vector<std::string> blocks;
  for (size_t at = markdown.find("```yaml\n"); at != std::string::npos; at = markdown.find("```yaml\n", at)) {
    at += 8;
    blocks.push_back(markdown.substr(at, markdown.find("```", at) - at));
  }
  return blocks;
}

TEST(Scenarios, AllThatAreShippedOrPrintedHaveNoMistake) {
  Checkout checkout;
  std::vector<std::string> argv = {checkout.squall(), "check"};
  for (const auto& entry : fs::recursive_directory_iterator(checkout.path() + "/scenarios")) {
    // agents.yaml is no scenario: it is read with those beside it.
    if (entry.path().extension() == ".yaml" && entry.path().filename() != "agents.yaml") argv.push_back(entry.path());
  }
  EXPECT_GE(argv.size(), 7u);
  const std::vector<std::string> printed = YamlBlocks(ReadFile(std::string(getenv("TEST_SRCDIR")) + "/squall/README.md"));
  EXPECT_GE(printed.size(), 1u);
  for (size_t i = 0; i < printed.size(); ++i) {
    argv.push_back(checkout.Write(absl::StrCat("printed-", i, ".yaml"), printed[i]));
  }
  Process check(argv);
  EXPECT_EQ(check.Wait(absl::Seconds(30)), 0) << check.Output();
}

// A load straight at the peer that is killed.
constexpr char kAlone[] = R"(squall: 1
name: alone
services:
  recommend: {run: ["../../bazel-bin/tests/target/recommend", --port=PORT]}
load:
  straight: {http: {url: "http://127.0.0.1:PORT/PATH"}, rate: 50/s}
faults:
  - kill: {restart_after: 60s}
guardrails:
  - error_rate: {above: 50%, for: 2s}
assert:
  - recovery: {within: 90s}
)";

std::string Fill(const std::string& path) {
  return absl::StrReplaceAll(kAlone, {{"PORT", absl::StrCat(FreePort())}, {"PATH", path}});
}

TEST(Endings, GuardrailEndsTheRunAtOnceWithExitCode4) {
  Checkout checkout;
  Process run(checkout.Run({checkout.Write("alone.yaml", Fill("recommend"))}));
  EXPECT_EQ(run.Wait(absl::Seconds(50)), 4) << run.Output();
  EXPECT_TRUE(absl::StrContains(ReadFile(checkout.OnlyRun() + "/verdicts.json"), "GUARDRAIL"));
}

TEST(Endings, SickServiceIsNotBrokenFurtherAndTheRunIsInconclusive) {
  Checkout checkout;
  Process run(checkout.Run({checkout.Write("sick.yaml", absl::StrReplaceAll(Fill("no-such-path"),
                                                                           {{"guardrails:\n  - error_rate: {above: 50%, for: 2s}\n", ""}}))}));
  EXPECT_EQ(run.Wait(absl::Seconds(50)), 2) << run.Output();
  EXPECT_FALSE(absl::StrContains(run.Output(), "injected kill")) << run.Output();
  EXPECT_TRUE(absl::StrContains(ReadFile(checkout.OnlyRun() + "/verdicts.json"), "NOT_STEADY"));
}

TEST(Endings, MistakeInAScenarioIsExitCode64AndMakesNoRun) {
  Checkout checkout;
  Process run(checkout.Run({checkout.Write("wrong.yaml", absl::StrReplaceAll(Fill("recommend"), {{"rate", "rte"}}))}));
  EXPECT_EQ(run.Wait(absl::Seconds(20)), 64) << run.Output();
  EXPECT_TRUE(absl::StrContains(run.Output(), "wrong.yaml:6:")) << run.Output();
  EXPECT_FALSE(fs::exists(checkout.path() + "/runs"));
}

}  // namespace
}  // namespace squall
