// A target that nobody here wrote: Debian's nginx, sound and with one directive weakened.
#include <gtest/gtest.h>

#include <fstream>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "tests/e2e/harness.h"

namespace squall {
namespace {

struct Case {
  const char* name;
  int port;
  int exit_code;
  const char* read_timeout;
  const char* after_death;
};

constexpr Case kCases[] = {
    {"Sound", 18380, 0, "PASS", "PASS"},
    {"ReadTimeoutWeakened", 18381, 1, "FAIL", "PASS"},
    {"NextUpstreamOff", 18382, 1, "PASS", "FAIL"},
};

// The text with ports of the case's own, so that the cases can run beside each other.
std::string Moved(const Case& of, const std::string& text) {
  const std::string hundreds = absl::StrCat(3 + of.port % 10);
  return absl::StrReplaceAll(text, {{"1838", absl::StrCat("12", hundreds, "8")}, {"1938", absl::StrCat("13", hundreds, "8")}});
}

class NginxTest : public ::testing::TestWithParam<Case> {};

TEST_P(NginxTest, IsJudgedByWhatItsDirectivesPromise) {
  if (!IsRoot()) {
    printf("LEFT OUT: nginx_test: redirecting connects needs root\n");
    GTEST_SKIP();
  }
  const Case& expected = GetParam();
  const std::vector<std::string> before = Residue();
  Checkout checkout;
  for (const char* file : {"nginx.conf", "two-upstreams.yaml"}) {
    const std::string path = absl::StrCat(checkout.path(), "/scenarios/nginx/", file);
    const std::string text = ReadFile(path);
    std::ofstream(path) << Moved(expected, text);
  }
  const JudgedRun run = RunToVerdict(
      checkout, {checkout.path() + "/scenarios/nginx/two-upstreams.yaml", absl::StrCat("--var=port=", Moved(expected, absl::StrCat(expected.port)))},
      expected.exit_code);
  EXPECT_EQ(run.exit_code, expected.exit_code) << run.output;
  const std::string& folder = run.folder;
  EXPECT_EQ(VerdictOf(folder, "read-timeout"), expected.read_timeout) << run.output;
  EXPECT_EQ(VerdictOf(folder, "after-slowness"), "PASS") << run.output;
  EXPECT_EQ(VerdictOf(folder, "after-death"), expected.after_death) << run.output;
  EXPECT_EQ(ResidueSince(before), std::vector<std::string>());
}

INSTANTIATE_TEST_SUITE_P(Doors, NginxTest, ::testing::ValuesIn(kCases),
                         [](const auto& test) { return test.param.name; });

}  // namespace
}  // namespace squall
