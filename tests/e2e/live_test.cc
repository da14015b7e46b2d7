// Services that run already, with connections from before: what reaches those, what is said of the rest, and that nobody beside
// them notices.
#include <gtest/gtest.h>
#include <httplib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <fstream>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/time/clock.h"
#include "tests/e2e/harness.h"

namespace squall {
namespace {

constexpr char kStorefront[] = "tests/target/go/storefront";
constexpr int kPooled = 12;

// A storefront with a pool of connections to a dependency of its own; neither was started by squall.
class Shop {
 public:
  explicit Shop(const Checkout& checkout, int dependency = 0)
      : port(FreePort()), peer_port(dependency > 0 ? dependency : FreePort()) {
    if (dependency == 0) {
      recommend_ = std::make_unique<Process>(std::vector<std::string>{
          checkout.target("recommend"), absl::StrCat("--port=", peer_port), "--service-time=20ms"});
      Await(peer_port);
    }
    storefront_ = std::make_unique<Process>(std::vector<std::string>{
        checkout.target("go/storefront"), absl::StrCat("--port=", port), absl::StrCat("--dependency=127.0.0.1:", peer_port),
        "--deadline=300ms", "--breaker-failures=0"});
    Await(port);
    // As many at the same time as there are to be connections.
    std::vector<std::thread> clients;
    for (int i = 0; i < kPooled; ++i) {
      clients.emplace_back([this] { Order(); });
    }
    for (std::thread& client : clients) client.join();
  }

  // Answered as it is without a fault.
  bool Order() const {
    httplib::Client client("127.0.0.1", port);
    const auto answer = client.Get("/order");
    return answer && answer->status == 200 && !answer->has_header("x-fallback");
  }
  pid_t pid() const { return storefront_->pid(); }
  const int port;
  const int peer_port;

 private:
  static void Await(int at) {
    EXPECT_TRUE(Eventually(absl::Seconds(10), [&] { return TryConnect(at) == 0; })) << at;
  }
  std::unique_ptr<Process> recommend_;
  std::unique_ptr<Process> storefront_;
};

// Orders at a shop that nobody breaks, all the time.
class Bystander {
 public:
  explicit Bystander(const Shop& shop) {
    thread_ = std::thread([this, &shop] {
      while (!stop_) {
        ++orders_;
        if (!shop.Order()) ++spoiled_;
        SleepBriefly();
      }
    });
  }
  ~Bystander() { Stop(); }
  void Stop() {
    stop_ = true;
    if (thread_.joinable()) thread_.join();
  }
  int orders() const { return orders_; }
  int spoiled() const { return spoiled_; }

 private:
  std::atomic<bool> stop_ = false;
  std::atomic<int> orders_ = 0, spoiled_ = 0;
  std::thread thread_;
};

// Two cgroups of the test's own.
class Cgroups {
 public:
  Cgroups() {
    const std::string mount = access("/sys/fs/cgroup/cgroup.procs", F_OK) == 0 ? "/sys/fs/cgroup" : "/sys/fs/cgroup/unified";
    for (const char* name : {"a", "b"}) {
      paths_.push_back(absl::StrCat(mount, "/live-test-", getpid(), "-", name));
      EXPECT_EQ(mkdir(paths_.back().c_str(), 0755), 0) << paths_.back();
    }
  }
  ~Cgroups() {
    for (const std::string& path : paths_) {
      EXPECT_TRUE(Eventually(absl::Seconds(5), [&] { return rmdir(path.c_str()) == 0; })) << path;
    }
  }
  void Move(pid_t pid, size_t to) const {
    std::ofstream procs(paths_[to] + "/cgroup.procs");
    procs << pid << std::flush;
    EXPECT_TRUE(procs.good());
  }

 private:
  std::vector<std::string> paths_;
};

// Lines are broken where the terminal ends.
std::string OneLine(const std::string& output) {
  return absl::StrJoin(absl::StrSplit(output, absl::ByAnyChar(" \n"), absl::SkipEmpty()), " ");
}

std::vector<std::string> Args(const Checkout& checkout, const Shop& shop, const std::string& existing) {
  return {checkout.path() + "/scenarios/network/existing-reset.yaml", absl::StrCat("--var=port=", shop.port),
          absl::StrCat("--var=peer_port=", shop.peer_port), absl::StrCat("--var=existing=", existing)};
}

TEST(LiveTargets, WhatAFaultDoesNotReachIsSaidAndWithExistingResetItReachesAll) {
  if (!IsRoot()) {
    printf("LEFT OUT: live_test: attaching and ending connections need root\n");
    GTEST_SKIP();
  }
  const Cgroups cgroups;
  const Checkout first({kStorefront}), second({kStorefront});
  const Shop kept(first), reset(second);
  // The same traffic to the same dependency, from processes that no scenario names.
  const Shop beside_kept(first, kept.peer_port), beside_reset(second, reset.peer_port);
  const std::vector<std::string> before = Residue();  // with all of those
  cgroups.Move(reset.pid(), 0);
  Bystander at_kept(beside_kept), at_reset(beside_reset);

  JudgedRun run_kept;
  std::thread keeping([&] { run_kept = RunToVerdict(first, Args(first, kept, "keep"), 2); });
  // Moved while the run goes on: what it connects from then on, during the stall, is reached all the same.
  std::thread moving([&] {
    EXPECT_TRUE(Eventually(absl::Seconds(30), [&] { return access((second.path() + "/runs").c_str(), F_OK) == 0; }));
    absl::SleepFor(absl::Seconds(6));  // by now it is attached, and the baseline is not over
    cgroups.Move(reset.pid(), 1);
  });
  const JudgedRun run_reset = RunToVerdict(second, Args(second, reset, "reset"), 0);
  moving.join();
  keeping.join();
  at_kept.Stop();
  at_reset.Stop();

  // How many there are is the pool's business. Those from before carry the load, and the relay none of it: nothing is claimed of the service.
  EXPECT_EQ(run_kept.exit_code, 2) << run_kept.output;
  EXPECT_TRUE(absl::StrContains(OneLine(run_kept.output),
                                "connections open from before the run; not reached by stall: write `existing: reset`"))
      << run_kept.output;
  EXPECT_EQ(VerdictOf(run_kept.folder, "timeout"), "INCONCLUSIVE") << run_kept.output;
  EXPECT_TRUE(absl::StrContains(OneLine(run_kept.output), "from before the run carried ")) << run_kept.output;
  EXPECT_TRUE(absl::StrContains(OneLine(run_kept.output), "stall did not reach them")) << run_kept.output;
  EXPECT_TRUE(absl::StrContains(ReadFile(run_kept.folder + "/report.html"), "stall did not reach them"));

  EXPECT_EQ(run_reset.exit_code, 0) << run_reset.output;
  EXPECT_TRUE(absl::StrContains(OneLine(run_reset.output),
                                "connections of storefront from before the run ended (existing: reset)"))
      << run_reset.output;
  EXPECT_EQ(VerdictOf(run_reset.folder, "timeout"), "PASS") << run_reset.output;
  EXPECT_FALSE(absl::StrContains(OneLine(run_reset.output), "from before the run carried ")) << run_reset.output;

  for (const Bystander* bystander : {&at_kept, &at_reset}) {
    EXPECT_GT(bystander->orders(), 100);
    EXPECT_EQ(bystander->spoiled(), 0) << "of " << bystander->orders();
  }
  EXPECT_TRUE(kept.Order()) << "what was attached to lives on";
  EXPECT_TRUE(reset.Order());
  EXPECT_EQ(ResidueSince(before), std::vector<std::string>());
}

TEST(LiveTargets, AServiceThatContainsSshdIsNotTouched) {
  const Checkout checkout({kStorefront});
  // A program by this name, below a shell that is attached to.
  const std::string sshd = checkout.path() + "/sshd";
  std::ofstream(sshd, std::ios::binary) << std::ifstream("/bin/sleep", std::ios::binary).rdbuf();
  chmod(sshd.c_str(), 0755);
  Process shell({"/bin/sh", "-c", absl::StrCat(sshd, " 60 & wait")});
  const std::string scenario = checkout.Write("cut.yaml", absl::StrCat(R"(squall: 1
name: cut
services:
  login: {attach: {pid: )", shell.pid(), R"(}}
load:
  straight: {http: {url: "http://127.0.0.1:1/"}, rate: 50/s}
faults:
  - kill: {service: login}
assert:
  - recovery: {within: 9s}
)"));
  Process run(checkout.Run({scenario}));
  EXPECT_EQ(run.Wait(absl::Seconds(20)), 3) << run.Output();
  const std::string said = OneLine(run.Output());
  EXPECT_TRUE(absl::StrContains(said, "fault kill must not act on service login: below pid ")) << said;
  EXPECT_TRUE(absl::StrContains(said, "is sshd, through which somebody may be logged in")) << said;
  EXPECT_EQ(shell.Wait(absl::ZeroDuration()), -1) << "it still runs";
}

}  // namespace
}  // namespace squall
