// The monitoring that people have: Debian's Prometheus and Alertmanager, sound and muted.
#include <gtest/gtest.h>

#include <cerrno>
#include <filesystem>
#include <fstream>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "tests/e2e/harness.h"

namespace squall {
namespace {

namespace fs = std::filesystem;

struct Case {
  const char* name;
  const char* scenario;
  const char* config;  // empty: as it stands in the file
  const char* fails;   // the only assertion that does; empty: none
  const char* reason;
  std::vector<std::string> holds;
  int ports;  // the case's own, in place of 26900 to 26905, so that the cases can run beside each other
};

const Case kCases[] = {
    {"Prometheus", "prometheus", "", "", "", {"prometheus-tells", "is-scraped", "fallbacks-show", "comes-back"}, 26910},
    {"PrometheusMuted",
     "prometheus",
     "prometheus-muted",
     "prometheus-tells",
     "OrdersFail never fired: monitor prometheus knows no alert of this name",
     {"is-scraped", "fallbacks-show", "comes-back"},
     26920},
    {"Alertmanager", "alertmanager", "", "", "", {"prometheus-tells", "on-call-is-told", "stays-one-alert", "comes-back"}, 26930},
    {"AlertmanagerMuted",
     "alertmanager",
     "alertmanager-muted",
     "on-call-is-told",
     "OrdersFail never fired within 10 s of the injection: monitor on-call was told nothing of it",
     {"prometheus-tells", "stays-one-alert", "comes-back"},
     26940},
};

void MovePorts(const std::string& folder, int ports) {
  for (const auto& entry : fs::recursive_directory_iterator(folder)) {
    if (!entry.is_regular_file()) continue;
    const std::string moved = absl::StrReplaceAll(ReadFile(entry.path()), {{"2690", absl::StrCat(ports / 10)}});
    std::ofstream(entry.path()) << moved;
  }
}

class MonitoringTest : public ::testing::TestWithParam<Case> {};

TEST_P(MonitoringTest, IsJudgedByWhatItTells) {
  const Case& expected = GetParam();
  const std::vector<std::string> before = Residue();
  Checkout checkout({"tests/target/go/depot"});
  const std::string folder = checkout.path() + "/scenarios/monitoring";
  MovePorts(folder, expected.ports);
  std::vector<std::string> args = {absl::StrCat(folder, "/", expected.scenario, ".yaml")};
  if (*expected.config != '\0') args.push_back(absl::StrCat("--var=config=", expected.config));
  const int exit_code = *expected.fails == '\0' ? 0 : 1;
  const JudgedRun run = RunToVerdict(checkout, args, exit_code);
  EXPECT_EQ(run.exit_code, exit_code) << run.output;
  for (const std::string& assertion : expected.holds) {
    EXPECT_EQ(VerdictOf(run.folder, assertion), "PASS") << assertion << "\n" << run.output;
  }
  if (exit_code != 0) {
    EXPECT_EQ(VerdictOf(run.folder, expected.fails), "FAIL") << run.output;
    EXPECT_PRED2([](const std::string& text, const std::string& part) { return absl::StrContains(text, part); },
                 ReadFile(run.folder + "/verdicts.json"), expected.reason);
  }
  for (int port = expected.ports; port <= expected.ports + 5; ++port) EXPECT_EQ(TryConnect(port), ECONNREFUSED) << port;
  EXPECT_EQ(ResidueSince(before), std::vector<std::string>());
}

INSTANTIATE_TEST_SUITE_P(Debian, MonitoringTest, ::testing::ValuesIn(kCases), [](const auto& test) { return test.param.name; });

}  // namespace
}  // namespace squall
