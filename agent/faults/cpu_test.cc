// cpu against real processes and cgroups. A bystander of the same program runs beside the target in every test.
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <thread>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "agent/faults/fault.h"
#include "agent/process/spawn.h"

namespace squall {
namespace {

// A shell with a child, both of which want all the time that they can get.
std::vector<std::string> Program() { return {"sh", "-c", "while :; do :; done & while :; do :; done"}; }

template <typename Condition>
bool Eventually(Condition condition) {
  for (int i = 0; i < 5000; ++i) {
    if (condition()) return true;
    absl::SleepFor(absl::Milliseconds(1));
  }
  return false;
}

class CpuTest : public ::testing::Test {
 protected:
  void SetUp() override {
    const absl::StatusOr<CpuCgroup> home = CpuCgroupOf(getpid());
    const absl::Status may = home.ok() ? MayMakeBelow(*home) : home.status();
    if (!may.ok()) {
      printf("LEFT OUT: cpu_test: making cgroups below one's own needs root and, on v2, to be in the first one: %s\n",
             std::string(may.message()).c_str());
      GTEST_SKIP();
    }
    home_ = *home;
    guardian_.emplace(Guardian::Fork().value());  // before there are threads
    main_ = std::thread([this] { main_thread_.Serve(); });
    SpawnOptions options;
    options.argv = {"sleep", "1000"};
    bystander_ = Spawn(options).value().id;
  }
  void TearDown() override {
    if (!guardian_) return;
    EXPECT_TRUE(IsAlive(bystander_)) << "the fault hit a bystander";
    EXPECT_EQ(FolderOf(bystander_), home_.folder) << "the fault moved a bystander";
    End(bystander_);
    services_.clear();
    for (const ProcessId& process : attached_) End(process);
    main_thread_.Stop();
    main_.join();
    const pid_t guardian = guardian_->pid();
    guardian_.reset();
    waitpid(guardian, nullptr, 0);
    for (const std::string& folder : folders_) {
      EXPECT_TRUE(Eventually([&] { return rmdir(folder.c_str()) == 0; })) << folder;  // once its dead have left
    }
    for (const auto& entry : std::filesystem::directory_iterator(home_.folder)) {
      EXPECT_FALSE(absl::StrContains(entry.path().string(), absl::StrCat("squall-cpu-", getpid(), "-"))) << entry.path();
    }
  }

  static void End(const ProcessId& leader) {
    kill(-leader.pid, SIGKILL);
    waitpid(leader.pid, nullptr, 0);
  }
  static std::string FolderOf(const ProcessId& process) { return CpuCgroupOf(process.pid).value().folder; }

  RunningService& Add(const Service& service) {
    services_["target"] = std::make_unique<RunningService>(
        service, RunningService::Context{"/", "test", &main_thread_, &*guardian_, &events_, /*cpu_cgroup=*/true});
    RunningService& target = *services_["target"];
    const absl::Status claimed = target.Claim();
    EXPECT_TRUE(claimed.ok()) << claimed;
    return target;
  }
  RunningService& Run(const std::vector<std::string>& argv = Program()) {
    Service service;
    service.set_name("target");
    service.mutable_run()->Assign(argv.begin(), argv.end());
    RunningService& target = Add(service);
    EXPECT_TRUE(target.Start().ok());
    EXPECT_TRUE(Eventually([&] { return target.Processes().size() >= 2; }));
    return target;
  }
  // A process that was there before; in a cgroup of that name below the test's own, unless it is empty.
  RunningService& AttachTo(const std::vector<std::string>& argv, const std::string& cgroup = "") {
    SpawnOptions options;
    options.argv = argv;
    if (!cgroup.empty()) {
      folders_.push_back(absl::StrCat(home_.folder, "/test-", getpid(), "-", cgroup));
      EXPECT_EQ(mkdir(folders_.back().c_str(), 0755), 0);
      options.cgroups = {folders_.back()};
    }
    attached_.push_back(Spawn(options).value().id);
    Service service;
    service.set_name("target");
    service.mutable_attach()->set_pid(attached_.back().pid);
    RunningService& target = Add(service);
    EXPECT_TRUE(Eventually([&] { return target.Processes().size() >= 2; }));
    return target;
  }

  std::unique_ptr<ActiveFault> Quota(double percent) {
    Cpu cpu;
    cpu.set_service("target");
    cpu.set_quota(percent);
    return MakeCpu(cpu, {nullptr, &services_, 1, &cancelled_, &main_thread_, &*guardian_});
  }
  std::unique_ptr<ActiveFault> Load(double percent, int cores = 0) {
    Cpu cpu;
    cpu.set_service("target");
    cpu.set_load(percent);
    cpu.set_cores(cores);
    return MakeCpu(cpu, {nullptr, &services_, 1, &cancelled_, &main_thread_, &*guardian_});
  }
  CpuCgroup At(const std::string& folder) const { return {home_.version, folder}; }
  static int64_t Cores() { return static_cast<int64_t>(CoresOf(getpid()).value().size()); }

  CpuCgroup home_;
  std::optional<Guardian> guardian_;
  MainThread main_thread_;
  std::thread main_;
  Events events_;
  std::map<std::string, std::unique_ptr<RunningService>> services_;
  ProcessId bystander_;
  std::vector<ProcessId> attached_;
  std::vector<std::string> folders_;
  const std::atomic<bool> cancelled_ = false;
};

TEST_F(CpuTest, QuotaOnAServiceThatSquallRunsThrottlesItAndHealsTwice) {
  RunningService& target = Run();
  const CpuCgroup cgroup = target.OwnCpuCgroup().value();
  auto fault = Quota(10);
  const absl::Status status = fault->Inject();
  ASSERT_TRUE(status.ok()) << status;
  EXPECT_EQ(ReadLimit(cgroup)->quota_us, Cores() * 10'000);
  EXPECT_EQ(ReadLimit(cgroup)->period_us, 100'000);
  for (const ProcessId& process : target.Processes()) EXPECT_EQ(FolderOf(process), cgroup.folder);
  EXPECT_TRUE(Eventually([&] { return fault->Seen().throttled_ns() > 100'000'000; }));
  EXPECT_TRUE(fault->Heal(HealFor::kFaultOver).ok());
  EXPECT_FALSE(ReadLimit(cgroup)->limited());
  const Evidence evidence = fault->Seen();
  EXPECT_EQ(evidence.requested_percent(), 10);
  EXPECT_GT(evidence.achieved_percent(), 0);
  EXPECT_LT(evidence.achieved_percent(), 25) << "10 % and what /proc counts in ticks";
  EXPECT_TRUE(fault->Heal(HealFor::kFaultOver).ok());
  EXPECT_EQ(fault->Seen().throttled_ns(), evidence.throttled_ns());
}

TEST_F(CpuTest, QuotaOnTheOwnCgroupOfARunningServiceIsOfItsQuotaAndPutsThatBack) {
  RunningService& target = AttachTo(Program(), "own");
  const CpuCgroup own = At(folders_.back());
  // Half a core in periods of 50 ms: other than squall's.
  ASSERT_TRUE(WriteLimit(own, {25'000, 50'000}).ok());
  auto fault = Quota(20);
  const absl::Status status = fault->Inject();
  ASSERT_TRUE(status.ok()) << status;
  EXPECT_EQ(*ReadLimit(own), (CpuLimit{10'000, 100'000}));
  for (const ProcessId& process : target.Processes()) EXPECT_EQ(FolderOf(process), own.folder) << "not moved";
  EXPECT_TRUE(fault->Heal(HealFor::kFaultOver).ok());
  EXPECT_EQ(*ReadLimit(own), (CpuLimit{25'000, 50'000}));
  EXPECT_TRUE(fault->Heal(HealFor::kFaultOver).ok());
}

TEST_F(CpuTest, QuotaOnARunningServiceBesideOthersMovesItAndPutsBackAlsoWhatItForkedMeanwhile) {
  // Forks all the time.
  RunningService& target = AttachTo({"sh", "-c", "while :; do sleep 0.02; done & wait"}, "shared");
  const CpuCgroup shared = At(folders_.back());
  SpawnOptions neighbour;
  neighbour.argv = {"sleep", "1000"};
  neighbour.cgroups = {shared.folder};
  attached_.push_back(Spawn(neighbour).value().id);
  auto fault = Quota(50);
  const absl::Status status = fault->Inject();
  if (home_.version == 2) {
    EXPECT_TRUE(absl::StrContains(status.message(), "holds processes of others too, and v2 allows no cgroup")) << status;
    EXPECT_EQ(FolderOf(*target.Leader()), shared.folder);
    return;
  }
  ASSERT_TRUE(status.ok()) << status;
  const std::string made = FolderOf(*target.Leader());
  EXPECT_TRUE(absl::StartsWith(made, shared.folder + "/squall-cpu-")) << made;
  EXPECT_EQ(ReadLimit(At(made))->quota_us, Cores() * 50'000);
  EXPECT_EQ(FolderOf(attached_.back()), shared.folder) << "the neighbour stays";
  EXPECT_FALSE(ReadLimit(shared)->limited());
  absl::SleepFor(absl::Milliseconds(100));
  EXPECT_TRUE(fault->Heal(HealFor::kFaultOver).ok());
  EXPECT_FALSE(std::filesystem::exists(made));
  for (const ProcessId& process : target.Processes()) {
    const absl::StatusOr<CpuCgroup> now = CpuCgroupOf(process.pid);
    if (!now.ok()) continue;  // ended meanwhile
    EXPECT_EQ(now->folder, shared.folder);
  }
}

TEST_F(CpuTest, QuotaOnARunningServiceInTheFirstCgroupMovesItAndPutsItBack) {
  RunningService& target = AttachTo(Program());
  if (FolderOf(bystander_) != CpuMount()->folder) GTEST_SKIP() << "this test is in a cgroup itself";
  auto fault = Quota(2);
  const absl::Status status = fault->Inject();
  ASSERT_TRUE(status.ok()) << status;
  EXPECT_NE(FolderOf(*target.Leader()), home_.folder);
  EXPECT_TRUE(Eventually([&] { return fault->Seen().throttled_ns() > 0; }));
  EXPECT_TRUE(fault->Heal(HealFor::kFaultOver).ok());
  for (const ProcessId& process : target.Processes()) EXPECT_EQ(FolderOf(process), home_.folder);
}

TEST_F(CpuTest, QuotaOnAServiceThatIsGoneIsAnErrorAndLeavesNothing) {
  RunningService& target = Run();
  for (const ProcessId& process : target.Processes()) kill(process.pid, SIGKILL);
  ASSERT_TRUE(Eventually([&] { return target.Processes().empty(); }));
  auto fault = Quota(10);
  const absl::Status status = fault->Inject();
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition) << status;
  EXPECT_TRUE(absl::StrContains(status.message(), "service target: it has no process")) << status;
  EXPECT_FALSE(ReadLimit(target.OwnCpuCgroup().value())->limited());
}

TEST_F(CpuTest, QuotaThatTheKernelWouldRefuseIsAnErrorAndLeavesNothing) {
  RunningService& target = AttachTo(Program(), "tiny");
  const CpuCgroup own = At(folders_.back());
  ASSERT_TRUE(WriteLimit(own, {10'000, 100'000}).ok());
  auto fault = Quota(5);
  const absl::Status status = fault->Inject();
  EXPECT_EQ(status.code(), absl::StatusCode::kOutOfRange) << status;
  EXPECT_EQ(*ReadLimit(own), (CpuLimit{10'000, 100'000}));
  EXPECT_EQ(FolderOf(*target.Leader()), own.folder);
}

TEST_F(CpuTest, GuardianUndoesBothWaysWhenTheAgentDies) {
  AttachTo(Program(), "own");
  const CpuCgroup own = At(folders_.back());
  ASSERT_TRUE(WriteLimit(own, {30'000, 100'000}).ok());
  const ProcessId moved = Spawn({.argv = {"sleep", "1000"}, .env = {}, .folder = "", .user = "", .cgroups = {}}).value().id;
  attached_.push_back(moved);
  // An agent of its own, with a guardian of its own, that injects and is killed.
  int ready[2];
  ASSERT_EQ(pipe(ready), 0);
  const pid_t agent = fork();
  if (agent == 0) {
    const Guardian guardian = Guardian::Fork().value();
    const CpuUndo restore = {own, false, {30'000, 100'000}};
    guardian.Watch(restore);
    bool ok = WriteLimit(own, {3'000, 100'000}).ok();
    const CpuUndo put_back = {MakeBelow(home_, "moved").value(), true, {}};
    guardian.Watch(put_back);
    ok = ok && WriteLimit(put_back.cgroup, {5'000, 100'000}).ok() && MoveInto(put_back.cgroup, {moved}).ok();
    (void)!write(ready[1], ok ? "y" : "n", 1);
    while (true) pause();
  }
  char byte = 0;
  ASSERT_EQ(read(ready[0], &byte, 1), 1);
  EXPECT_EQ(byte, 'y');
  EXPECT_EQ(ReadLimit(own)->quota_us, 3'000);
  const std::string made = FolderOf(moved);
  EXPECT_NE(made, home_.folder);
  kill(agent, SIGKILL);
  waitpid(agent, nullptr, 0);
  EXPECT_TRUE(Eventually([&] { return ReadLimit(own)->quota_us == 30'000; }));
  EXPECT_TRUE(Eventually([&] { return FolderOf(moved) == home_.folder && !std::filesystem::exists(made); }));
  EXPECT_TRUE(IsAlive(moved)) << "put back, not killed";
}

TEST_F(CpuTest, AgentThatStartsPutsBackWhatADeadOneWithoutAGuardianLeft) {
  const ProcessId moved = Spawn({.argv = {"sleep", "1000"}, .env = {}, .folder = "", .user = "", .cgroups = {}}).value().id;
  attached_.push_back(moved);
  const pid_t agent = fork();
  if (agent == 0) _exit(MoveInto(MakeBelow(home_, "moved").value(), {moved}).ok() ? 0 : 1);
  int status = 0;
  waitpid(agent, &status, 0);
  EXPECT_EQ(status, 0);
  const std::string made = FolderOf(moved);
  EXPECT_NE(made, home_.folder);
  SweepCpuCgroups();
  EXPECT_EQ(FolderOf(moved), home_.folder);
  EXPECT_TRUE(IsAlive(moved));
  EXPECT_FALSE(std::filesystem::exists(made));
}

TEST_F(CpuTest, LoadRunsInTheServicesCgroupButIsNoPartOfTheService) {
  RunningService& target = Run({"sh", "-c", "sleep 1000 & wait"});
  const size_t before = target.Processes().size();
  auto fault = Load(30, 1);
  const absl::Status status = fault->Inject();
  ASSERT_TRUE(status.ok()) << status;
  std::vector<ProcessId> burners;
  for (const ProcessId& process : ProcessesIn(target.OwnCpuCgroup().value())) {
    if (ReadStat(process.pid)->name == "squall-burner") burners.push_back(process);
  }
  EXPECT_EQ(burners.size(), 1u);
  EXPECT_EQ(target.Processes().size(), before);
  EXPECT_TRUE(Eventually([&] { return fault->Seen().burned_ns() > 100'000'000; }));
  EXPECT_EQ(fault->Seen().requested_percent(), 30);
  EXPECT_LT(fault->Seen().achieved_percent(), 45) << "30 % and what the first period may be ahead";
  EXPECT_TRUE(fault->Heal(HealFor::kFaultOver).ok());
  for (const ProcessId& burner : burners) EXPECT_FALSE(IsAlive(burner));
  EXPECT_TRUE(fault->Heal(HealFor::kFaultOver).ok());
}

TEST_F(CpuTest, LoadOnMoreCoresThanTheServiceMayUseIsAnErrorAndLeavesNothing) {
  Run();
  auto fault = Load(5, static_cast<int>(Cores()) + 1);
  const absl::Status status = fault->Inject();
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition) << status;
  EXPECT_TRUE(absl::StrContains(status.message(), "cores only")) << status;
  EXPECT_EQ(fault->Seen().burned_ns(), 0);
  EXPECT_TRUE(fault->Heal(HealFor::kFaultOver).ok());
}

}  // namespace
}  // namespace squall
