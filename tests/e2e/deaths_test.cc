// Whatever dies, and whenever: faults and services go, and nothing of squall is left.
#include <gtest/gtest.h>
#include <signal.h>

#include <filesystem>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "tests/e2e/harness.h"

namespace squall {
namespace {

// Two services and a latency that lasts longer than any test.
constexpr char kScenario[] = R"(squall: 1
name: long
services:
  recommend:
    run: ["../../bazel-bin/tests/target/recommend", --port=PEER]
  orders:
    run: ["../../bazel-bin/tests/target/orders", --port=PORT, "--recommend=${edges.recommend.address}", --deadline=300ms]
    ready: {http: {url: "http://127.0.0.1:PORT/healthz"}}
edges:
  recommend: {from: orders, to: "127.0.0.1:PEER", relay_at: "127.0.0.1:RELAY"}
load:
  checkout:
    http: {url: "http://127.0.0.1:PORT/order"}
    rate: 100/s
    degraded_when: {headers: {x-fallback: "true"}}
faults:
  - latency: {edge: recommend, delay: 500ms}
    for: 600s
assert:
  - timeout: {deadline: 300ms}
)";

class DeathsTest : public ::testing::Test {
 protected:
  void SetUp() override {
    before_ = Residue();
    port_ = FreePort();
    peer_ = FreePort();
    relay_ = FreePort();
    path_ = checkout_.Write("long.yaml", absl::StrReplaceAll(kScenario, {{"PORT", absl::StrCat(port_)},
                                                                         {"PEER", absl::StrCat(peer_)},
                                                                         {"RELAY", absl::StrCat(relay_)}}));
  }
  // A run with the fault on.
  std::unique_ptr<Process> StartAndInject() {
    auto run = std::make_unique<Process>(checkout_.Run({path_}));
    EXPECT_TRUE(run->WaitForOutput("injected latency", absl::Seconds(40))) << run->Output();
    EXPECT_EQ(TryConnect(port_), 0);
    EXPECT_EQ(TryConnect(relay_), 0);
    return run;
  }
  bool AllGone(absl::Duration within) {
    return Eventually(within, [&] { return TryConnect(port_) != 0 && TryConnect(peer_) != 0 && TryConnect(relay_) != 0 &&
                                           ResidueSince(before_, absl::ZeroDuration()).empty(); });
  }
  // The agent that a run started: its child.
  static pid_t AgentOf(pid_t squall) {
    for (const auto& entry : std::filesystem::directory_iterator("/proc")) {
      const std::string stat = ReadFile(entry.path().string() + "/stat");
      if (absl::StrContains(stat, "(squall-agent)") &&
          absl::StrContains(stat.substr(stat.rfind(')')), absl::StrCat(" ", squall, " "))) {
        return atoi(entry.path().filename().c_str());
      }
    }
    return -1;
  }

  Checkout checkout_;
  std::vector<std::string> before_;
  std::string path_;
  int port_ = 0, peer_ = 0, relay_ = 0;
};

TEST_F(DeathsTest, InterruptHealsFirstWritesTheReportAndExits130) {
  auto run = StartAndInject();
  const absl::Time asked = NowTime();
  run->Signal(SIGINT);
  run->Signal(SIGINT);  // a second one does not skip healing
  EXPECT_EQ(run->Wait(absl::Seconds(20)), 130) << run->Output();
  EXPECT_LT(NowTime() - asked, absl::Seconds(8)) << "5 s and what a busy machine adds";
  EXPECT_TRUE(AllGone(absl::Seconds(1)));
  EXPECT_TRUE(std::filesystem::exists(checkout_.OnlyRun() + "/report.html"));
  EXPECT_TRUE(absl::StrContains(ReadFile(checkout_.OnlyRun() + "/verdicts.json"), "INTERRUPTED"));
}

TEST_F(DeathsTest, TerminationIsTheSame) {
  auto run = StartAndInject();
  run->Signal(SIGTERM);
  EXPECT_EQ(run->Wait(absl::Seconds(20)), 130) << run->Output();
  EXPECT_TRUE(AllGone(absl::Seconds(1)));
}

TEST_F(DeathsTest, KilledControllerHealsAtOnce) {
  auto run = StartAndInject();
  run->Signal(SIGKILL);
  EXPECT_EQ(run->Wait(absl::Seconds(5)), 128 + SIGKILL);
  EXPECT_TRUE(AllGone(absl::Seconds(5))) << "stopping services may take their 2 s of grace";
}

TEST_F(DeathsTest, SilentControllerHealsWithinLeasePlusOneSecond) {
  auto run = StartAndInject();
  run->Signal(SIGSTOP);
  const absl::Time stopped = NowTime();
  EXPECT_TRUE(Eventually(absl::Seconds(20), [&] { return TryConnect(relay_) != 0; }));
  const absl::Duration took = NowTime() - stopped;
  EXPECT_GT(took, absl::Seconds(3)) << "the lease of 5 s, less the last renewal's age";
  EXPECT_LT(took, absl::Seconds(8)) << "lease + 1 s, and what a busy machine adds";
  run->Signal(SIGCONT);
  EXPECT_EQ(run->Wait(absl::Seconds(20)), 3) << run->Output();
  EXPECT_TRUE(AllGone(absl::Seconds(3)));
}

TEST_F(DeathsTest, KilledAgentTakesItsServicesWithIt) {
  auto run = StartAndInject();
  const pid_t agent = AgentOf(run->pid());
  ASSERT_GT(agent, 0);
  kill(agent, SIGKILL);
  EXPECT_TRUE(Eventually(absl::Seconds(3), [&] { return TryConnect(port_) != 0 && TryConnect(peer_) != 0 && TryConnect(relay_) != 0; }));
  // Gone it is, but there is no agent left to confirm it.
  EXPECT_EQ(run->Wait(absl::Seconds(20)), 5) << run->Output();
  EXPECT_TRUE(AllGone(absl::Seconds(3)));
}

}  // namespace
}  // namespace squall
