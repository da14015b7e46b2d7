// cpu against real processes and cgroups. A bystander runs beside the target in every test.
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "agent/faults/fault.h"
#include "agent/faults/limit_test.h"
#include "agent/leftovers.h"
#include "agent/process/cpu_cgroup.h"

namespace squall {
namespace {

// A shell with a child, both of which want all the time that they can get.
std::vector<std::string> Program() { return {"sh", "-c", "while :; do :; done & while :; do :; done"}; }

class CpuTest : public LimitTest {
 protected:
  CpuTest() : LimitTest("cpu") {}

  static std::unique_ptr<ActiveFault> Quota(double percent, const FaultContext& context) {
    Cpu cpu;
    cpu.set_service("target");
    cpu.set_quota(percent);
    return MakeCpu(cpu, context);
  }
  std::unique_ptr<ActiveFault> Quota(double percent) { return Quota(percent, Context()); }
  std::unique_ptr<ActiveFault> Load(double percent, int cores = 0) {
    Cpu cpu;
    cpu.set_service("target");
    cpu.set_load(percent);
    cpu.set_cores(cores);
    return MakeCpu(cpu, Context());
  }
  static int64_t Cores() { return static_cast<int64_t>(CoresOf(getpid()).value().size()); }
};

TEST_F(CpuTest, QuotaOnAServiceThatSquallRunsThrottlesItAndHealsTwice) {
  RunningService& target = Run(Program());
  const LimitCgroup cgroup = target.OwnCgroup("cpu").value();
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
  const LimitCgroup own = At(folders_.back());
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
  const LimitCgroup shared = At(folders_.back());
  attached_.push_back(Start({"sleep", "1000"}, shared.folder));
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
    const absl::StatusOr<LimitCgroup> now = CgroupOf("cpu", process.pid);
    if (!now.ok()) continue;  // ended meanwhile
    EXPECT_EQ(now->folder, shared.folder);
  }
}

TEST_F(CpuTest, QuotaOnARunningServiceInTheFirstCgroupMovesItAndPutsItBack) {
  RunningService& target = AttachTo(Program());
  if (FolderOf(bystander_) != MountOf("cpu")->folder) GTEST_SKIP() << "this test is in a cgroup itself";
  auto fault = Quota(2);
  const absl::Status status = fault->Inject();
  ASSERT_TRUE(status.ok()) << status;
  EXPECT_NE(FolderOf(*target.Leader()), home_.folder);
  EXPECT_TRUE(Eventually([&] { return fault->Seen().throttled_ns() > 0; }));
  EXPECT_TRUE(fault->Heal(HealFor::kFaultOver).ok());
  for (const ProcessId& process : target.Processes()) EXPECT_EQ(FolderOf(process), home_.folder);
}

TEST_F(CpuTest, QuotaOnAServiceThatIsGoneIsAnErrorAndLeavesNothing) {
  RunningService& target = Run(Program());
  for (const ProcessId& process : target.Processes()) kill(process.pid, SIGKILL);
  ASSERT_TRUE(Eventually([&] { return target.Processes().empty(); }));
  auto fault = Quota(10);
  const absl::Status status = fault->Inject();
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition) << status;
  EXPECT_TRUE(absl::StrContains(status.message(), "service target: it has no process")) << status;
  EXPECT_FALSE(ReadLimit(target.OwnCgroup("cpu").value())->limited());
}

TEST_F(CpuTest, QuotaThatTheKernelWouldRefuseIsAnErrorAndLeavesNothing) {
  RunningService& target = AttachTo(Program(), "tiny");
  const LimitCgroup own = At(folders_.back());
  ASSERT_TRUE(WriteLimit(own, {10'000, 100'000}).ok());
  auto fault = Quota(5);
  const absl::Status status = fault->Inject();
  EXPECT_EQ(status.code(), absl::StatusCode::kOutOfRange) << status;
  EXPECT_EQ(*ReadLimit(own), (CpuLimit{10'000, 100'000}));
  EXPECT_EQ(FolderOf(*target.Leader()), own.folder);
}

TEST_F(CpuTest, ASecondQuotaOnTheSameServiceIsRefusedAndTheFirstGoesOn) {
  AttachTo(Program(), "own");
  const LimitCgroup own = At(folders_.back());
  ASSERT_TRUE(WriteLimit(own, {50'000, 100'000}).ok());
  auto first = Quota(20);
  ASSERT_TRUE(first->Inject().ok());
  auto second = Quota(10);
  const absl::Status status = second->Inject();
  EXPECT_TRUE(absl::StrContains(status.message(), "another fault has set its quota already")) << status;
  EXPECT_EQ(ReadLimit(own)->quota_us, 10'000);
  EXPECT_TRUE(first->Heal(HealFor::kFaultOver).ok());
  EXPECT_EQ(ReadLimit(own)->quota_us, 50'000);
}

TEST_F(CpuTest, AQuotaThatSomebodyElseHasSetSinceIsLeft) {
  AttachTo(Program(), "own");
  const LimitCgroup own = At(folders_.back());
  ASSERT_TRUE(WriteLimit(own, {50'000, 100'000}).ok());
  auto fault = Quota(20);
  ASSERT_TRUE(fault->Inject().ok());
  ASSERT_TRUE(WriteLimit(own, {70'000, 100'000}).ok());
  EXPECT_TRUE(fault->Heal(HealFor::kFaultOver).ok());
  EXPECT_EQ(ReadLimit(own)->quota_us, 70'000);
}

Fault ToQuota(double percent) {
  Fault fault;
  fault.mutable_cpu()->set_service("target");
  fault.mutable_cpu()->set_quota(percent);
  return fault;
}

TEST_F(CpuTest, AChangedQuotaIsSetAndWhatWasBeforeAllIsPutBack) {
  AttachTo(Program(), "own");
  const LimitCgroup own = At(folders_.back());
  ASSERT_TRUE(WriteLimit(own, {50'000, 100'000}).ok());
  auto fault = Quota(80);
  ASSERT_TRUE(fault->Inject().ok());
  for (const double percent : {60.0, 40.0, 20.0}) {
    const absl::Status status = fault->Change(ToQuota(percent));
    ASSERT_TRUE(status.ok()) << status;
    EXPECT_EQ(ReadLimit(own)->quota_us, static_cast<int64_t>(500 * percent));
    EXPECT_EQ(fault->Seen().requested_percent(), percent);
    EXPECT_EQ(journal_->Pending().size(), 1u) << "one undo, of what is there now";
  }
  const absl::Status refused = fault->Change(ToQuota(0.01));
  EXPECT_EQ(refused.code(), absl::StatusCode::kOutOfRange) << refused;
  EXPECT_EQ(ReadLimit(own)->quota_us, 10'000) << "it goes on as it was";
  EXPECT_EQ(fault->Seen().requested_percent(), 20);
  EXPECT_TRUE(fault->Heal(HealFor::kFaultOver).ok());
  EXPECT_EQ(*ReadLimit(own), (CpuLimit{50'000, 100'000}));
}

TEST_F(CpuTest, AQuotaThatWasChangedIsTakenBackFromTheJournalOfAnAgentThatWasKilled) {
  AttachTo(Program(), "own");
  const LimitCgroup own = At(folders_.back());
  ASSERT_TRUE(WriteLimit(own, {30'000, 100'000}).ok());
  // As an agent does whose ramp has gone on once.
  class Changed : public ActiveFault {
   public:
    explicit Changed(std::unique_ptr<ActiveFault> fault) : fault_(std::move(fault)) {}
    absl::Status Inject() override {
      const absl::Status injected = fault_->Inject();
      return injected.ok() ? fault_->Change(ToQuota(10)) : injected;
    }
    absl::Status Heal(HealFor reason) override { return fault_->Heal(reason); }
    Evidence Seen() override { return fault_->Seen(); }

   private:
    const std::unique_ptr<ActiveFault> fault_;
  };
  const std::string journal = InjectInAnAgentThatIsKilled(
      [](const FaultContext& context) { return std::make_unique<Changed>(Quota(20, context)); },
      [&] { EXPECT_EQ(ReadLimit(own)->quota_us, 3'000); });
  EXPECT_EQ(TakeBackJournal(journal).left.size(), 0u);
  EXPECT_EQ(*ReadLimit(own), (CpuLimit{30'000, 100'000}));
}

TEST_F(CpuTest, WhatAnAgentThatWasKilledChangedIsTakenBackFromItsJournal) {
  AttachTo(Program(), "own");
  const LimitCgroup own = At(folders_.back());
  ASSERT_TRUE(WriteLimit(own, {30'000, 100'000}).ok());
  const std::string journal = InjectInAnAgentThatIsKilled([](const FaultContext& context) { return Quota(20, context); },
                                                          [&] { EXPECT_EQ(ReadLimit(own)->quota_us, 6'000); });
  EXPECT_EQ(ReadLimit(own)->quota_us, 6'000);
  EXPECT_EQ(TakeBackJournal(journal).left.size(), 0u);
  EXPECT_EQ(*ReadLimit(own), (CpuLimit{30'000, 100'000}));
  EXPECT_FALSE(std::filesystem::exists(journal)) << "it is no longer needed";
}

TEST_F(CpuTest, LoadRunsInTheServicesCgroupButIsNoPartOfTheService) {
  RunningService& target = Run({"sh", "-c", "sleep 1000 & wait"});
  const size_t before = target.Processes().size();
  auto fault = Load(30, 1);
  const absl::Status status = fault->Inject();
  ASSERT_TRUE(status.ok()) << status;
  std::vector<ProcessId> burners;
  for (const ProcessId& process : ProcessesIn(target.OwnCgroup("cpu").value())) {
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
  Run(Program());
  auto fault = Load(5, static_cast<int>(Cores()) + 1);
  const absl::Status status = fault->Inject();
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition) << status;
  EXPECT_TRUE(absl::StrContains(status.message(), "cores only")) << status;
  EXPECT_EQ(fault->Seen().burned_ns(), 0);
  EXPECT_TRUE(fault->Heal(HealFor::kFaultOver).ok());
}

}  // namespace
}  // namespace squall
