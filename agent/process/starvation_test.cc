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
  return {kSecond, 2, of(waited), of(ran), slices, of(others)};
}

TEST(IsStarved, OneThatWaitsWhileOthersWork) { EXPECT_TRUE(IsStarved(Use(/*waited=*/0.9, /*ran=*/0.1, /*others=*/1.8))); }
TEST(IsStarved, NotOneThatHardlyWaits) { EXPECT_FALSE(IsStarved(Use(0.22, 0.05, 1.9))); }
TEST(IsStarved, NotOneThatCrowdsItselfOut) { EXPECT_FALSE(IsStarved(Use(/*waited=*/20, /*ran=*/1.9, /*others=*/0.1))); }
TEST(IsStarved, NotOneThatWorksForLongerThanItWaits) { EXPECT_FALSE(IsStarved(Use(0.8, 1.0, 0.9))); }
TEST(IsStarved, NotOneWhoseManyWaitsAreShort) { EXPECT_FALSE(IsStarved(Use(0.6, 0.3, 1.5, /*slices=*/4000))); }
TEST(IsStarved, NotWithoutTime) { EXPECT_FALSE(IsStarved({})); }

// Two processes on one core: each works half of the time and waits half of it.
class StarvationWatchTest : public ::testing::Test {
 protected:
  void TearDown() override {
    for (const ProcessId& child : children_) {
      kill(child.pid, SIGKILL);
      waitpid(child.pid, nullptr, 0);
    }
  }
  ProcessId Spin() {
    const pid_t pid = fork();
    if (pid == 0) {
      cpu_set_t first;
      CPU_ZERO(&first);
      CPU_SET(CoresOf(getpid())->front(), &first);
      sched_setaffinity(0, sizeof(first), &first);
      while (true) {
      }
    }
    children_.push_back(ReadStat(pid)->id);
    return children_.back();
  }
  std::vector<ProcessId> children_;
};

TEST_F(StarvationWatchTest, TellsWhoWaitedForWhomAndWhen) {
  const ProcessId service = Spin();
  for (int i = 0; i < 3; ++i) Spin();
  StarvationWatch watch;
  EXPECT_TRUE(watch.Look({{"shop", {service}}}).empty()) << "nothing is known of the time before";
  absl::SleepFor(absl::Milliseconds(400));
  const std::vector<Stall> starved = watch.Look({{"shop", {service}}});
  ASSERT_EQ(starved.size(), 1u);
  EXPECT_EQ(starved[0].service(), "shop");
  EXPECT_GT(starved[0].length_ns(), 390'000'000);
  EXPECT_GT(starved[0].waited_ns(), starved[0].length_ns() / 3);
  EXPECT_GT(starved[0].others(), 20);
}

TEST_F(StarvationWatchTest, WhoIsInTheWayOfItselfIsNotStarved) {
  std::vector<ProcessId> service;
  for (int i = 0; i < 4; ++i) service.push_back(Spin());
  StarvationWatch watch;
  watch.Look({{"shop", service}});
  absl::SleepFor(absl::Milliseconds(400));
  for (const Stall& stall : watch.Look({{"shop", service}})) {
    EXPECT_GT(stall.others(), 20) << "unless the machine has other work as well";
  }
}

}  // namespace
}  // namespace squall
