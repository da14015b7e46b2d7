#include "agent/process/starvation.h"

#include <gtest/gtest.h>
#include <sched.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "absl/time/clock.h"

namespace squall {
namespace {

constexpr int64_t kSecond = 1'000'000'000;

// A second on two cores.
CoreUse Use(double waited, double ran, double others, int64_t slices = 100) {
  const auto of = [](double cores) { return static_cast<int64_t>(cores * kSecond); };
  return {kSecond, 2, {of(ran), of(waited), slices}, of(others)};
}

TEST(IsStarved, OneThatWaitsWhileOthersWork) { EXPECT_TRUE(IsStarved(Use(/*waited=*/0.9, /*ran=*/0.1, /*others=*/1.8))); }
TEST(IsStarved, OneThatWaitsForATenthOfTheTime) { EXPECT_TRUE(IsStarved(Use(0.12, 0.05, 0.9))); }
TEST(IsStarved, NotOneThatHardlyWaits) { EXPECT_FALSE(IsStarved(Use(0.09, 0.05, 1.9))); }
TEST(IsStarved, NotOneOnAnIdleMachine) { EXPECT_FALSE(IsStarved(Use(0.22, 0.05, 1.9, /*slices=*/1047))); }
TEST(IsStarved, NotOneThatCrowdsItselfOut) { EXPECT_FALSE(IsStarved(Use(/*waited=*/20, /*ran=*/1.9, /*others=*/0.1))); }
TEST(IsStarved, NotOneThatWorksForLongerThanItWaits) { EXPECT_FALSE(IsStarved(Use(0.8, 1.0, 0.9))); }
TEST(IsStarved, NotOneWhoseManyWaitsAreShort) { EXPECT_FALSE(IsStarved(Use(0.6, 0.3, 1.5, /*slices=*/4000))); }
TEST(IsStarved, NotWithoutTime) { EXPECT_FALSE(IsStarved({})); }

// Processes that want all of one core, and so each get a part of it.
class StarvationWatchTest : public ::testing::Test {
 protected:
  void TearDown() override {
    for (const ProcessId& process : spinning_) {
      kill(process.pid, SIGKILL);
      waitpid(process.pid, nullptr, 0);
    }
  }

  ProcessId SpinAsChild() {
    const pid_t pid = fork();
    if (pid == 0) SpinForever();
    return Note(pid);
  }

  // Has no parent that it shares with the watch.
  ProcessId SpinAsStranger() {
    int ends[2];
    if (pipe(ends) != 0) abort();
    const pid_t between = fork();
    if (between == 0) {
      const pid_t pid = fork();
      if (pid == 0) SpinForever();
      _exit(write(ends[1], &pid, sizeof(pid)) == sizeof(pid) ? 0 : 1);
    }
    pid_t pid = 0;
    EXPECT_EQ(read(ends[0], &pid, sizeof(pid)), static_cast<ssize_t>(sizeof(pid)));
    close(ends[0]);
    close(ends[1]);
    waitpid(between, nullptr, 0);
    return Note(pid);
  }

  std::vector<Stall> Watch(const std::vector<ProcessId>& service) {
    StarvationWatch watch;
    EXPECT_TRUE(watch.Look({{{"shop", ""}, service}}).empty()) << "nothing is known of the time before";
    absl::SleepFor(absl::Milliseconds(400));
    return watch.Look({{{"shop", ""}, service}});
  }

 private:
  [[noreturn]] static void SpinForever() {
    cpu_set_t first;
    CPU_ZERO(&first);
    CPU_SET(CoresOf(getpid())->front(), &first);
    sched_setaffinity(0, sizeof(first), &first);
    alarm(60);  // should the test be killed
    while (true) {
    }
  }
  ProcessId Note(pid_t pid) {
    spinning_.push_back(ReadStat(pid)->id);
    return spinning_.back();
  }
  std::vector<ProcessId> spinning_;
};

TEST_F(StarvationWatchTest, TellsWhoWaitedForWhomAndWhen) {
  const ProcessId service = SpinAsChild();
  for (int i = 0; i < 3; ++i) SpinAsStranger();
  const std::vector<Stall> starved = Watch({service});
  ASSERT_EQ(starved.size(), 1u);
  EXPECT_EQ(starved[0].service(), "shop");
  EXPECT_GT(starved[0].length_ns(), 390'000'000);
  EXPECT_GT(starved[0].waited_ns(), starved[0].length_ns() / 3);
  EXPECT_GT(starved[0].others(), 20);
}

// Unless the machine has other work as well: then the others are that.
TEST_F(StarvationWatchTest, WhoIsInTheWayOfItselfIsNotStarved) {
  std::vector<ProcessId> service;
  for (int i = 0; i < 4; ++i) service.push_back(SpinAsChild());
  for (const Stall& stall : Watch(service)) EXPECT_GT(stall.others(), 20);
}

TEST_F(StarvationWatchTest, WhatTheAgentItselfBurnsStarvesNobody) {
  const ProcessId service = SpinAsChild();
  for (int i = 0; i < 3; ++i) SpinAsChild();
  const CpuTicks before = ReadCpuTicks();
  const std::vector<Stall> starved = Watch({service});
  const CpuTicks after = ReadCpuTicks();
  // Unless the machine has other work as well: these four use one core.
  const double idle_cores = static_cast<double>(after.idle - before.idle) / static_cast<double>(after.total - before.total) * after.cores;
  if (idle_cores > after.cores - 1.3) {
    EXPECT_TRUE(starved.empty()) << starved[0].DebugString();
  }
}

}  // namespace
}  // namespace squall
