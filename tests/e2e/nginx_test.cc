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
  Process run(checkout.Run(
      {checkout.path() + "/scenarios/nginx/two-upstreams.yaml", absl::StrCat("--var=port=", expected.port)}));
  EXPECT_EQ(run.Wait(absl::Seconds(150)), expected.exit_code) << run.Output();
  const std::string folder = checkout.OnlyRun();
  EXPECT_EQ(VerdictOf(folder, "read-timeout"), expected.read_timeout) << run.Output();
  EXPECT_EQ(VerdictOf(folder, "after-slowness"), "PASS") << run.Output();
  EXPECT_EQ(VerdictOf(folder, "after-death"), expected.after_death) << run.Output();
  EXPECT_EQ(Residue(), before);
}

INSTANTIATE_TEST_SUITE_P(Doors, NginxTest, ::testing::ValuesIn(kCases),
                         [](const auto& test) { return test.param.name; });

}  // namespace
}  // namespace squall
