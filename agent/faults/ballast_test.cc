#include "agent/faults/ballast.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <functional>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "agent/process/limit_cgroup.h"

namespace squall {
namespace {

constexpr int64_t kMiB = int64_t{1} << 20;
constexpr int64_t kGiB = int64_t{1} << 30;

template <typename Condition>
bool Eventually(Condition condition) {
  for (int i = 0; i < 10'000; ++i) {
    if (condition()) return true;
    absl::SleepFor(absl::Milliseconds(1));
  }
  return false;
}

TEST(ParseHostMemory, ReadsWhatTheKernelWrites) {
  const auto host = ParseHostMemory(
      "MemTotal:       24684092 kB\nMemFree:        24037444 kB\nMemAvailable:   24029872 kB\nSwapCached:            0 kB\nSwapTotal:       1024 kB\n");
  ASSERT_TRUE(host.has_value());
  EXPECT_EQ(host->total, int64_t{24684092} * 1024);
  EXPECT_EQ(host->available, int64_t{24029872} * 1024);
  EXPECT_EQ(host->swap, kMiB);
}

TEST(ParseHostMemory, SaysNothingOfWhatIsNotToldOrNoNumber) {
  for (const char* text : {"", "MemTotal: 5 kB\n", "MemAvailable: 5 kB\n", "MemTotal: x kB\nMemAvailable: 5 kB\n",
                           "MemTotal: -5 kB\nMemAvailable: 5 kB\n", "MemTotal:"}) {
    EXPECT_FALSE(ParseHostMemory(text).has_value()) << text;
  }
}

TEST(ParseHostMemory, KnowsThisHost) {
  const auto host = ReadHostMemory();
  ASSERT_TRUE(host.has_value());
  EXPECT_GT(host->available, 0);
  EXPECT_LT(host->available, host->total);
}

TEST(MemoryFloor, IsATwentiethAndAQuarterOfAGiBAtLeast) {
  EXPECT_EQ(MemoryFloor(100 * kGiB), 5 * kGiB);
  EXPECT_EQ(MemoryFloor(kGiB), 256 * kMiB);
  EXPECT_EQ(MemoryFloor(0), 256 * kMiB);
}

// A host on which nobody else takes or frees anything but what `others` says of each look; what is available is never more than total.
struct Played {
  int64_t held = 0;
  int64_t left = 0;
  int64_t least_left = 0;
};
Played Play(int64_t total, int64_t leave, int looks, const std::function<int64_t(int)>& others) {
  Played played;
  played.least_left = total;
  for (int i = 0; i < looks; ++i) {
    const int64_t available = total - others(i) - played.held;
    const int64_t next = NextBallast(played.held, {total, available, 0}, leave);
    EXPECT_GE(next, 0);
    EXPECT_EQ(next % kBallastUnit, 0);
    EXPECT_LE(next - played.held, kBallastStep);
    played.held = next;
    played.left = total - others(i) - next;
    played.least_left = std::min(played.least_left, played.left);
  }
  return played;
}

TEST(NextBallast, TakesInStepsUntilSoMuchIsLeft) {
  EXPECT_EQ(NextBallast(0, {8 * kGiB, 6 * kGiB, 0}, kGiB), kBallastStep);
  EXPECT_EQ(NextBallast(kGiB, {8 * kGiB, kGiB + 10 * kMiB, 0}, kGiB), kGiB + 10 * kMiB);
  const Played played = Play(8 * kGiB, kGiB, 1000, [](int) { return 2 * kGiB; });
  EXPECT_EQ(played.held, 5 * kGiB);
  EXPECT_EQ(played.least_left, kGiB);
}

TEST(NextBallast, NeverGoesBelowTheFloorHoweverLittleIsToBeLeft) {
  for (const int64_t total : {kGiB, 4 * kGiB, 64 * kGiB, 1000 * kGiB}) {
    for (const int64_t leave : {int64_t{0}, int64_t{1}, 64 * kMiB}) {
      const Played played = Play(total, leave, static_cast<int>(total / kBallastStep) + 10, [](int) { return 100 * kMiB; });
      EXPECT_GE(played.least_left, MemoryFloor(total));
      EXPECT_LT(played.left, MemoryFloor(total) + kBallastUnit);
    }
  }
}

TEST(NextBallast, GivesBackAtOnceWhatOthersNeed) {
  EXPECT_EQ(NextBallast(3 * kGiB, {8 * kGiB, kGiB - 1, 0}, kGiB), 3 * kGiB - kBallastUnit);
  EXPECT_EQ(NextBallast(3 * kGiB, {8 * kGiB, 0, 0}, kGiB), 2 * kGiB);
  // All of it, when that is not enough.
  EXPECT_EQ(NextBallast(kGiB / 2, {8 * kGiB, 0, 0}, kGiB), 0);
  EXPECT_EQ(NextBallast(0, {8 * kGiB, 0, 0}, kGiB), 0);
  const Played played = Play(8 * kGiB, kGiB, 1000, [](int i) { return i < 500 ? 2 * kGiB : 4 * kGiB; });
  EXPECT_EQ(played.held, 3 * kGiB);
  EXPECT_EQ(played.least_left, kGiB) << "as soon as it looks";
}

TEST(NextBallast, StaysWhereLessThanAUnitIsSpare) {
  EXPECT_EQ(NextBallast(kGiB, {8 * kGiB, kGiB, 0}, kGiB), kGiB);
  EXPECT_EQ(NextBallast(kGiB, {8 * kGiB, kGiB + kBallastUnit - 1, 0}, kGiB), kGiB);
}

// Others on this host take and free memory meanwhile: only the direction can be told. It never takes more than 512 MiB of what
// is there when the test begins.
class BallastTest : public ::testing::Test {
 protected:
  static constexpr int64_t kToTake = 512 * kMiB;
  void SetUp() override {
    host_ = ReadHostMemory().value();
    leave_ = host_.available - kToTake;
    if (leave_ < MemoryFloor(host_.total) || !Ballast::MayTake(host_).ok()) {
      printf("LEFT OUT: BallastTest: this host has not the memory to spare, or has swap and this user may lock nothing\n");
      GTEST_SKIP();
    }
  }
  std::unique_ptr<Ballast> StartAndSettle() {
    auto ballast = Ballast::Start(leave_);
    EXPECT_TRUE(ballast.ok()) << ballast.status();
    EXPECT_TRUE(Eventually([&] { return (*ballast)->Look().settled; }));
    return *std::move(ballast);
  }
  HostMemory host_;
  int64_t leave_ = 0;
};

TEST_F(BallastTest, HoldsMemoryUntilItIsStoppedAndStoppingTwiceIsSafe) {
  const auto ballast = StartAndSettle();
  const ProcessId process = ballast->process();
  const Ballast::Seen seen = ballast->Look();
  EXPECT_GT(seen.held, kToTake / 4);
  EXPECT_EQ(seen.error, 0);
  EXPECT_FALSE(seen.ended);
  EXPECT_LT(seen.least_left, leave_ + kToTake / 4);
  // Touched, so that the kernel counts it.
  EXPECT_GT(ReadStat(process.pid)->rss_bytes, kToTake / 4);
  EXPECT_TRUE(ballast->Stop().ok());
  EXPECT_FALSE(ReadStat(process.pid).ok());
  EXPECT_EQ(ballast->Look().held, 0);
  EXPECT_GE(ballast->Look().most_held, seen.held);
  EXPECT_TRUE(ballast->Stop().ok());
}

TEST_F(BallastTest, GivesBackWhatSomebodyElseTakes) {
  const auto ballast = StartAndSettle();
  const int64_t slack = kToTake / 4;
  const pid_t other = fork();
  if (other == 0) {
    const size_t size = kToTake / 2;
    char* at = static_cast<char*>(mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    for (size_t i = 0; i < size; i += 4096) at[i] = 1;
    raise(SIGSTOP);
  }
  // Whoever takes and frees beside it: what is left stays what was asked for.
  ASSERT_EQ(waitpid(other, nullptr, WUNTRACED), other);
  EXPECT_TRUE(Eventually([&] { return ballast->Look().held == 0 || ReadHostMemory()->available > leave_ - slack; }));
  kill(other, SIGKILL);
  waitpid(other, nullptr, 0);
  EXPECT_TRUE(Eventually([&] { return ReadHostMemory()->available < leave_ + slack; })) << "and takes it again";
}

TEST_F(BallastTest, IsTheFirstToBeKilledAndHasNothingOfTheAgent) {
  const auto ballast = StartAndSettle();
  const pid_t pid = ballast->process().pid;
  EXPECT_EQ(ReadStat(pid)->name, "squall-ballast");
  EXPECT_EQ(Slurp(absl::StrCat("/proc/", pid, "/oom_score_adj")), "1000\n");
  EXPECT_EQ(CountFds(pid), 1) << "/proc/meminfo";
  const auto mount = MountOf("memory");
  if (geteuid() == 0 && mount.ok() && mount->version == 1) {
    EXPECT_EQ(CgroupOf("memory", pid)->folder, mount->folder) << "what limits the agent must not matter";
  }
}

TEST_F(BallastTest, SaysWhenItWasKilledByOthers) {
  const auto ballast = StartAndSettle();
  kill(ballast->process().pid, SIGKILL);
  EXPECT_TRUE(Eventually([&] { return ballast->Look().ended; }));
  EXPECT_EQ(ballast->Look().held, 0);
  EXPECT_GT(ballast->Look().most_held, 0);
  EXPECT_TRUE(ballast->Stop().ok());
}

TEST_F(BallastTest, HoldsNothingWhereLessThanThatIsLeftAlready) {
  const auto ballast = Ballast::Start(host_.total).value();
  EXPECT_TRUE(Eventually([&] { return ballast->Look().settled; }));
  EXPECT_EQ(ballast->Look().most_held, 0);
}

TEST_F(BallastTest, EndsWithTheProcessThatStartedIt) {
  int pipe_ends[2];
  ASSERT_EQ(pipe(pipe_ends), 0);
  const pid_t agent = fork();
  if (agent == 0) {
    auto ballast = Ballast::Start(leave_);
    const ProcessId process = (*ballast)->process();
    (void)!write(pipe_ends[1], &process, sizeof(process));
    while (true) pause();
  }
  ProcessId ballast;
  ASSERT_EQ(read(pipe_ends[0], &ballast, sizeof(ballast)), static_cast<ssize_t>(sizeof(ballast)));
  EXPECT_TRUE(IsAlive(ballast));
  // An agent that is stopped is killed in the end.
  kill(agent, SIGSTOP);
  kill(agent, SIGKILL);
  waitpid(agent, nullptr, 0);
  EXPECT_TRUE(Eventually([&] { return !IsAlive(ballast); }));
}

}  // namespace
}  // namespace squall
