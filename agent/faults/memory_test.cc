// memory against real processes and cgroups, and against this host. A bystander runs beside the target in every test.
#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <filesystem>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "agent/faults/ballast.h"
#include "agent/faults/fault.h"
#include "agent/faults/limit_test.h"
#include "agent/leftovers.h"

namespace squall {
namespace {

constexpr int64_t kMiB = int64_t{1} << 20;

// A shell with a child. Needs little.
std::vector<std::string> Quiet() { return {"sh", "-c", "sleep 1000 & wait"}; }
// Its children want 96 MiB each, one after the other, and the shell goes on when they are killed. It says so to nobody: nobody reads it.
std::vector<std::string> Greedy() {
  return {"sh", "-c", "exec > /dev/null 2>&1; while :; do head -c 96M /dev/zero | tail -n 1; sleep 0.01; done"};
}

class MemoryTest : public LimitTest {
 protected:
  MemoryTest() : LimitTest("memory") {}

  static std::unique_ptr<ActiveFault> Limit(int64_t bytes, const FaultContext& context) {
    Memory memory;
    memory.set_service("target");
    memory.set_limit(bytes);
    return MakeMemory(memory, context);
  }
  std::unique_ptr<ActiveFault> Limit(int64_t bytes) { return Limit(bytes, Context()); }
  std::unique_ptr<ActiveFault> Leave(int64_t bytes) {
    Memory memory;
    memory.set_service("target");
    memory.set_leave(bytes);
    return MakeMemory(memory, Context());
  }

  static std::string TextIn(const LimitCgroup& cgroup, const std::string& file) {
    return std::string(absl::StripAsciiWhitespace(Slurp(FileOf(cgroup, file))));
  }
  // All limits of the cgroup.
  static std::string LimitsOf(const LimitCgroup& cgroup) {
    return cgroup.version == 1 ? absl::StrCat(TextIn(cgroup, "memory.limit_in_bytes"), " ", TextIn(cgroup, "memory.memsw.limit_in_bytes"))
                               : absl::StrCat(TextIn(cgroup, "memory.max"), " ", TextIn(cgroup, "memory.swap.max"));
  }
  static std::string LimitOf(const LimitCgroup& cgroup) { return TextIn(cgroup, cgroup.version == 1 ? "memory.limit_in_bytes" : "memory.max"); }
  static void SetLimit(const LimitCgroup& cgroup, int64_t bytes) {
    ASSERT_TRUE(WriteCgroupFile(LimitFile(cgroup), absl::StrCat(bytes)).ok());
  }
};

TEST_F(MemoryTest, LimitOnAServiceThatSquallRunsKillsWhatDoesNotFitAndHealsTwice) {
  RunningService& target = Run(Greedy());
  const LimitCgroup cgroup = target.OwnCgroup("memory").value();
  const std::string before = LimitsOf(cgroup);
  auto fault = Limit(24 * kMiB + 5);  // no whole page
  const absl::Status status = fault->Inject();
  ASSERT_TRUE(status.ok()) << status;
  EXPECT_EQ(LimitOf(cgroup), absl::StrCat(24 * kMiB));
  if (cgroup.version == 1 && IsCgroupThere(FileOf(cgroup, "memory.memsw.limit_in_bytes"))) {
    EXPECT_EQ(TextIn(cgroup, "memory.memsw.limit_in_bytes"), absl::StrCat(28 * kMiB)) << "next to no swap instead";
  }
  EXPECT_TRUE(Eventually([&] { return fault->Seen().oom_kills() >= 2; }));
  EXPECT_TRUE(fault->Heal(HealFor::kFaultOver).ok());
  EXPECT_EQ(LimitsOf(cgroup), before);
  const Evidence evidence = fault->Seen();
  EXPECT_EQ(evidence.limit_bytes(), 24 * kMiB);
  EXPECT_GT(evidence.reclaims(), 0);
  EXPECT_GT(evidence.used_bytes(), 12 * kMiB);
  EXPECT_LE(evidence.used_bytes(), 24 * kMiB);
  EXPECT_TRUE(IsAlive(*target.Leader()));
  EXPECT_TRUE(fault->Heal(HealFor::kFaultOver).ok());
  EXPECT_EQ(fault->Seen().oom_kills(), evidence.oom_kills());
}

TEST_F(MemoryTest, WhatCanBeReclaimedIsAndNobodyIsKilled) {
  const std::string file = absl::StrCat(testing::TempDir(), "/pages-", getpid());
  const std::string write = absl::StrCat("dd if=/dev/zero of=", file, " bs=1M count=64 2> /dev/null");
  RunningService& target = Run({"sh", "-c", absl::StrCat("sleep 1000 & while :; do ", write, "; sync ", file, "; done")});
  auto fault = Limit(32 * kMiB);
  const absl::Status status = fault->Inject();
  ASSERT_TRUE(status.ok()) << status;
  EXPECT_TRUE(Eventually([&] { return fault->Seen().reclaims() > 0; }));
  EXPECT_EQ(fault->Seen().oom_kills(), 0);
  EXPECT_TRUE(IsAlive(*target.Leader()));
  EXPECT_TRUE(fault->Heal(HealFor::kFaultOver).ok());
  services_.clear();
  unlink(file.c_str());
}

TEST_F(MemoryTest, LimitOnTheOwnCgroupOfARunningServicePutsBackWhatWasThere) {
  RunningService& target = AttachTo(Quiet(), "own");
  const LimitCgroup own = At(folders_.back());
  SetLimit(own, 600 * kMiB);
  if (own.version == 1) WriteCgroupFile(FileOf(own, "memory.memsw.limit_in_bytes"), absl::StrCat(700 * kMiB)).IgnoreError();
  const std::string before = LimitsOf(own);
  auto fault = Limit(100 * kMiB);
  const absl::Status status = fault->Inject();
  ASSERT_TRUE(status.ok()) << status;
  EXPECT_EQ(LimitOf(own), absl::StrCat(100 * kMiB));
  EXPECT_NE(LimitsOf(own), before);
  for (const ProcessId& process : target.Processes()) EXPECT_EQ(FolderOf(process), own.folder) << "not moved";
  EXPECT_TRUE(fault->Heal(HealFor::kFaultOver).ok());
  EXPECT_EQ(LimitsOf(own), before);
  EXPECT_EQ(fault->Seen().reclaims(), 0);
  EXPECT_EQ(fault->Seen().oom_kills(), 0);
  EXPECT_GT(fault->Seen().used_bytes(), 0);
}

TEST_F(MemoryTest, LimitOnARunningServiceBesideOthersMovesItAndPutsItBack) {
  RunningService& target = AttachTo(Greedy(), "shared");
  const LimitCgroup shared = At(folders_.back());
  attached_.push_back(Start({"sleep", "1000"}, shared.folder));
  auto fault = Limit(24 * kMiB);
  const absl::Status status = fault->Inject();
  if (home_.version == 2) {
    EXPECT_TRUE(absl::StrContains(status.message(), "holds processes of others too, and v2 allows no cgroup")) << status;
    EXPECT_EQ(FolderOf(*target.Leader()), shared.folder);
    return;
  }
  ASSERT_TRUE(status.ok()) << status;
  const std::string made = FolderOf(*target.Leader());
  EXPECT_TRUE(absl::StartsWith(made, shared.folder + "/squall-memory-")) << made;
  EXPECT_EQ(LimitOf(At(made)), absl::StrCat(24 * kMiB));
  EXPECT_EQ(FolderOf(attached_.back()), shared.folder) << "the neighbour stays";
  EXPECT_NE(LimitOf(shared), LimitOf(At(made)));
  EXPECT_TRUE(Eventually([&] { return fault->Seen().oom_kills() > 0; })) << "what it takes from then on is held";
  EXPECT_TRUE(fault->Heal(HealFor::kFaultOver).ok());
  EXPECT_FALSE(std::filesystem::exists(made));
  EXPECT_EQ(FolderOf(*target.Leader()), shared.folder);
  EXPECT_TRUE(IsAlive(*target.Leader()));
}

TEST_F(MemoryTest, LimitThatWouldTakeNothingAwayIsAnErrorAndLeavesNothing) {
  AttachTo(Quiet(), "own");
  const LimitCgroup own = At(folders_.back());
  SetLimit(own, 100 * kMiB);
  const std::string before = LimitsOf(own);
  auto fault = Limit(100 * kMiB);
  const absl::Status status = fault->Inject();
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition) << status;
  EXPECT_TRUE(absl::StrContains(status.message(), "service target: ")) << status;
  EXPECT_TRUE(absl::StrContains(status.message(), "would take nothing away")) << status;
  EXPECT_EQ(LimitsOf(own), before);
}

TEST_F(MemoryTest, LimitBelowWhatCannotBeReclaimedIsAnErrorOnV1AndLeavesNothing) {
  // tail holds it all, and waits for more.
  RunningService& target = AttachTo({"sh", "-c", "(head -c 64M /dev/zero; sleep 1000) | tail -n 1"}, "own");
  const LimitCgroup own = At(folders_.back());
  if (own.version == 2) GTEST_SKIP() << "v2 kills instead";
  const std::string before = LimitsOf(own);
  ASSERT_TRUE(Eventually([&] { return ReadCgroupNumber(FileOf(own, "memory.usage_in_bytes")).value_or(0) > 64 * kMiB; }));
  if (ReadHostMemory()->swap > 0) GTEST_SKIP() << "this host has swap";
  auto fault = Limit(16 * kMiB);
  const absl::Status status = fault->Inject();
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition) << status;
  EXPECT_TRUE(absl::StrContains(status.message(), "cannot reclaim what is more than 16777216")) << status;
  EXPECT_EQ(LimitsOf(own), before);
  EXPECT_GE(target.Processes().size(), 2u);
}

TEST_F(MemoryTest, SecondLimitOnTheSameServiceIsRefusedAndTheFirstStays) {
  AttachTo(Quiet(), "own");
  const LimitCgroup own = At(folders_.back());
  const std::string before = LimitsOf(own);
  auto first = Limit(100 * kMiB), second = Limit(50 * kMiB);
  ASSERT_TRUE(first->Inject().ok());
  const absl::Status status = second->Inject();
  EXPECT_TRUE(absl::StrContains(status.message(), "let one end before the other begins")) << status;
  EXPECT_TRUE(second->Heal(HealFor::kFaultOver).ok());
  EXPECT_EQ(LimitOf(own), absl::StrCat(100 * kMiB));
  EXPECT_TRUE(first->Heal(HealFor::kFaultOver).ok());
  EXPECT_EQ(LimitsOf(own), before);
}

TEST_F(MemoryTest, SecondLimitOnAServiceThatWasMovedIsRefusedToo) {
  RunningService& target = AttachTo(Quiet(), "shared");
  attached_.push_back(Start({"sleep", "1000"}, folders_.back()));
  auto first = Limit(100 * kMiB), second = Limit(50 * kMiB);
  if (!first->Inject().ok()) GTEST_SKIP() << "v2";
  const std::string made = FolderOf(*target.Leader());
  const absl::Status status = second->Inject();
  EXPECT_TRUE(absl::StrContains(status.message(), "let one end before the other begins")) << status;
  EXPECT_EQ(LimitOf(At(made)), absl::StrCat(100 * kMiB));
  EXPECT_TRUE(first->Heal(HealFor::kFaultOver).ok());
  EXPECT_EQ(FolderOf(*target.Leader()), folders_.back());
}

TEST_F(MemoryTest, LimitOnAServiceThatIsGoneIsAnErrorAndLeavesNothing) {
  RunningService& target = Run(Quiet());
  const std::string before = LimitsOf(target.OwnCgroup("memory").value());
  for (const ProcessId& process : target.Processes()) kill(process.pid, SIGKILL);
  ASSERT_TRUE(Eventually([&] { return target.Processes().empty(); }));
  auto fault = Limit(100 * kMiB);
  const absl::Status status = fault->Inject();
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition) << status;
  EXPECT_TRUE(absl::StrContains(status.message(), "service target: it has no process")) << status;
  EXPECT_EQ(LimitsOf(target.OwnCgroup("memory").value()), before);
}

TEST_F(MemoryTest, WhatAnAgentThatWasKilledLimitedIsTakenBackFromItsJournal) {
  AttachTo(Quiet(), "own");
  const LimitCgroup own = At(folders_.back());
  SetLimit(own, 600 * kMiB);
  const std::string before = LimitsOf(own);
  const std::string journal =
      InjectInAnAgentThatIsKilled([](const FaultContext& context) { return Limit(100 * kMiB, context); },
                                  [&] { EXPECT_EQ(LimitOf(own), absl::StrCat(100 * kMiB)); });
  EXPECT_EQ(LimitOf(own), absl::StrCat(100 * kMiB)) << "the kernel does nothing";
  EXPECT_EQ(TakeBackJournal(journal).left.size(), 0u);
  EXPECT_EQ(LimitsOf(own), before);
  EXPECT_FALSE(std::filesystem::exists(journal)) << "it is no longer needed";
}

TEST_F(MemoryTest, WhatAnAgentThatWasKilledMovedIsPutBackFromItsJournal) {
  RunningService& target = AttachTo(Quiet(), "shared");
  attached_.push_back(Start({"sleep", "1000"}, folders_.back()));
  if (home_.version == 2) GTEST_SKIP() << "v2 allows no move";
  std::string made;
  const std::string journal = InjectInAnAgentThatIsKilled(
      [](const FaultContext& context) { return Limit(100 * kMiB, context); }, [&] { made = FolderOf(*target.Leader()); });
  EXPECT_NE(made, folders_.back());
  EXPECT_EQ(TakeBackJournal(journal).left.size(), 0u);
  EXPECT_FALSE(std::filesystem::exists(made));
  for (const ProcessId& process : target.Processes()) EXPECT_EQ(FolderOf(process), folders_.back());
  EXPECT_TRUE(IsAlive(*target.Leader())) << "put back, not killed";
}

// Others on this host take and free memory meanwhile: no tight figures.
TEST_F(MemoryTest, LeaveTakesWhatIsMoreThanThatFromTheHostAndHealsTwice) {
  RunningService& target = Run(Quiet());
  const int64_t leave = ReadHostMemory()->available - 512 * kMiB;
  if (leave < MemoryFloor(ReadHostMemory()->total)) GTEST_SKIP() << "this host has not the memory to spare";
  auto fault = Leave(leave);
  const absl::Status status = fault->Inject();
  ASSERT_TRUE(status.ok()) << status;
  const Evidence evidence = fault->Seen();
  EXPECT_GT(evidence.held_bytes(), 128 * kMiB);
  EXPECT_EQ(evidence.requested_left_bytes(), leave);
  EXPECT_LT(evidence.achieved_left_bytes(), leave + 128 * kMiB);
  EXPECT_GT(evidence.achieved_left_bytes(), MemoryFloor(ReadHostMemory()->total));
  EXPECT_EQ(target.Processes().size(), 2u) << "the ballast is no part of the service";
  EXPECT_LT(ReadCgroupNumber(FileOf(target.OwnCgroup("memory").value(), home_.version == 1 ? "memory.usage_in_bytes" : "memory.current")).value(),
            64 * kMiB);
  EXPECT_TRUE(fault->Heal(HealFor::kFaultOver).ok());
  for (const ProcessId& child : Children()) EXPECT_NE(ReadStat(child.pid)->name, "squall-ballast");
  EXPECT_TRUE(fault->Heal(HealFor::kFaultOver).ok());
  EXPECT_GE(fault->Seen().held_bytes(), evidence.held_bytes());
}

TEST_F(MemoryTest, LeaveOfMoreThanThereIsHoldsNothing) {
  auto fault = Leave(ReadHostMemory()->total);
  ASSERT_TRUE(fault->Inject().ok());
  EXPECT_EQ(fault->Seen().held_bytes(), 0);
  EXPECT_TRUE(fault->Heal(HealFor::kFaultOver).ok());
}

TEST_F(MemoryTest, HealingWhatWasNeverInjectedDoesNothing) {
  Run(Quiet());
  for (const auto& fault : {Limit(100 * kMiB).release(), Leave(64 * kMiB).release()}) {
    const std::unique_ptr<ActiveFault> owned(fault);
    EXPECT_TRUE(owned->Heal(HealFor::kRunOver).ok());
    EXPECT_EQ(owned->Seen().held_bytes(), 0);
    EXPECT_EQ(owned->Seen().limit_bytes(), 0);
  }
}

TEST_F(MemoryTest, CheckSaysBeforeTheRunWhatCannotBeDone) {
  Service run;
  run.set_name("target");
  run.add_run("sleep");
  Memory limit, leave;
  limit.set_limit(100 * kMiB);
  EXPECT_TRUE(CheckMemory(limit, run).ok()) << CheckMemory(limit, run);
  leave.set_leave(64 * kMiB);
  EXPECT_TRUE(CheckMemory(leave, run).ok()) << CheckMemory(leave, run);
  leave.set_leave(ReadHostMemory()->total);
  EXPECT_TRUE(absl::StrContains(CheckMemory(leave, run).message(), "bytes of memory in all; leave less")) << CheckMemory(leave, run);
  Service gone;
  gone.set_name("target");
  gone.mutable_attach()->set_pid(1 << 22);
  EXPECT_TRUE(absl::StrContains(CheckMemory(limit, gone).message(), "a memory limit on target needs a cgroup with the memory controller"))
      << CheckMemory(limit, gone);
}

}  // namespace
}  // namespace squall
