// kill against real processes. A bystander of the same program runs beside the target in every test.
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <set>
#include <thread>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "agent/faults/fault.h"
#include "agent/process/find.h"
#include "agent/process/spawn.h"
#include "base/clock.h"
#include "base/durations.h"

namespace squall {
namespace {

template <typename Condition>
bool Eventually(Condition condition) {
  for (int i = 0; i < 5000; ++i) {
    if (condition()) return true;
    absl::SleepFor(absl::Milliseconds(1));
  }
  return false;
}

class KillTest : public ::testing::Test {
 protected:
  void SetUp() override {
    journal_ = Journal::Create(::testing::TempDir()).value();
    main_ = std::thread([this] { main_thread_.Serve(); });
    SpawnOptions options;
    options.argv = Program();
    bystander_ = Spawn(options).value().id;
  }
  void TearDown() override {
    EXPECT_TRUE(IsAlive(bystander_)) << "the fault hit a bystander";
    End(bystander_);
    services_.clear();
    for (const ProcessId& process : attached_) End(process);
    main_thread_.Stop();
    main_.join();
    EXPECT_TRUE(journal_->Pending().empty());
  }

  static void End(const ProcessId& leader) {
    kill(-leader.pid, SIGKILL);
    waitpid(leader.pid, nullptr, 0);
  }

  // Listens on nothing, has a child: two processes.
  static std::vector<std::string> Program() { return {"sh", "-c", "sleep 1000 & wait"}; }

  RunningService& Add(const Service& service) {
    services_["target"] = std::make_unique<RunningService>(
        service, RunningService::Context{"/", "test", &main_thread_, &*journal_, &events_});
    RunningService& target = *services_["target"];
    const absl::Status claimed = target.Claim();
    EXPECT_TRUE(claimed.ok()) << claimed;
    return target;
  }
  RunningService& Start(const std::vector<std::string>& argv = Program(), size_t processes = 2) {
    Service service;
    service.set_name("target");
    service.mutable_run()->Assign(argv.begin(), argv.end());
    RunningService& target = Add(service);
    EXPECT_TRUE(target.Start().ok());
    EXPECT_TRUE(Eventually([&] { return target.Processes().size() == processes; }));
    return target;
  }
  // A command line that no other process has.
  static std::string Worker() { return absl::StrCat("sleep ", 1'000'000 + getpid()); }
  // Started by somebody else, and by its command line the service.
  RunningService& AttachToWorkerOf(const std::string& script) {
    SpawnOptions options;
    options.argv = {"sh", "-c", absl::StrCat("exec >/dev/null 2>&1; ", script)};  // it tells who was killed, and here nobody reads
    attached_.push_back(Spawn(options).value().id);
    Service service;
    service.set_name("target");
    service.mutable_attach()->set_command(Worker());
    EXPECT_TRUE(Eventually([&] { return FindTarget(service.attach()).ok(); }));
    return Add(service);
  }

  static Kill Of(const std::string& signal) {
    Kill kill;
    kill.set_service("target");
    kill.set_signal(signal);
    return kill;
  }
  static Kill BackWithin(const std::string& signal, absl::Duration within) {
    Kill kill = Of(signal);
    *kill.mutable_supervisor_within() = FromDuration(within);
    return kill;
  }
  std::unique_ptr<ActiveFault> Make(const Kill& kill, uint64_t seed = 1) { return MakeKill(kill, {nullptr, &services_, seed, &cancelled_}); }
  std::unique_ptr<ActiveFault> Make(const std::string& signal, bool restart) {
    Kill kill = Of(signal);
    if (restart) kill.mutable_restart_after()->set_seconds(1);
    return Make(kill);
  }

  std::vector<ServiceEvent> Told() {
    std::vector<ServiceEvent> told;
    for (AgentEvent event; events_.Pop(event, absl::ZeroDuration());) {
      if (event.record().has_service()) told.push_back(event.record().service());
    }
    return told;
  }

  std::unique_ptr<Journal> journal_;
  MainThread main_thread_;
  std::thread main_;
  Events events_;
  std::map<std::string, std::unique_ptr<RunningService>> services_;
  ProcessId bystander_;
  std::vector<ProcessId> attached_;
  std::atomic<bool> cancelled_ = true;  // a program that never listens is not waited for
};

TEST_F(KillTest, EndsEveryProcessOfTheServiceAndSaysSo) {
  RunningService& target = Start();
  auto fault = Make("SIGKILL", /*restart=*/false);
  const absl::Status status = fault->Inject();
  EXPECT_TRUE(status.ok()) << status;
  EXPECT_EQ(fault->Seen().signalled(), 2);
  EXPECT_EQ(fault->Seen().gone(), 2);
  EXPECT_TRUE(target.Processes().empty());
}

TEST_F(KillTest, SaysWhenTheFirstWasSignalled) {
  Start();
  auto fault = Make("SIGTERM", /*restart=*/false);
  EXPECT_EQ(fault->Seen().signalled_ns(), 0);
  const int64_t before = BootNanos();
  ASSERT_TRUE(fault->Inject().ok());
  const int64_t after = BootNanos();
  const int64_t signalled_ns = fault->Seen().signalled_ns();
  EXPECT_GE(signalled_ns, before);
  EXPECT_LE(signalled_ns, after);
  ASSERT_TRUE(fault->Heal(HealFor::kFaultOver).ok());
  EXPECT_EQ(fault->Seen().signalled_ns(), signalled_ns);
}

TEST_F(KillTest, ExitIsToldAsTheKernelTellsIt) {
  const auto exit_of = [&](const std::string& script, const std::string& signal) {
    RunningService& target = Start({"sh", "-c", script});
    auto fault = Make(signal, /*restart=*/false);
    EXPECT_TRUE(fault->Inject().ok());
    ServiceEvent exit;
    EXPECT_TRUE(Eventually([&] {
      target.Look();
      for (const ServiceEvent& event : Told()) {
        if (event.what() == ServiceEvent::EXITED) exit = event;
      }
      return exit.what() == ServiceEvent::EXITED;
    }));
    services_.clear();
    return exit;
  };
  const std::string rest = "sleep 1000 & wait";
  const ServiceEvent by_signal = exit_of(rest, "SIGTERM");
  EXPECT_TRUE(by_signal.exit_known());
  EXPECT_EQ(by_signal.exit_signal(), SIGTERM);
  EXPECT_EQ(by_signal.exit_code(), 0);
  const ServiceEvent by_code = exit_of("trap 'exit 143' TERM; " + rest, "SIGTERM");
  EXPECT_TRUE(by_code.exit_known());
  EXPECT_EQ(by_code.exit_signal(), 0);
  EXPECT_EQ(by_code.exit_code(), 143);
  const ServiceEvent in_order = exit_of("trap 'exit 0' TERM; " + rest, "SIGTERM");
  EXPECT_TRUE(in_order.exit_known());
  EXPECT_EQ(in_order.exit_signal(), 0);
  EXPECT_EQ(in_order.exit_code(), 0);
}

TEST_F(KillTest, HealingTwiceIsSafeAndWithoutRestartStartsNothing) {
  RunningService& target = Start();
  auto fault = Make("SIGTERM", /*restart=*/false);
  ASSERT_TRUE(fault->Inject().ok());
  EXPECT_TRUE(fault->Heal(HealFor::kFaultOver).ok());
  EXPECT_TRUE(fault->Heal(HealFor::kFaultOver).ok());
  EXPECT_TRUE(target.Processes().empty());
}

TEST_F(KillTest, AtTheEndOfTheRunNothingIsStartedAgain) {
  RunningService& target = Start();
  auto fault = Make("SIGKILL", /*restart=*/true);
  ASSERT_TRUE(fault->Inject().ok());
  EXPECT_TRUE(fault->Heal(HealFor::kRunOver).ok());
  EXPECT_TRUE(target.Processes().empty());
}

TEST_F(KillTest, RestartStartsANewProcessAndIsNotConfirmedBeforeItIsReady) {
  RunningService& target = Start();
  const ProcessId before = *target.Leader();
  auto fault = Make("SIGKILL", /*restart=*/true);
  ASSERT_TRUE(fault->Inject().ok());
  // It never listens, and the run is cancelled: started, but not confirmed.
  EXPECT_FALSE(fault->Heal(HealFor::kFaultOver).ok());
  ASSERT_TRUE(target.Leader());
  EXPECT_FALSE(*target.Leader() == before);
}

TEST_F(KillTest, ServiceThatIsGoneAlreadyIsAnErrorAndNothingIsSignalled) {
  Start();
  auto first = Make("SIGKILL", /*restart=*/false);
  ASSERT_TRUE(first->Inject().ok());
  auto second = Make("SIGKILL", /*restart=*/false);
  const absl::Status status = second->Inject();
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_TRUE(absl::StrContains(status.message(), "has no process to signal")) << status;
  EXPECT_EQ(second->Seen().signalled(), 0);
  EXPECT_TRUE(second->Heal(HealFor::kFaultOver).ok());
}

TEST_F(KillTest, SignalThatIsIgnoredLeavesItsProcessAndTheEvidenceSaysSo) {
  RunningService& target = Start({"sh", "-c", "trap '' TERM; sleep 1000 & while true; do wait; done"});
  auto fault = Make("SIGTERM", /*restart=*/false);
  ASSERT_TRUE(fault->Inject().ok());
  EXPECT_EQ(fault->Seen().signalled(), 2);
  EXPECT_LT(fault->Seen().gone(), 2);
  EXPECT_FALSE(target.Processes().empty());
}

TEST_F(KillTest, WhatIgnoresTheSignalIsEndedAfterItsGraceAndCounted) {
  RunningService& target = Start({"sh", "-c", "trap '' TERM; echo; sleep 1000 & while true; do wait; done"});
  Kill kill = Of("SIGTERM");
  kill.mutable_grace()->set_seconds(2);
  cancelled_ = false;
  auto fault = Make(kill);
  ASSERT_TRUE(fault->Inject().ok());
  EXPECT_FALSE(target.Processes().empty()) << "its grace is longer than what is waited for";
  EXPECT_EQ(fault->Seen().ended_by_grace(), 0);
  EXPECT_TRUE(fault->Heal(HealFor::kFaultOver).ok());
  EXPECT_TRUE(Eventually([&] {
    target.Look();
    return fault->Seen().gone() == 2;
  }));
  EXPECT_GE(fault->Seen().ended_by_grace(), 1);
  EXPECT_TRUE(target.Processes().empty());
}

TEST_F(KillTest, WhatObeysTheSignalIsNotEndedByGrace) {
  Start();
  Kill kill = Of("SIGTERM");
  kill.mutable_grace()->set_seconds(600);
  cancelled_ = false;
  auto fault = Make(kill);
  ASSERT_TRUE(fault->Inject().ok());
  EXPECT_TRUE(fault->Heal(HealFor::kFaultOver).ok()) << "and nobody waits for the rest of it";
  EXPECT_EQ(fault->Seen().gone(), 2);
  EXPECT_EQ(fault->Seen().ended_by_grace(), 0);
}

TEST_F(KillTest, AtTheEndOfTheRunGraceIsNotWaitedFor) {
  RunningService& target = Start({"sh", "-c", "trap '' TERM; sleep 1000 & while true; do wait; done"});
  Kill kill = Of("SIGTERM");
  kill.mutable_grace()->set_seconds(600);
  auto fault = Make(kill);
  ASSERT_TRUE(fault->Inject().ok());
  EXPECT_TRUE(fault->Heal(HealFor::kRunOver).ok());
  EXPECT_FALSE(target.Processes().empty());
}

// Which of the processes, in the order of their start.
std::vector<size_t> RanksOf(const Evidence& evidence, std::vector<ProcessId> processes) {
  std::sort(processes.begin(), processes.end(), [](const ProcessId& a, const ProcessId& b) {
    return std::pair(a.start_ticks, a.pid) < std::pair(b.start_ticks, b.pid);
  });
  std::vector<size_t> ranks;
  for (size_t i = 0; i < processes.size(); ++i) {
    if (std::count(evidence.pids().begin(), evidence.pids().end(), processes[i].pid) > 0) ranks.push_back(i);
  }
  return ranks;
}

TEST_F(KillTest, CountEndsSoManyOfItsProcessesAndTheSameOnesForTheSameSeed) {
  const std::string forks = "for i in 1 2 3 4 5 6 7 8 9; do sleep 1000 & done; while :; do wait; done";
  Kill kill = Of("SIGKILL");
  kill.set_count(3);
  std::set<std::vector<size_t>> chosen, with_other_seeds;
  for (const uint64_t seed : {7, 7, 8, 9, 10}) {
    RunningService& target = Start({"sh", "-c", forks}, 10);
    const std::vector<ProcessId> before = target.Processes();
    auto fault = Make(kill, seed);
    ASSERT_TRUE(fault->Inject().ok());
    EXPECT_EQ(fault->Seen().signalled(), 3);
    EXPECT_EQ(fault->Seen().gone(), 3);
    for (const ProcessId& process : before) {
      const auto pids = fault->Seen().pids();
      EXPECT_EQ(IsAlive(process), std::count(pids.begin(), pids.end(), process.pid) == 0) << process.pid;
    }
    (seed == 7 ? chosen : with_other_seeds).insert(RanksOf(fault->Seen(), before));
    services_.clear();
  }
  EXPECT_EQ(chosen.size(), 1u) << "the same seed, the same choice";
  EXPECT_GT(with_other_seeds.size(), 1u);
}

TEST_F(KillTest, MoreThanItHasAreNotKilledAtAll) {
  RunningService& target = Start();
  Kill kill = Of("SIGKILL");
  kill.set_count(3);
  auto fault = Make(kill);
  const absl::Status status = fault->Inject();
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_TRUE(absl::StrContains(status.message(), "has 2 processes, and 3 are to be killed")) << status;
  EXPECT_EQ(target.Processes().size(), 2u);
}

TEST_F(KillTest, ServiceThatItsSupervisorBringsBackIsFoundAgainAndHeld) {
  RunningService& target = AttachToWorkerOf(absl::StrCat("while :; do ", Worker(), "; done"));
  const ProcessId before = *target.Leader();
  cancelled_ = false;
  auto fault = Make(BackWithin("SIGKILL", absl::Seconds(20)));
  ASSERT_TRUE(fault->Inject().ok());
  EXPECT_EQ(fault->Seen().restarts(), 0);
  const absl::Status status = fault->Heal(HealFor::kFaultOver);
  ASSERT_TRUE(status.ok()) << status;
  EXPECT_EQ(fault->Seen().restarts(), 1);
  EXPECT_EQ(fault->Seen().gone(), 1);
  const ProcessId now = *target.Leader();
  EXPECT_FALSE(now == before);
  EXPECT_TRUE(IsAlive(now));
  EXPECT_EQ(target.Processes(), std::vector<ProcessId>{now});
  EXPECT_TRUE(absl::IsAlreadyExists(Hold::Take(now, "another").status()));
  EXPECT_TRUE(Hold::Take(before, "another").ok()) << "the one that is gone is let go";
  EXPECT_TRUE(fault->Heal(HealFor::kFaultOver).ok());
  EXPECT_EQ(fault->Seen().restarts(), 1);

  const std::vector<ServiceEvent> told = Told();
  ASSERT_EQ(told.size(), 3u);
  EXPECT_EQ(told[1].what(), ServiceEvent::EXITED);
  EXPECT_EQ(told[1].pid(), before.pid);
  EXPECT_TRUE(told[1].expected());
  EXPECT_EQ(told[2].what(), ServiceEvent::ATTACHED);
  EXPECT_EQ(told[2].pid(), now.pid);
  // What it does from now on nobody asked for.
  kill(now.pid, SIGKILL);
  EXPECT_TRUE(Eventually([&] { return !IsAlive(now); }));
  target.Look();
  const std::vector<ServiceEvent> later = Told();
  ASSERT_EQ(later.size(), 1u);
  EXPECT_EQ(later[0].what(), ServiceEvent::EXITED);
  EXPECT_FALSE(later[0].expected());
  EXPECT_FALSE(later[0].exit_known()) << "squall did not start it";
}

TEST_F(KillTest, ServiceThatNobodyBringsBackIsNotHealedUntilSomebodyDoes) {
  RunningService& target = AttachToWorkerOf(absl::StrCat(Worker(), "; while :; do sleep 1000; done"));
  const ProcessId before = *target.Leader();
  cancelled_ = false;
  auto fault = Make(BackWithin("SIGKILL", absl::Milliseconds(300)));
  ASSERT_TRUE(fault->Inject().ok());
  for (const HealFor reason : {HealFor::kFaultOver, HealFor::kFaultOver, HealFor::kRunOver}) {
    const absl::Status status = fault->Heal(reason);
    EXPECT_EQ(status.code(), absl::StatusCode::kDeadlineExceeded) << status;
    EXPECT_TRUE(absl::StrContains(status.message(), "service target was not brought back by its supervisor within 300ms: ")) << status;
  }
  EXPECT_EQ(fault->Seen().restarts(), 0);
  EXPECT_TRUE(target.Processes().empty());

  SpawnOptions late;
  late.argv = {"sh", "-c", absl::StrCat(Worker(), "; :")};
  attached_.push_back(Spawn(late).value().id);
  EXPECT_TRUE(Eventually([&] { return fault->Heal(HealFor::kFaultOver).ok(); }));
  EXPECT_FALSE(*target.Leader() == before);
}

TEST_F(KillTest, AtTheEndOfTheRunTheSupervisorIsNotWaitedFor) {
  AttachToWorkerOf(absl::StrCat(Worker(), "; while :; do sleep 1000; done"));
  cancelled_ = false;
  auto fault = Make(BackWithin("SIGKILL", absl::Hours(1)));
  ASSERT_TRUE(fault->Inject().ok());
  EXPECT_TRUE(fault->Heal(HealFor::kRunOver).ok());
}

TEST_F(KillTest, RunThatIsCancelledEndsTheWaitForTheSupervisor) {
  AttachToWorkerOf(absl::StrCat(Worker(), "; while :; do sleep 1000; done"));
  auto fault = Make(BackWithin("SIGKILL", absl::Hours(1)));
  ASSERT_TRUE(fault->Inject().ok());
  EXPECT_TRUE(absl::IsCancelled(fault->Heal(HealFor::kFaultOver)));
  EXPECT_TRUE(fault->Heal(HealFor::kRunOver).ok());
}

TEST_F(KillTest, ProcessThatSurvivesTheSignalWasNotBroughtBack) {
  AttachToWorkerOf(absl::StrCat("trap '' TERM; ", Worker(), "; :"));
  cancelled_ = false;
  auto fault = Make(BackWithin("SIGTERM", absl::Milliseconds(300)));
  ASSERT_TRUE(fault->Inject().ok());
  const absl::Status status = fault->Heal(HealFor::kFaultOver);
  EXPECT_TRUE(absl::StrContains(status.message(), "1 of its processes still run after SIGTERM")) << status;
  EXPECT_EQ(fault->Seen().restarts(), 0);
}

TEST_F(KillTest, WorkersOfAServiceThatSquallRunsAreBroughtBackByItsLeaderWhichIsSpared) {
  RunningService& target = Start({"sh", "-c", "while :; do sleep 1000; done"});
  const ProcessId leader = *target.Leader();
  const std::vector<ProcessId> before = target.Processes();
  Kill kill = BackWithin("SIGKILL", absl::Seconds(20));
  kill.set_count(1);
  cancelled_ = false;
  for (const uint64_t seed : {1, 2, 3, 4}) {
    auto fault = Make(kill, seed);
    ASSERT_TRUE(fault->Inject().ok());
    const absl::Status status = fault->Heal(HealFor::kFaultOver);
    ASSERT_TRUE(status.ok()) << status;
    EXPECT_EQ(fault->Seen().restarts(), 1);
  }
  EXPECT_EQ(*target.Leader(), leader);
  EXPECT_TRUE(IsAlive(leader));
  EXPECT_EQ(target.Processes().size(), 2u);
  EXPECT_NE(target.Processes(), before);
}

TEST_F(KillTest, LeaderOfAServiceThatSquallRunsIsBroughtBackByNobodyAndNobodyIsWaitedFor) {
  Start();
  cancelled_ = false;
  auto fault = Make(BackWithin("SIGKILL", absl::Hours(1)));
  ASSERT_TRUE(fault->Inject().ok());
  const absl::Status status = fault->Heal(HealFor::kFaultOver);
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_TRUE(absl::StrContains(status.message(), "squall runs it")) << status;
}

}  // namespace
}  // namespace squall
