// Processor time taken away and given back: the shipped scenarios, what must not be touched, what dies, and ordinary users.
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "tests/e2e/harness.h"

namespace squall {
namespace {

namespace fs = std::filesystem;

// Where this host has the cpu controller: on v1, or on v2 when its first cgroup hands it out.
struct CpuRoot {
  int version = 0;  // 0: nowhere
  std::string folder;
};

CpuRoot FindCpuRoot() {
  std::istringstream mounts(ReadFile("/proc/self/mounts"));
  CpuRoot v2;
  for (std::string line; std::getline(mounts, line);) {
    std::istringstream fields(line);
    std::string source, folder, type, options;
    fields >> source >> folder >> type >> options;
    if (type == "cgroup" && absl::StrContains("," + options + ",", ",cpu,")) return {1, folder};
    if (type == "cgroup2" && absl::StrContains(ReadFile(folder + "/cgroup.subtree_control"), "cpu")) v2 = {2, folder};
  }
  return v2;
}

// A cgroup of the test's own with a quota, and what is in it. Removed on destruction.
class Cgroup {
 public:
  Cgroup(const CpuRoot& root, const std::string& name, int quota_us)
      : version_(root.version), folder_(absl::StrCat(root.folder, "/e2e-", getpid(), "-", name)) {
    EXPECT_EQ(mkdir(folder_.c_str(), 0755), 0) << folder_;
    Write(version_ == 1 ? "cpu.cfs_quota_us" : "cpu.max", absl::StrCat(quota_us));
  }
  ~Cgroup() {
    EXPECT_TRUE(Eventually(absl::Seconds(3), [&] { return rmdir(folder_.c_str()) == 0; })) << folder_;
  }
  void Add(pid_t pid) const { Write("cgroup.procs", absl::StrCat(pid)); }
  // Of 100 ms; -1 without.
  int Quota() const {
    const std::string text = ReadFile(folder_ + (version_ == 1 ? "/cpu.cfs_quota_us" : "/cpu.max"));
    return absl::StartsWith(text, "max") ? -1 : atoi(text.c_str());
  }
  bool Holds(pid_t pid) const {
    return absl::StrContains("\n" + ReadFile(folder_ + "/cgroup.procs"), absl::StrCat("\n", pid, "\n"));
  }

 private:
  void Write(const std::string& file, const std::string& text) const {
    std::ofstream(folder_ + "/" + file) << text;
  }
  int version_;
  std::string folder_;
};

// Folders of squall's in the cpu hierarchy, wherever they are.
std::vector<std::string> LeftIn(const CpuRoot& root) {
  std::vector<std::string> found;
  std::error_code error;
  for (auto at = fs::recursive_directory_iterator(root.folder, error); at != fs::recursive_directory_iterator();
       at.increment(error)) {
    if (absl::StartsWith(at->path().filename().string(), "squall")) found.push_back(at->path());
  }
  std::sort(found.begin(), found.end());
  return found;
}

pid_t ChildOf(pid_t parent, const std::string& name) {
  for (const auto& entry : fs::directory_iterator("/proc")) {
    const std::string stat = ReadFile(entry.path().string() + "/stat");
    if (absl::StrContains(stat, "(" + name + ")") &&
        absl::StartsWith(stat.substr(stat.rfind(')') + 3), absl::StrCat(" ", parent, " "))) {
      return atoi(entry.path().filename().c_str());
    }
  }
  return -1;
}

// A shipped scenario on ports that nobody uses.
std::vector<std::string> Arguments(const Checkout& checkout, const std::string& scenario) {
  return {checkout.path() + "/scenarios/resources/" + scenario, absl::StrCat("--var=port=", FreePort()),
          absl::StrCat("--var=peer_port=", FreePort())};
}

class CpuFaultsTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (IsRoot() && root_.version != 0) return;
    printf("LEFT OUT: cpu_faults_test: limiting processor time needs root and the cpu controller\n");
    GTEST_SKIP();
  }
  JudgedRun RunScenario(const std::string& name, const std::vector<std::string>& more) {
    std::vector<std::string> args = Arguments(checkout_, name);
    args.insert(args.end(), more.begin(), more.end());
    return RunToVerdict(checkout_, args, 0);
  }

  Checkout checkout_;
  const CpuRoot root_ = FindCpuRoot();
  const std::vector<std::string> before_ = LeftIn(root_);
};

// As root beside an ordinary user's run, which keeps every core a little busy meanwhile.
TEST_F(CpuFaultsTest, QuotaScenarioPassesAndBystandersKeepTheirsWhileAnOrdinaryUserLoadsTheCores) {
  Process bystander({"sleep", "1000"});
  const Cgroup theirs(root_, "bystander", 70'000);
  theirs.Add(bystander.pid());

  Checkout ordinary;
  Process::Options as_user;
  as_user.user = ordinary.ForOrdinaryUser();
  as_user.folder = ordinary.path();
  std::vector<std::string> args = Arguments(ordinary, "cpu-load.yaml");
  args.push_back("--var=load=10%");
  Process loads(ordinary.Run(args), as_user);

  const JudgedRun run = RunScenario("cpu-quota.yaml", {});
  EXPECT_EQ(run.exit_code, 0) << run.output;
  EXPECT_EQ(VerdictOf(run.folder, "timeout"), "PASS");
  EXPECT_TRUE(absl::StrContains(run.output, "throttled for")) << run.output;
  EXPECT_EQ(theirs.Quota(), 70'000);
  EXPECT_TRUE(theirs.Holds(bystander.pid()));
  bystander.Signal(SIGKILL);
  bystander.Wait(absl::Seconds(5));

  // Without privileges nothing of the harness can be put before others: a busy machine may make it unsure, never wrong.
  const int code = loads.Wait(absl::Seconds(60));
  EXPECT_TRUE(code == 0 || code == 2) << loads.Output();
  EXPECT_TRUE(absl::StrContains(loads.Output(), "of processor time burned")) << loads.Output();
  EXPECT_EQ(LeftIn(root_), before_);
}

// Nine tenths of every core are gone, and still each request is sent on time and no beat is missed: otherwise it would be
// INCONCLUSIVE.
TEST_F(CpuFaultsTest, LoadScenarioPassesAtNineTenthsOfEveryCore) {
  const JudgedRun run = RunScenario("cpu-load.yaml", {"--var=load=90%"});
  EXPECT_EQ(run.exit_code, 0) << run.output;
  EXPECT_EQ(VerdictOf(run.folder, "recovery"), "PASS");
  EXPECT_FALSE(absl::StrContains(run.output, "could not keep its promise")) << run.output;
  EXPECT_EQ(LeftIn(root_), before_);
}

// recommend is run by squall; orders was there before, in a cgroup of its own with a quota of its own. Both are throttled.
constexpr char kThrottled[] = R"(squall: 1
name: throttled
services:
  recommend: {run: ["../../bazel-bin/tests/target/recommend", --port=PEER]}
  orders: {attach: {listen: PORT}}
load:
  checkout:
    http: {url: "http://127.0.0.1:PORT/order"}
    rate: 40/s
    degraded_when: {headers: {x-fallback: "true"}}
faults:
  - {name: theirs, cpu: {service: orders, quota: 50%}, for: 600s}
  - {name: ours, cpu: {service: recommend, quota: 50%}, for: 600s}
  - {name: burn, cpu: {service: recommend, load: 2%, cores: 1}, for: 600s}
assert:
  - recovery: {within: 10s}
)";

struct ThrottledRun {
  ThrottledRun(const CpuRoot& root, const std::string& name)
      : orders({checkout.target("orders"), absl::StrCat("--port=", port), absl::StrCat("--recommend=127.0.0.1:", peer),
                "--deadline=300ms"}),
        cgroup(root, name, 80'000) {
    cgroup.Add(orders.pid());
    EXPECT_TRUE(Eventually(absl::Seconds(10), [&] { return TryConnect(port) == 0; })) << orders.Output();
    const std::string text =
        absl::StrReplaceAll(kThrottled, {{"PORT", absl::StrCat(port)}, {"PEER", absl::StrCat(peer)}});
    run = std::make_unique<Process>(checkout.Run({checkout.Write("throttled.yaml", text)}));
  }
  ~ThrottledRun() {
    orders.Signal(SIGKILL);
    orders.Wait(absl::Seconds(5));
  }
  pid_t Agent() const { return ChildOf(run->pid(), "squall-agent"); }

  Checkout checkout;
  const int port = FreePort(), peer = FreePort();
  Process orders;
  Cgroup cgroup;
  std::unique_ptr<Process> run;
};

TEST_F(CpuFaultsTest, KilledControllerAndKilledAgentLeaveNoCgroupNoBurnerAndTheOldQuota) {
  ThrottledRun controller_dies(root_, "controller-dies"), agent_dies(root_, "agent-dies");
  std::vector<pid_t> burners;
  for (ThrottledRun* each : {&controller_dies, &agent_dies}) {
    ASSERT_TRUE(each->run->WaitForOutput("injected burn", absl::Seconds(60))) << each->run->Output();
    EXPECT_EQ(each->cgroup.Quota(), 40'000) << "half of the 80 ms that it had";
    burners.push_back(ChildOf(each->Agent(), "squall-burner"));
    EXPECT_GT(burners.back(), 0);
  }
  EXPECT_NE(LeftIn(root_), before_);
  const pid_t agent = agent_dies.Agent();
  ASSERT_GT(agent, 0);

  kill(agent, SIGKILL);
  EXPECT_TRUE(Eventually(absl::Seconds(3), [&] { return agent_dies.cgroup.Quota() == 80'000; }));
  controller_dies.run->Signal(SIGKILL);
  EXPECT_TRUE(Eventually(absl::Seconds(5), [&] { return controller_dies.cgroup.Quota() == 80'000; }));
  EXPECT_TRUE(Eventually(absl::Seconds(5), [&] { return LeftIn(root_) == before_; }));
  for (const pid_t burner : burners) {
    EXPECT_TRUE(Eventually(absl::Seconds(3), [&] { return !fs::exists(absl::StrCat("/proc/", burner)); }));
  }
  for (ThrottledRun* each : {&controller_dies, &agent_dies}) {
    EXPECT_TRUE(each->cgroup.Holds(each->orders.pid()));
    EXPECT_EQ(TryConnect(each->port), 0) << "the attached service lives on";
    EXPECT_NE(TryConnect(each->peer), 0) << "the other has ended with the agent";
  }
  EXPECT_EQ(agent_dies.run->Wait(absl::Seconds(20)), 5) << "no agent is left to confirm that it healed";
}

TEST_F(CpuFaultsTest, QuotaWithoutPrivilegesIsRefusedBeforeAnythingIsTouchedAndTheWayOutIsNamed) {
  const JudgedRun run = RunToVerdict(checkout_, Arguments(checkout_, "cpu-quota.yaml"), 3, /*as_ordinary_user=*/true);
  EXPECT_EQ(run.exit_code, 3) << run.output;
  const std::string verdicts = ReadFile(run.folder + "/verdicts.json");
  EXPECT_TRUE(absl::StrContains(verdicts, "a cpu quota on recommend needs a cgroup with the cpu controller")) << verdicts;
  EXPECT_TRUE(absl::StrContains(verdicts, "run it as root, or use cpu: {load: ...}")) << verdicts;
  EXPECT_TRUE(absl::StrContains(verdicts, "nothing was touched")) << verdicts;
}

}  // namespace
}  // namespace squall
