// Every scenario in scenarios/network is run by a test, most of them here, a few at a time; and there is one for each kind of fault.
#include <gtest/gtest.h>

#include <filesystem>
#include <map>
#include <set>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "controller/scenario.h"
#include "tests/e2e/harness.h"

namespace squall {
namespace {

namespace fs = std::filesystem;

// What needs more than to be started, and the test that starts it.
const std::map<std::string, std::string> kElsewhere = {
    {"dns.yaml", "dns_test"},
    {"edge-by-name.yaml", "edges_test"},
    {"existing-reset.yaml", "live_test"},
    {"tls.yaml", "tls_test"},
};
constexpr int kAtATime = 10;

std::vector<std::string> NetworkScenarios(const Checkout& checkout) {
  std::vector<std::string> paths;
  for (const auto& entry : fs::directory_iterator(checkout.path() + "/scenarios/network")) {
    if (kElsewhere.count(entry.path().filename()) == 0) paths.push_back(entry.path());
  }
  return paths;
}

TEST(NetworkScenarios, OfEveryKindOfFaultThereIsOne) {
  Checkout checkout;
  std::set<std::string> used;
  for (const auto& entry : fs::recursive_directory_iterator(checkout.path() + "/scenarios")) {
    if (entry.path().extension() != ".yaml" || entry.path().filename() == "agents.yaml") continue;
    const absl::StatusOr<LoadedScenario> loaded = LoadScenario(entry.path(), {});
    ASSERT_TRUE(loaded.ok()) << loaded.status();
    for (const Fault& fault : loaded->scenario.faults()) {
      used.insert(fault.GetReflection()->GetOneofFieldDescriptor(fault, Fault::descriptor()->FindOneofByName("kind"))->name());
    }
  }
  const auto* kinds = Fault::descriptor()->FindOneofByName("kind");
  for (int i = 0; i < kinds->field_count(); ++i) {
    EXPECT_EQ(used.count(kinds->field(i)->name()), 1u) << "no scenario has a fault of kind " << kinds->field(i)->name();
  }
}

TEST(NetworkScenarios, PassAgainstASoundService) {
  if (!IsRoot()) {
    printf("LEFT OUT: network_scenarios_test: redirecting connects needs root\n");
    GTEST_SKIP();
  }
  const std::vector<std::string> before = Residue();
  {
    Checkout checkout({"tests/target/asker", "tests/target/echo"});
    // latency-live.yaml attaches to these.
    Process recommend({checkout.target("recommend"), "--port=19413", "--service-time=12ms"});
    Process orders({checkout.target("orders"), "--port=18413", "--recommend=127.0.0.1:19413", "--deadline=300ms"});
    ASSERT_TRUE(Eventually(absl::Seconds(10), [] { return TryConnect(19413) == 0 && TryConnect(18413) == 0; }));
    std::vector<std::string> args = {"--parallel", absl::StrCat(kAtATime), "--inconclusive", "rerun"};
    for (const std::string& path : NetworkScenarios(checkout)) args.push_back(path);
    Process run(checkout.Run(args));
    EXPECT_EQ(run.Wait(absl::Minutes(6)), 0) << run.Output();
  }
  EXPECT_EQ(ResidueSince(before), std::vector<std::string>());
}

}  // namespace
}  // namespace squall
