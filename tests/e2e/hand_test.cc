// By hand: an operator breaks one thing of what is running, watches, and it heals whatever happens.
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/stat.h>

#include <filesystem>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "tests/e2e/harness.h"

namespace squall {
namespace {

// How long a GET takes, -1 s when it fails.
absl::Duration TimeOf(int port, const std::string& path) {
  Process curl({"curl", "--silent", "--fail", "--output", "/dev/null", "--max-time", "5", "--write-out", "%{time_total}",
                absl::StrCat("http://127.0.0.1:", port, path)});
  double seconds = -1;
  if (curl.Wait(absl::Seconds(10)) != 0 || !absl::SimpleAtod(curl.Output(), &seconds)) return absl::Seconds(-1);
  return absl::Seconds(seconds);
}

class HandTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!IsRoot()) {
      printf("LEFT OUT: hand_test: redirecting the connects of a running service needs root\n");
      GTEST_SKIP();
    }
    // What is healed here is nobody else's.
    setenv("SQUALL_RUNTIME_DIR", folder_.c_str(), 1);
    StartPeer();
    orders_ = StartOrders(port_);
    bystander_ = StartOrders(other_);
    ASSERT_TRUE(Eventually(absl::Seconds(10), [&] {
      return TryConnect(port_) == 0 && TryConnect(peer_) == 0 && TryConnect(other_) == 0;
    }));
  }
  void TearDown() override {
    const pid_t orders = orders_ == nullptr ? 0 : orders_->pid();
    for (auto* service : {&bystander_, &orders_, &recommend_}) {
      if (*service != nullptr) (*service)->Signal(SIGTERM);
      if (*service != nullptr) (*service)->Wait(absl::Seconds(10));
      service->reset();
    }
    EXPECT_TRUE(Eventually(absl::Seconds(5), [&] { return Left().empty(); })) << Left();
    EXPECT_FALSE(HasLock(orders));
  }

  void StartPeer() {
    recommend_ = std::make_unique<Process>(std::vector<std::string>{
        checkout_.target("recommend"), absl::StrCat("--port=", peer_), "--service-time=1ms"});
    EXPECT_TRUE(Eventually(absl::Seconds(10), [&] { return TryConnect(peer_) == 0; })) << recommend_->Output();
  }
  // Connections from before the injection are not redirected, and orders keeps its own: end them.
  void EndConnections() {
    recommend_->Signal(SIGTERM);
    EXPECT_EQ(recommend_->Wait(absl::Seconds(10)), 0);
    StartPeer();
  }
  std::unique_ptr<Process> StartOrders(int port) {
    return std::make_unique<Process>(std::vector<std::string>{checkout_.target("orders"), absl::StrCat("--port=", port),
                                                              absl::StrCat("--recommend=127.0.0.1:", peer_),
                                                              "--deadline=4s"});
  }
  // squall inject latency on the calls of orders to recommend.
  std::vector<std::string> Inject(const std::vector<std::string>& more) {
    std::vector<std::string> argv = {checkout_.squall(), "inject", "latency", absl::StrCat("--listen=", port_),
                                     absl::StrCat("--to=127.0.0.1:", peer_), "--delay=400ms"};
    argv.insert(argv.end(), more.begin(), more.end());
    return argv;
  }
  std::string Squall(const std::vector<std::string>& args, int expected_exit_code) {
    std::vector<std::string> argv = {checkout_.squall()};
    argv.insert(argv.end(), args.begin(), args.end());
    Process process(argv);
    EXPECT_EQ(process.Wait(absl::Seconds(40)), expected_exit_code) << process.Output();
    return process.Output();
  }

  // What runs of this checkout's programs: agents and their guardians are among them.
  std::string Left() {
    std::string left;
    for (const auto& entry : std::filesystem::directory_iterator("/proc")) {
      std::error_code error;
      const std::string program = std::filesystem::read_symlink(entry.path() / "exe", error);
      if (!error && absl::StartsWith(program, checkout_.path())) absl::StrAppend(&left, entry.path().string(), " ", program, "\n");
    }
    return left;
  }
  static bool HasLock(pid_t pid) {
    for (const auto& entry : std::filesystem::directory_iterator("/run/lock")) {
      if (absl::StartsWith(entry.path().filename().string(), absl::StrCat("squall-", pid, "-"))) return true;
    }
    return false;
  }

  // The fault holds back what orders asks for, and nothing of what its neighbour on the same peer does.
  bool IsSlow() { return TimeOf(port_, "/order") > absl::Milliseconds(395); }
  // A machine that is busy can make one call slow, not five in a row.
  bool IsFast(int port) {
    for (int i = 0; i < 5; ++i) {
      const absl::Duration took = TimeOf(port, "/order");
      if (took >= absl::ZeroDuration() && took < absl::Milliseconds(300)) return true;
    }
    return false;
  }
  // Not before it is injected: connections from before are kept, and not redirected.
  void ExpectSlowForOrdersAlone(const Process& inject) {
    ASSERT_TRUE(Eventually(absl::Seconds(20), [&] {
      return absl::StrContains(inject.Output(), "\ninjected: ") || absl::StrContains(inject.Output(), "\"INJECTED\"");
    })) << inject.Output();
    EXPECT_TRUE(Eventually(absl::Seconds(10), [&] { return IsSlow(); })) << "the fault acts";
    EXPECT_TRUE(IsSlow()) << "on every call";
    EXPECT_TRUE(IsFast(other_)) << "the bystander is untouched";
  }
  // The run by hand as `squall status` shows it; empty when there is none.
  std::string RunId() {
    for (const absl::string_view line : absl::StrSplit(Squall({"status"}, 0), '\n')) {
      if (absl::StrContains(line, "latency-by-hand") && !absl::StartsWith(line, " ")) {
        return std::string(line.substr(0, line.find(' ')));
      }
    }
    return "";
  }

  Checkout checkout_;
  const std::string folder_ = checkout_.path() + "/run";
  const int port_ = FreePort(), peer_ = FreePort(), other_ = FreePort();
  std::unique_ptr<Process> recommend_, orders_, bystander_;
};

TEST_F(HandTest, LatencyActsOnTheServiceAloneAndIsGoneWhenItsTimeIsOver) {
  ASSERT_TRUE(IsFast(port_));
  EndConnections();
  Process inject(Inject({"--for=6s"}));
  ExpectSlowForOrdersAlone(inject);
  EXPECT_EQ(inject.Wait(absl::Seconds(30)), 0) << inject.Output();
  EXPECT_TRUE(IsFast(port_));
  const std::string said = inject.Output();
  // The plan, the evidence while it acts, and the end.
  for (const char* line : {"scope:      edge: calls of target to 127.0.0.1:", "undone by:", "target cpu ", "healed after 6",
                           "held back; achieved p50 ", " | dependency "}) {
    EXPECT_TRUE(absl::StrContains(said, line)) << line << "\n" << said;
  }
}

TEST_F(HandTest, InterruptionAndTerminationHealWithinFiveSecondsAndExit130) {
  for (const int signal : {SIGINT, SIGTERM}) {
    Process inject(Inject({"--for=10m"}));
    ExpectSlowForOrdersAlone(inject);
    const absl::Time asked = NowTime();
    inject.Signal(signal);
    EXPECT_EQ(inject.Wait(absl::Seconds(20)), 130) << inject.Output();
    EXPECT_LT(NowTime() - asked, absl::Seconds(7)) << "5 s and what a busy machine adds";
    EXPECT_TRUE(IsFast(port_));
    EndConnections();
    EXPECT_TRUE(absl::StrContains(inject.Output(), "interrupted")) << inject.Output();
  }
}

TEST_F(HandTest, KilledControllerHealsAtOnce) {
  Process inject(Inject({"--for=10m"}));
  ExpectSlowForOrdersAlone(inject);
  inject.Signal(SIGKILL);
  EXPECT_EQ(inject.Wait(absl::Seconds(5)), 128 + SIGKILL);
  EXPECT_TRUE(Eventually(absl::Seconds(4), [&] { return IsFast(port_) && !IsSlow(); }));
  EXPECT_TRUE(Eventually(absl::Seconds(10), [&] {
    return absl::StrContains(Squall({"status"}, 0), "Nothing is held");
  }));
}

TEST_F(HandTest, StatusShowsItFromAnotherTerminalAndHealEndsItAndSaysWhoDid) {
  EXPECT_TRUE(absl::StrContains(Squall({"status"}, 0), "Nothing is held or injected"));
  EXPECT_TRUE(absl::StrContains(Squall({"heal"}, 0), "Nothing is held or injected"));
  Process inject(Inject({"--for=10m"}));
  ExpectSlowForOrdersAlone(inject);
  const std::string status = Squall({"status"}, 0);
  for (const char* said : {"latency-by-hand", "held by   run ", " until ", "holds     target", "lease     5 s, renewed ",
                           "400 ms on every response over dependency", "held back"}) {
    EXPECT_TRUE(absl::StrContains(status, said)) << said << "\n" << status;
  }
  const std::string run_id = RunId();
  ASSERT_NE(run_id, "") << status;
  const std::string json = Squall({"status", "--json"}, 0);
  EXPECT_TRUE(absl::StrContains(json, absl::StrCat("\"run_id\": \"", run_id, "\""))) << json;
  EXPECT_TRUE(absl::StrContains(Squall({"agents"}, 0), run_id));

  // A second operator is told who holds the service.
  Process second(Inject({"--for=5s"}));
  EXPECT_EQ(second.Wait(absl::Seconds(20)), 3) << second.Output();
  EXPECT_TRUE(absl::StrContains(second.Output(), absl::StrCat("is held by run ", run_id, " of "))) << second.Output();

  EXPECT_TRUE(absl::StrContains(Squall({"heal", "no-such-run"}, 0), "No run no-such-run is open"));
  EXPECT_TRUE(IsSlow()) << "nothing was ended by it";
  const std::string healed = Squall({"heal", run_id}, 0);
  EXPECT_TRUE(absl::StrContains(healed, absl::StrCat("ended ", run_id))) << healed;
  EXPECT_TRUE(IsFast(port_));
  EXPECT_EQ(inject.Wait(absl::Seconds(10)), 130) << inject.Output();
  EXPECT_TRUE(absl::StrContains(inject.Output(), "ended by root@")) << inject.Output();
  EXPECT_TRUE(absl::StrContains(inject.Output(), "through squall heal")) << inject.Output();
  EXPECT_TRUE(absl::StrContains(Squall({"status"}, 0), "Nothing is held or injected"));
}

TEST_F(HandTest, HealAllEndsARunToo) {
  const std::string path = checkout_.Write("drill.yaml", absl::StrCat(R"(squall: 1
name: drill
services:
  orders: {attach: {listen: )", port_, R"(}}
edges:
  recommend: {to: "127.0.0.1:)", peer_, R"("}
load:
  checkout: {http: {url: "http://127.0.0.1:)", port_, R"(/order"}, rate: 20/s}
faults:
  - latency: {delay: 500ms}
    for: 10m
assert:
  - recovery: {within: 10s}
)"));
  Process run(checkout_.Run({path}));
  // Whatever it is at: the baseline is long enough.
  ASSERT_TRUE(run.WaitForOutput("baseline", absl::Seconds(20))) << run.Output();
  EXPECT_TRUE(absl::StrContains(Squall({"status"}, 0), "(drill)"));
  EXPECT_TRUE(absl::StrContains(Squall({"heal", "--all"}, 0), "-drill-"));
  EXPECT_EQ(run.Wait(absl::Seconds(20)), 130) << run.Output();
  const std::string verdicts = ReadFile(checkout_.OnlyRun() + "/verdicts.json");
  EXPECT_TRUE(absl::StrContains(verdicts, "ended by root@")) << verdicts;
  EXPECT_TRUE(absl::StrContains(verdicts, "through squall heal")) << verdicts;
}

TEST_F(HandTest, ScenarioFileNamesTheServiceAndWhatItWouldRunIsAttachedTo) {
  const std::string path = checkout_.Write("shop.yaml", absl::StrCat(R"(squall: 1
name: shop
services:
  orders: {run: [bin/orders]}
  recommend: {attach: {listen: )", peer_, R"(}}
edges:
  recommend: {from: orders, to: "127.0.0.1:)", peer_, R"("}
load:
  checkout: {http: {url: "http://127.0.0.1:1/"}, rate: 20/s}
faults:
  - latency: {delay: 500ms}
    for: 10m
assert:
  - recovery: {within: 10s}
)"));
  const std::vector<std::string> latency = {"inject",  "latency",       absl::StrCat("--scenario=", path), "--edge=recommend",
                                            "--delay=400ms", "--for=3s", "--json"};
  EXPECT_TRUE(absl::StrContains(Squall(latency, 64), "--listen PORT, --pid N, --command TEXT or --cgroup PATH"));
  std::vector<std::string> attached = {checkout_.squall()};
  attached.insert(attached.end(), latency.begin(), latency.end());
  attached.push_back(absl::StrCat("--pid=", orders_->pid()));
  Process inject(attached);
  ExpectSlowForOrdersAlone(inject);
  EXPECT_EQ(inject.Wait(absl::Seconds(20)), 0) << inject.Output();
  EXPECT_TRUE(absl::StrContains(inject.Output(), R"("state":"INJECTED")")) << inject.Output();
  EXPECT_TRUE(absl::StrContains(inject.Output(), R"("state":"HEALED")")) << inject.Output();
  EXPECT_TRUE(absl::StrContains(inject.Output(), R"("service":"orders")")) << inject.Output();
  // The peer's process is another: it is not what the file says, but what the flag does.
  EXPECT_TRUE(absl::StrContains(Squall({"inject", "kill", absl::StrCat("--scenario=", path), "--service=recommend", "--dry-run"}, 0),
                                absl::StrCat("listens on port ", peer_)));
  EXPECT_EQ(TryConnect(peer_), 0) << "a dry run kills nobody";
}

TEST_F(HandTest, KillEndsTheAttachedProcessAndNoOther) {
  const std::string said = Squall({"inject", "kill", absl::StrCat("--listen=", port_)}, 0);
  EXPECT_TRUE(absl::StrContains(said, "done: SIGKILL to target")) << said;
  EXPECT_TRUE(absl::StrContains(said, "1 of 1 process gone")) << said;
  EXPECT_EQ(orders_->Wait(absl::Seconds(5)), 128 + SIGKILL);
  EXPECT_TRUE(IsFast(other_));
}

TEST_F(HandTest, WhatCannotBeInjectedIsRefusedWithAReasonAndNothingIsTouched) {
  const int nobody = FreePort();
  EXPECT_TRUE(absl::StrContains(Squall({"inject", "kill", absl::StrCat("--listen=", nobody)}, 3),
                                absl::StrCat("nothing was injected: service target: no process listens on TCP port ", nobody)));
  EXPECT_TRUE(absl::StrContains(Squall({"inject", "latency", absl::StrCat("--listen=", port_), "--delay=5"}, 64),
                                "--delay: a bare number has no unit"));
  // A process of this machine may look like one of another.
  const std::string elsewhere = checkout_.Write("elsewhere.yaml", absl::StrCat(R"(squall: 1
name: elsewhere
agents: {shop-1: {address: "192.0.2.1:7447"}}
services:
  orders: {attach: {listen: )", port_, R"(}, on: shop-1}
)"));
  EXPECT_TRUE(absl::StrContains(Squall({"inject", "kill", "--scenario", elsewhere}, 3), "agent shop-1 (192.0.2.1:7447): agents on other hosts want a certificate"));
  EXPECT_EQ(TryConnect(port_), 0);
  EXPECT_TRUE(absl::StrContains(Squall({"inject", "latenci"}, 64), "unknown fault \"latenci\"; did you mean \"latency\"?"));
}

// Without privileges: a relay that the service calls, on a service of one's own; and nobody else's affair.
TEST_F(HandTest, OrdinaryUserInjectsThroughARelayAndSeesItsOwnAlone) {
  const int port = FreePort(), relay = FreePort();
  Process::Options nobody;
  nobody.user = checkout_.ForOrdinaryUser();
  // Not where squall looks by itself: other tests' runs of this user may be there.
  nobody.env = {{"SQUALL_RUNTIME_DIR", checkout_.path() + "/runs/of-nobody"}};
  const Process orders({checkout_.target("orders"), absl::StrCat("--port=", port), absl::StrCat("--recommend=127.0.0.1:", relay),
                        "--deadline=4s"}, nobody);
  ASSERT_TRUE(Eventually(absl::Seconds(10), [&] { return TryConnect(port) == 0; }));
  const std::vector<std::string> latency = {checkout_.squall(), "inject", "latency", absl::StrCat("--listen=", port),
                                            absl::StrCat("--to=127.0.0.1:", peer_), "--delay=400ms", "--for=10m"};
  Process refused(latency, nobody);
  EXPECT_EQ(refused.Wait(absl::Seconds(20)), 3);
  EXPECT_TRUE(absl::StrContains(refused.Output(), "redirecting connects needs root; without, write relay_at"))
      << refused.Output();
  std::vector<std::string> with_relay = latency;
  with_relay.push_back(absl::StrCat("--relay-at=127.0.0.1:", relay));
  Process inject(with_relay, nobody);
  ASSERT_TRUE(inject.WaitForOutput("\ninjected: ", absl::Seconds(20))) << inject.Output();
  EXPECT_TRUE(Eventually(absl::Seconds(10), [&] { return TimeOf(port, "/order") > absl::Milliseconds(395); }));
  Process status({checkout_.squall(), "status"}, nobody);
  EXPECT_EQ(status.Wait(absl::Seconds(20)), 0);
  EXPECT_TRUE(absl::StrContains(status.Output(), "400 ms on every response")) << status.Output();
  EXPECT_TRUE(absl::StrContains(Squall({"status"}, 0), "Nothing is held")) << "root has agents of its own";
  Process heal({checkout_.squall(), "heal"}, nobody);
  EXPECT_EQ(heal.Wait(absl::Seconds(20)), 0) << heal.Output();
  EXPECT_EQ(inject.Wait(absl::Seconds(20)), 130) << inject.Output();
}

TEST_F(HandTest, KilledAgentLeavesNothing) {
  struct stat folder;
  Process inject(Inject({"--for=10m"}));
  ExpectSlowForOrdersAlone(inject);
  ASSERT_EQ(stat(folder_.c_str(), &folder), 0);
  EXPECT_EQ(folder.st_mode & 0777, 0700u) << "nobody else can ask the agents";
  // Its agent is its child.
  pid_t agent = -1;
  for (const auto& entry : std::filesystem::directory_iterator(folder_)) {
    struct stat socket;
    ASSERT_EQ(stat(entry.path().c_str(), &socket), 0);
    EXPECT_EQ(socket.st_mode & 0777, 0600u) << entry.path();
    const std::vector<std::string> parts = absl::StrSplit(entry.path().filename().string(), '-');
    const std::string stat_line = parts.size() == 3 ? ReadFile("/proc/" + parts[1] + "/stat") : "";
    if (absl::StrContains(stat_line, absl::StrCat(" S ", inject.pid(), " "))) agent = atoi(parts[1].c_str());
  }
  ASSERT_GT(agent, 0);
  kill(agent, SIGKILL);
  EXPECT_EQ(inject.Wait(absl::Seconds(20)), 5) << "nobody is left to confirm it: " << inject.Output();
  EXPECT_TRUE(IsFast(port_)) << "and yet it is gone";
  EXPECT_TRUE(Eventually(absl::Seconds(5), [&] { return !HasLock(orders_->pid()); })) << "its guardian has swept the lock file";
  EXPECT_TRUE(absl::StrContains(Squall({"status"}, 0), "Nothing is held or injected")) << "its socket leads nowhere";
  Squall({"inject", "kill", absl::StrCat("--listen=", FreePort())}, 3);  // starts an agent
  for (const auto& entry : std::filesystem::directory_iterator(folder_)) {
    EXPECT_FALSE(absl::StrContains(entry.path().filename().string(), absl::StrCat("-", agent, "-"))) << entry.path();
  }
}

}  // namespace
}  // namespace squall
