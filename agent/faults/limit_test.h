// What the tests of cpu, memory and pids have in common: a service that squall runs, or attaches to in a cgroup of its own or beside
// others, a journal, and a bystander that must not notice.
#pragma once

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "agent/faults/fault.h"
#include "agent/process/spawn.h"

namespace squall {

template <typename Condition>
bool Eventually(Condition condition) {
  for (int i = 0; i < 5000; ++i) {
    if (condition()) return true;
    absl::SleepFor(absl::Milliseconds(1));
  }
  return false;
}

class LimitTest : public ::testing::Test {
 protected:
  explicit LimitTest(std::string controller) : controller_(std::move(controller)) {}

  void SetUp() override {
    const absl::StatusOr<LimitCgroup> home = CgroupOf(controller_, getpid());
    const absl::Status may = home.ok() ? MayMakeBelow(*home) : home.status();
    if (!may.ok()) {
      printf("LEFT OUT: %s: making cgroups below one's own needs root and, on v2, to be in the first one: %s\n",
             testing::UnitTest::GetInstance()->current_test_info()->test_suite_name(), std::string(may.message()).c_str());
      GTEST_SKIP();
    }
    home_ = *home;
    // One of its own: what a test that fails leaves pending is not in the way of the next.
    state_ = absl::StrCat(testing::TempDir(), "/", testing::UnitTest::GetInstance()->current_test_info()->name(), "-", getpid());
    ASSERT_EQ(mkdir(state_.c_str(), 0700), 0) << state_;
    journal_ = Journal::Create(state_).value();
    main_ = std::thread([this] { main_thread_.Serve(); });
    bystander_ = Start({"sleep", "1000"});
  }
  void TearDown() override {
    if (!journal_) return;
    EXPECT_TRUE(IsAlive(bystander_)) << "the fault hit a bystander";
    EXPECT_EQ(FolderOf(bystander_), home_.folder) << "the fault moved a bystander";
    End(bystander_);
    services_.clear();
    for (const ProcessId& process : attached_) End(process);
    main_thread_.Stop();
    main_.join();
    EXPECT_EQ(journal_->Pending().size(), 0u) << WhatIsPending();
    journal_.reset();
    EXPECT_EQ(rmdir(state_.c_str()), 0) << "a journal is left in " << state_;
    for (const std::string& folder : folders_) {
      EXPECT_TRUE(Eventually([&] { return rmdir(folder.c_str()) == 0; })) << folder;  // once its dead have left
    }
    for (const auto& entry : std::filesystem::directory_iterator(home_.folder)) {
      EXPECT_FALSE(absl::StrContains(entry.path().string(), absl::StrCat("squall-", controller_, "-", getpid(), "-"))) << entry.path();
    }
  }

  static ProcessId Start(const std::vector<std::string>& argv, const std::string& cgroup = "") {
    SpawnOptions options;
    options.argv = argv;
    if (!cgroup.empty()) options.cgroups = {cgroup};
    return Spawn(options).value().id;
  }
  static void End(const ProcessId& leader) {
    kill(-leader.pid, SIGKILL);
    waitpid(leader.pid, nullptr, 0);
  }
  std::string FolderOf(const ProcessId& process) const {
    const absl::StatusOr<LimitCgroup> cgroup = CgroupOf(controller_, process.pid);
    return cgroup.ok() ? cgroup->folder : std::string(cgroup.status().message());
  }
  std::string WhatIsPending() const {
    std::string text;
    for (const PendingUndo& pending : journal_->Pending()) absl::StrAppend(&text, pending.undo().DebugString());
    return text;
  }

  RunningService& Add(const Service& service) {
    services_["target"] = std::make_unique<RunningService>(
        service, RunningService::Context{"/", "test", &main_thread_, journal_.get(), &events_, {controller_}});
    RunningService& target = *services_["target"];
    const absl::Status claimed = target.Claim();
    EXPECT_TRUE(claimed.ok()) << claimed;
    return target;
  }
  // A program with a child.
  RunningService& Run(const std::vector<std::string>& argv) {
    Service service;
    service.set_name("target");
    service.mutable_run()->Assign(argv.begin(), argv.end());
    RunningService& target = Add(service);
    EXPECT_TRUE(target.Start().ok());
    EXPECT_TRUE(Eventually([&] { return target.Processes().size() >= 2; }));
    return target;
  }
  // One that was there before; in a cgroup of that name below the test's own, unless it is empty.
  RunningService& AttachTo(const std::vector<std::string>& argv, const std::string& cgroup = "") {
    attached_.push_back(Start(argv, cgroup.empty() ? "" : MakeCgroup(cgroup).folder));
    RunningService& target = Add(Attached());
    EXPECT_TRUE(Eventually([&] { return target.Processes().size() >= 2; }));
    return target;
  }
  Service Attached() const {
    Service service;
    service.set_name("target");
    service.mutable_attach()->set_pid(attached_.front().pid);
    return service;
  }
  LimitCgroup MakeCgroup(const std::string& name) {
    folders_.push_back(absl::StrCat(home_.folder, "/test-", getpid(), "-", name));
    EXPECT_EQ(mkdir(folders_.back().c_str(), 0755), 0) << folders_.back();
    return At(folders_.back());
  }
  LimitCgroup At(const std::string& folder) const { return {controller_, home_.version, folder}; }
  // Injects in an agent of its own, with a journal of its own, that is then killed. Returns that journal's path.
  std::string InjectInAnAgentThatIsKilled(const std::function<std::unique_ptr<ActiveFault>(const FaultContext&)>& make,
                                          const std::function<void()>& while_it_lives) {
    int ready[2];
    EXPECT_EQ(pipe(ready), 0);
    const pid_t agent = fork();
    if (agent == 0) {
      const std::unique_ptr<Journal> journal = Journal::Create(state_).value();
      FaultContext context = Context();
      context.journal = journal.get();
      const std::unique_ptr<ActiveFault> fault = make(context);
      const absl::Status status = fault->Inject();
      if (!status.ok()) printf("%s\n", std::string(status.message()).c_str());
      (void)!write(ready[1], status.ok() ? "y" : "n", 1);
      while (true) pause();
    }
    char byte = 0;
    EXPECT_EQ(read(ready[0], &byte, 1), 1);
    EXPECT_EQ(byte, 'y');
    close(ready[0]);
    close(ready[1]);
    while_it_lives();
    const std::string path = absl::StrCat(state_, "/", agent, "-", ReadStat(agent)->id.start_ticks, ".journal");
    kill(agent, SIGKILL);
    waitpid(agent, nullptr, 0);
    return path;
  }
  FaultContext Context() {
    FaultContext context;
    context.services = &services_;
    context.seed = 1;
    context.cancelled = &cancelled_;
    context.main_thread = &main_thread_;
    context.journal = journal_.get();
    return context;
  }

  const std::string controller_;
  LimitCgroup home_;
  std::string state_;  // the folder of journals
  std::unique_ptr<Journal> journal_;
  MainThread main_thread_;
  std::thread main_;
  Events events_;
  std::map<std::string, std::unique_ptr<RunningService>> services_;
  ProcessId bystander_;
  std::vector<ProcessId> attached_;
  std::vector<std::string> folders_;
  std::atomic<bool> cancelled_ = false;
};

}  // namespace squall
