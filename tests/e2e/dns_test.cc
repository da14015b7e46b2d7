// The dns fault from scenario to verdict, redirected and at an address of its own, and one that nobody feels.
#include <gtest/gtest.h>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "tests/e2e/harness.h"

namespace squall {
namespace {

std::vector<std::string> Ports(bool resolver) {
  std::vector<std::string> vars;
  for (const char* name : {"port", "peer_port", "dns_port"}) vars.push_back(absl::StrCat("--var=", name, "=", FreePort()));
  if (resolver) vars.push_back(absl::StrCat("--var=resolver_port=", FreePort()));
  return vars;
}

// The same scenario, with a fault for a name that orders never asks for.
std::string Unnoticed(const Checkout& checkout) {
  const std::string text = ReadFile(checkout.path() + "/scenarios/network/dns-unprivileged.yaml");
  const size_t faults = text.find("faults:");
  return checkout.Write("unnoticed.yaml", absl::StrCat(text.substr(0, faults), R"(faults:
  - dns: {service: orders, names: ["*.example.org"], answer: nxdomain}
    for: 2s
assert:
  - recovery: {within: 2s, latency_slack: 20ms}
)"));
}

TEST(DnsFault, PassesOnTheCorrectServiceAndIsInconclusiveWhereItIsNotFelt) {
  const std::vector<std::string> before = Residue();
  {
    // Side by side: each is a run of its own.
    Checkout unnoticed, redirected;
    std::vector<std::string> args = {Unnoticed(unnoticed)};
    for (const std::string& var : Ports(/*resolver=*/true)) args.push_back(var);
    Process quiet(unnoticed.Run(args));
    if (IsRoot()) {
      args = {redirected.path() + "/scenarios/network/dns.yaml"};
      for (const std::string& var : Ports(/*resolver=*/false)) args.push_back(var);
      const JudgedRun run = RunToVerdict(redirected, args, 0);
      EXPECT_EQ(run.exit_code, 0) << run.output;
    } else {
      printf("LEFT OUT: dns_test: redirecting queries needs root\n");
    }
    EXPECT_EQ(quiet.Wait(absl::Seconds(90)), 2) << quiet.Output();
    EXPECT_TRUE(absl::StrContains(ReadFile(unnoticed.OnlyRun() + "/verdicts.json"), "was not observed: orders asked for none"))
        << quiet.Output();
  }
  EXPECT_EQ(ResidueSince(before), std::vector<std::string>());
}

}  // namespace
}  // namespace squall
