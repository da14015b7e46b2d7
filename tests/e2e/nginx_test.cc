// A target that nobody here wrote: Debian's nginx, sound and with one directive weakened.
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
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

class NginxTest : public ::testing::TestWithParam<Case> {};

TEST_P(NginxTest, IsJudgedByWhatItsDirectivesPromise) {
  if (!IsRoot()) {
    printf("LEFT OUT: nginx_test: redirecting connects needs root\n");
    GTEST_SKIP();
  }
  const Case& expected = GetParam();
  const std::vector<std::string> before = Residue();
  Checkout checkout;
  const JudgedRun run = RunToVerdict(
      checkout, {checkout.path() + "/scenarios/nginx/two-upstreams.yaml", absl::StrCat("--var=port=", expected.port)},
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
