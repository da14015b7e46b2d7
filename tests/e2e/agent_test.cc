// What the agent and the command refuse, and what they find: attached services, held services, foreign namespaces.
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/stat.h>

#include <filesystem>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "tests/e2e/harness.h"

namespace squall {
namespace {

// As in scenario.md, with ports of the test's own; orders and its peer are running already.
constexpr char kMinimal[] = R"(squall: 1
name: recommend-slow
services:
  orders: {attach: {listen: PORT}}
edges:
  recommend: {to: "127.0.0.1:PEER"}
load:
  checkout: {http: {url: "http://127.0.0.1:PORT/order"}, rate: 200/s}
faults:
  - latency: {delay: 500ms}
    for: 10s
assert:
  - timeout: {deadline: 300ms}
  - circuit_breaker: {open_time: 2s}
  - recovery: {within: 10s}
)";

class AgentTest : public ::testing::Test {
 protected:
  void SetUp() override { before_ = Residue(); }
  void StartServices(const std::vector<std::string>& more = {}) {
    recommend_ = std::make_unique<Process>(std::vector<std::string>{
        checkout_.target("recommend"), absl::StrCat("--port=", peer_), "--service-time=5ms"});
    std::vector<std::string> argv = {checkout_.target("orders"), absl::StrCat("--port=", port_),
                                     absl::StrCat("--recommend=127.0.0.1:", peer_), "--deadline=300ms"};
    argv.insert(argv.end(), more.begin(), more.end());
    orders_ = std::make_unique<Process>(argv);
    ASSERT_TRUE(Eventually(absl::Seconds(10), [&] { return TryConnect(port_) == 0 && TryConnect(peer_) == 0; }));
  }
  void StopServices() {
    for (auto* service : {&orders_, &recommend_}) {
      if (*service == nullptr) continue;
      (*service)->Signal(SIGTERM);
      EXPECT_EQ((*service)->Wait(absl::Seconds(10)), 0) << (*service)->Output();
      service->reset();
    }
  }
  std::string Fill(const std::string& text) const {
    return absl::StrReplaceAll(text, {{"PORT", absl::StrCat(port_)}, {"PEER", absl::StrCat(peer_)}});
  }

  Checkout checkout_;
  std::vector<std::string> before_;
  const int port_ = FreePort();
  const int peer_ = FreePort();
  std::unique_ptr<Process> recommend_, orders_;
};

TEST_F(AgentTest, MinimalScenarioRunsAsItStandsOnAServiceThatIsRunning) {
  if (!IsRoot()) {
    printf("LEFT OUT: agent_test: redirecting connects needs root\n");
    GTEST_SKIP();
  }
  StartServices({"--breaker-open-time=2s", "--workers=32"});
  Process run(checkout_.Run({checkout_.Write("minimal.yaml", Fill(kMinimal))}));
  // A second run is told who holds the service.
  ASSERT_TRUE(run.WaitForOutput("baseline", absl::Seconds(20))) << run.Output();
  Checkout other;
  Process second(other.Run({other.Write("minimal.yaml", Fill(kMinimal))}));
  EXPECT_EQ(second.Wait(absl::Seconds(20)), 3) << second.Output();
  EXPECT_TRUE(absl::StrContains(second.Output(), "is held by run")) << second.Output();
  EXPECT_TRUE(absl::StrContains(second.Output(), "until")) << second.Output();

  int code = run.Wait(absl::Seconds(120));
  if (code == 2) code = RunToVerdict(checkout_, {checkout_.Write("minimal.yaml", Fill(kMinimal))}, 0).exit_code;
  EXPECT_EQ(code, 0) << run.Output();
  // It was running before, and still is.
  EXPECT_EQ(TryConnect(port_), 0);
  StopServices();
  EXPECT_EQ(ResidueSince(before_), std::vector<std::string>());
}

TEST_F(AgentTest, TcpIsRefusedUntilThereIsMutualTls) {
  for (const char* address : {"127.0.0.1:7447", "tcp:127.0.0.1:7447", "0.0.0.0:7447", "localhost:7447"}) {
    Process agent({checkout_.agent(), absl::StrCat("--listen=", address)});
    EXPECT_EQ(agent.Wait(absl::Seconds(10)), 64) << address;
    EXPECT_TRUE(absl::StrContains(agent.Output(), "TCP is refused")) << agent.Output();
  }
  Process run(checkout_.Run({"--agent=127.0.0.1:7447", checkout_.Write("minimal.yaml", Fill(kMinimal))}));
  EXPECT_EQ(run.Wait(absl::Seconds(10)), 3);
  EXPECT_TRUE(absl::StrContains(run.Output(), "TCP is refused")) << run.Output();
}

TEST_F(AgentTest, AgentOnAUnixSocketIsPrivateAndServesARunAfterAnother) {
  const std::string socket = checkout_.path() + "/agent.sock";
  Process agent({checkout_.agent(), "--listen=unix:" + socket});
  ASSERT_TRUE(Eventually(absl::Seconds(10), [&] { return std::filesystem::exists(socket); })) << agent.Output();
  struct stat status;
  ASSERT_EQ(stat(socket.c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0700u & 0777u) << "nobody else may connect";
  // Nothing listens there: both runs fail alike, and the agent goes on.
  for (int i = 0; i < 2; ++i) {
    Process run(checkout_.Run({"--agent=unix:" + socket, checkout_.Write("minimal.yaml", Fill(kMinimal))}));
    EXPECT_EQ(run.Wait(absl::Seconds(20)), 3);
    EXPECT_TRUE(absl::StrContains(run.Output(), absl::StrCat("no process listens on TCP port ", port_))) << run.Output();
  }
  agent.Signal(SIGTERM);
  EXPECT_EQ(agent.Wait(absl::Seconds(10)), 0) << agent.Output();
}

TEST_F(AgentTest, ServiceThatDoesNotStartIsToldWithItsLastWords) {
  StartServices();  // the port is taken
  const std::string path = checkout_.Write("taken.yaml", Fill(R"(squall: 1
name: taken
services:
  orders: {run: ["../../bazel-bin/tests/target/orders", --port=PORT, "--recommend=127.0.0.1:PEER"]}
edges:
  recommend: {to: "127.0.0.1:PEER", relay_at: "127.0.0.1:RELAY"}
load:
  checkout: {http: {url: "http://127.0.0.1:PORT/order"}, rate: 50/s}
faults:
  - latency: {delay: 700ms}
    for: 5s
assert:
  - recovery: {within: 10s}
)"));
  std::string text = ReadFile(path);
  checkout_.Write("taken.yaml", absl::StrReplaceAll(text, {{"RELAY", absl::StrCat(FreePort())}}));
  Process run(checkout_.Run({path}));
  EXPECT_EQ(run.Wait(absl::Seconds(30)), 3) << run.Output();
  EXPECT_TRUE(absl::StrContains(run.Output(), "service orders exited with code 1 before it was ready; it printed:"))
      << run.Output();
  StopServices();
  EXPECT_EQ(ResidueSince(before_), std::vector<std::string>());
}

}  // namespace
}  // namespace squall
