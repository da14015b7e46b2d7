// pids against real processes and cgroups. A bystander runs beside the target in every test.
#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <filesystem>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "agent/faults/fault.h"
#include "agent/faults/limit_test.h"
#include "agent/leftovers.h"

namespace squall {
namespace {

// Two processes, that stay.
std::vector<std::string> Quiet() { return {"sh", "-c", "sleep 1000 & wait"}; }

class PidsTest : public LimitTest {
 protected:
  PidsTest() : LimitTest("pids") {}

  static std::unique_ptr<ActiveFault> Leaving(int tasks, const FaultContext& context) {
    Pids pids;
    pids.set_service("target");
    pids.set_leave(tasks);
    return MakePids(pids, context);
  }
  std::unique_ptr<ActiveFault> Leaving(int tasks) { return Leaving(tasks, Context()); }
  static std::string MaxOf(const LimitCgroup& cgroup) { return std::string(absl::StripAsciiWhitespace(Slurp(FileOf(cgroup, "pids.max")))); }

  // A process in a cgroup of the target's tries to fork; whether it could.
  static bool CanFork(const LimitCgroup& cgroup) {
    const pid_t pid = fork();
    if (pid == 0) {
      if (!WriteCgroupFile(FileOf(cgroup, "cgroup.procs"), "0").ok()) _exit(2);
      const pid_t child = fork();
      if (child == 0) _exit(0);
      if (child > 0) waitpid(child, nullptr, 0);
      _exit(child > 0 ? 0 : 1);
    }
    int status = 0;
    waitpid(pid, &status, 0);
    EXPECT_NE(WEXITSTATUS(status), 2) << "it cannot enter the cgroup";
    return WEXITSTATUS(status) == 0;
  }
};

TEST_F(PidsTest, LeavesAServiceThatSquallRunsSoManyMoreAndHealsTwice) {
  RunningService& target = Run(Quiet());
  const LimitCgroup cgroup = target.OwnCgroup("pids").value();
  auto fault = Leaving(2);
  const absl::Status status = fault->Inject();
  ASSERT_TRUE(status.ok()) << status;
  EXPECT_EQ(MaxOf(cgroup), "4");
  EXPECT_EQ(fault->Seen().fewest_left(), 2);
  EXPECT_TRUE(CanFork(cgroup)) << "one that enters and one that it forks";
  EXPECT_EQ(fault->Seen().refusals(), 0);
  attached_.push_back(Start({"sleep", "1000"}, cgroup.folder));
  EXPECT_FALSE(CanFork(cgroup)) << "one too many";
  EXPECT_TRUE(CanFork(home_)) << "others may";
  EXPECT_TRUE(fault->Heal(HealFor::kFaultOver).ok());
  EXPECT_EQ(MaxOf(cgroup), "max");
  EXPECT_TRUE(CanFork(cgroup));
  const Evidence evidence = fault->Seen();
  EXPECT_EQ(evidence.requested_left(), 2);
  EXPECT_EQ(evidence.fewest_left(), 0);
  EXPECT_EQ(evidence.refusals(), 1);
  EXPECT_TRUE(evidence.refusals_seen());
  EXPECT_EQ(target.Processes().size(), 2u) << "what it has stays";
  EXPECT_TRUE(fault->Heal(HealFor::kFaultOver).ok());
  EXPECT_EQ(fault->Seen().refusals(), 1);
}

TEST_F(PidsTest, LimitOnTheOwnCgroupOfARunningServicePutsBackWhatWasThere) {
  RunningService& target = AttachTo(Quiet(), "own");
  const LimitCgroup own = At(folders_.back());
  ASSERT_TRUE(WriteCgroupFile(LimitFile(own), "100").ok());
  auto fault = Leaving(0);
  const absl::Status status = fault->Inject();
  ASSERT_TRUE(status.ok()) << status;
  EXPECT_EQ(MaxOf(own), "2");
  for (const ProcessId& process : target.Processes()) EXPECT_EQ(FolderOf(process), own.folder) << "not moved";
  EXPECT_FALSE(CanFork(own));
  EXPECT_TRUE(fault->Heal(HealFor::kFaultOver).ok());
  EXPECT_EQ(MaxOf(own), "100");
  EXPECT_EQ(fault->Seen().refusals(), 1);
}

TEST_F(PidsTest, WhatIsRefusedInACgroupBelowTheServicesIsCountedToo) {
  AttachTo(Quiet(), "own");
  const LimitCgroup own = At(folders_.back());
  if (own.version == 2) GTEST_SKIP() << "v2 allows no processes above others";
  const LimitCgroup below = MakeCgroup("own/below");
  std::swap(folders_[0], folders_[1]);  // removed first
  auto fault = Leaving(0);
  ASSERT_TRUE(fault->Inject().ok());
  EXPECT_FALSE(CanFork(below));
  EXPECT_EQ(fault->Seen().refusals(), 1);
  EXPECT_TRUE(fault->Heal(HealFor::kFaultOver).ok());
}

TEST_F(PidsTest, LimitOnARunningServiceBesideOthersMovesItAndPutsItBack) {
  RunningService& target = AttachTo(Quiet(), "shared");
  const LimitCgroup shared = At(folders_.back());
  attached_.push_back(Start({"sleep", "1000"}, shared.folder));
  auto fault = Leaving(1);
  const absl::Status status = fault->Inject();
  if (home_.version == 2) {
    EXPECT_TRUE(absl::StrContains(status.message(), "holds processes of others too, and v2 allows no cgroup")) << status;
    EXPECT_EQ(FolderOf(*target.Leader()), shared.folder);
    return;
  }
  ASSERT_TRUE(status.ok()) << status;
  const std::string made = FolderOf(*target.Leader());
  EXPECT_TRUE(absl::StartsWith(made, shared.folder + "/squall-pids-")) << made;
  EXPECT_EQ(MaxOf(At(made)), "3");
  EXPECT_EQ(MaxOf(shared), "max");
  EXPECT_EQ(FolderOf(attached_.back()), shared.folder) << "the neighbour stays";
  EXPECT_TRUE(CanFork(shared));
  EXPECT_FALSE(CanFork(At(made)));
  EXPECT_TRUE(fault->Heal(HealFor::kFaultOver).ok());
  EXPECT_FALSE(std::filesystem::exists(made));
  for (const ProcessId& process : target.Processes()) EXPECT_EQ(FolderOf(process), shared.folder);
}

TEST_F(PidsTest, LimitOnARunningServiceInTheFirstCgroupMovesItAndPutsItBack) {
  RunningService& target = AttachTo(Quiet());
  if (FolderOf(bystander_) != MountOf("pids")->folder) GTEST_SKIP() << "this test is in a cgroup itself";
  auto fault = Leaving(0);
  const absl::Status status = fault->Inject();
  ASSERT_TRUE(status.ok()) << status;
  EXPECT_NE(FolderOf(*target.Leader()), home_.folder);
  EXPECT_FALSE(CanFork(At(FolderOf(*target.Leader()))));
  EXPECT_TRUE(fault->Heal(HealFor::kFaultOver).ok());
  for (const ProcessId& process : target.Processes()) EXPECT_EQ(FolderOf(process), home_.folder);
}

TEST_F(PidsTest, LimitThatWouldTakeNothingAwayIsAnErrorAndLeavesNothing) {
  AttachTo(Quiet(), "own");
  const LimitCgroup own = At(folders_.back());
  ASSERT_TRUE(WriteCgroupFile(LimitFile(own), "12").ok());
  auto fault = Leaving(10);
  const absl::Status status = fault->Inject();
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition) << status;
  EXPECT_TRUE(absl::StrContains(status.message(), "is 12 already, and 12 would take nothing away")) << status;
  EXPECT_EQ(MaxOf(own), "12");
  EXPECT_FALSE(fault->Seen().refusals_seen());
}

TEST_F(PidsTest, LimitOnAServiceThatIsGoneIsAnErrorAndLeavesNothing) {
  RunningService& target = Run(Quiet());
  for (const ProcessId& process : target.Processes()) kill(process.pid, SIGKILL);
  ASSERT_TRUE(Eventually([&] { return target.Processes().empty(); }));
  auto fault = Leaving(0);
  const absl::Status status = fault->Inject();
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition) << status;
  EXPECT_TRUE(absl::StrContains(status.message(), "service target: it has no process")) << status;
  EXPECT_EQ(MaxOf(target.OwnCgroup("pids").value()), "max");
}

TEST_F(PidsTest, WhatAnAgentThatWasKilledLimitedIsTakenBackFromItsJournal) {
  AttachTo(Quiet(), "own");
  const LimitCgroup own = At(folders_.back());
  const std::string journal = InjectInAnAgentThatIsKilled([](const FaultContext& context) { return Leaving(0, context); },
                                                          [&] { EXPECT_EQ(MaxOf(own), "2"); });
  EXPECT_EQ(MaxOf(own), "2") << "the kernel does nothing";
  EXPECT_EQ(TakeBackJournal(journal).left.size(), 0u);
  EXPECT_EQ(MaxOf(own), "max");
  EXPECT_FALSE(std::filesystem::exists(journal)) << "it is no longer needed";
}

TEST_F(PidsTest, CheckSaysBeforeTheRunWhatCannotBeDone) {
  Service run;
  run.set_name("target");
  run.add_run("sleep");
  EXPECT_TRUE(CheckPids(Pids(), run).ok()) << CheckPids(Pids(), run);
  Service gone;
  gone.set_name("target");
  gone.mutable_attach()->set_pid(1 << 22);
  EXPECT_TRUE(absl::StrContains(CheckPids(Pids(), gone).message(), "a limit of tasks on target needs a cgroup with the pids controller"))
      << CheckPids(Pids(), gone);
}

}  // namespace
}  // namespace squall
