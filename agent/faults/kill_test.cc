// kill against real processes. A bystander of the same program runs beside the target in every test.
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <thread>

#include "absl/strings/match.h"
#include "absl/time/clock.h"
#include "agent/faults/fault.h"
#include "agent/process/spawn.h"

namespace squall {
namespace {

class KillTest : public ::testing::Test {
 protected:
  void SetUp() override {
    guardian_.emplace(Guardian::Fork().value());  // before there are threads
    main_ = std::thread([this] { main_thread_.Serve(); });
    SpawnOptions options;
    options.argv = Program();
    bystander_ = Spawn(options).value().id;
  }
  void TearDown() override {
    EXPECT_TRUE(IsAlive(bystander_)) << "the fault hit a bystander";
    kill(-bystander_.pid, SIGKILL);
    waitpid(bystander_.pid, nullptr, 0);
    services_.clear();
    main_thread_.Stop();
    main_.join();
    const pid_t guardian = guardian_->pid();
    guardian_.reset();
    waitpid(guardian, nullptr, 0);
  }

  // Listens on nothing, has a child: two processes.
  static std::vector<std::string> Program() { return {"sh", "-c", "sleep 1000 & wait"}; }

  RunningService& Start(const std::vector<std::string>& argv = Program()) {
    Service service;
    service.set_name("target");
    service.mutable_run()->Assign(argv.begin(), argv.end());
    services_["target"] = std::make_unique<RunningService>(
        service, RunningService::Context{"/", "test", &main_thread_, &*guardian_, &events_});
    RunningService& target = *services_["target"];
    EXPECT_TRUE(target.Claim().ok());
    EXPECT_TRUE(target.Start().ok());
    for (int i = 0; i < 5000 && target.Processes().size() < 2; ++i) absl::SleepFor(absl::Milliseconds(1));
    EXPECT_EQ(target.Processes().size(), 2u);
    return target;
  }
  std::unique_ptr<ActiveFault> Make(const std::string& signal, bool restart) {
    Kill kill;
    kill.set_service("target");
    kill.set_signal(signal);
    if (restart) kill.mutable_restart_after()->set_seconds(1);
    return MakeKill(kill, {nullptr, &services_, 1, &cancelled_});
  }

  std::optional<Guardian> guardian_;
  MainThread main_thread_;
  std::thread main_;
  Events events_;
  std::map<std::string, std::unique_ptr<RunningService>> services_;
  ProcessId bystander_;
  const std::atomic<bool> cancelled_ = true;  // a program that never listens is not waited for
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

}  // namespace
}  // namespace squall
