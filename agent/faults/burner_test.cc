#include "agent/faults/burner.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>


#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"

namespace squall {
namespace {

constexpr int64_t kMs = 1'000'000;

// Plays a burner on a core that gives it what `granted` says of each millisecond, and returns the processor time used.
template <typename Granted>
int64_t Play(double share, int64_t milliseconds, Granted granted) {
  BurnPeriod period = {0, 0};
  int64_t cpu_ns = 0;
  for (int64_t ms = 0; ms < milliseconds; ++ms) {
    if (ms * kMs >= period.end_ns) period = NextBurnPeriod(share, period, ms * kMs, cpu_ns);
    if (cpu_ns < period.until_cpu_ns && granted(ms)) cpu_ns += kMs;
  }
  return cpu_ns;
}

TEST(NextBurnPeriod, FirstUsesTheShareOfOnePeriod) {
  const BurnPeriod period = NextBurnPeriod(0.25, {7 * kMs, 3 * kMs}, 7 * kMs, 3 * kMs);
  EXPECT_EQ(period.end_ns, 107 * kMs);
  EXPECT_EQ(period.until_cpu_ns, 28 * kMs);
}

TEST(NextBurnPeriod, MakesUpForWhatTheOneBeforeWentOverOrCameShortOf) {
  // 25 ms were due; 26 and 24 were used.
  EXPECT_EQ(NextBurnPeriod(0.25, {100 * kMs, 25 * kMs}, 100 * kMs, 26 * kMs).until_cpu_ns, 50 * kMs);
  EXPECT_EQ(NextBurnPeriod(0.25, {100 * kMs, 25 * kMs}, 100 * kMs, 24 * kMs).until_cpu_ns, 50 * kMs);
}

TEST(NextBurnPeriod, DoesNotMakeUpForMoreThanATenthOfAPeriod) {
  // Nothing at all was given of 90 ms, or three periods were slept through.
  EXPECT_EQ(NextBurnPeriod(0.9, {100 * kMs, 90 * kMs}, 100 * kMs, 0).until_cpu_ns, (10 + 90) * kMs);
  EXPECT_EQ(NextBurnPeriod(0.9, {100 * kMs, 90 * kMs}, 420 * kMs, 0).until_cpu_ns, (10 + 90) * kMs);
}

TEST(NextBurnPeriod, KeepsItsBeatWhenItIsLate) {
  EXPECT_EQ(NextBurnPeriod(0.5, {100 * kMs, 0}, 103 * kMs, 0).end_ns, 200 * kMs);
  EXPECT_EQ(NextBurnPeriod(0.5, {100 * kMs, 0}, 200 * kMs, 0).end_ns, 300 * kMs);
  EXPECT_EQ(NextBurnPeriod(0.5, {100 * kMs, 0}, 420 * kMs, 0).end_ns, 500 * kMs);
}

TEST(NextBurnPeriod, OnAnIdleCoreUsesTheShareAskedFor) {
  for (const double share : {0.1, 0.25, 0.5, 0.75, 0.9, 1.0}) {
    EXPECT_NEAR(static_cast<double>(Play(share, 10'000, [](int64_t) { return true; })) / (10'000.0 * kMs), share, 0.001)
        << share;
  }
}

TEST(NextBurnPeriod, OnACoreThatIsTakenNowAndThenStillUsesTheShare) {
  // One millisecond in three is somebody else's.
  const int64_t used = Play(0.5, 10'000, [](int64_t ms) { return ms % 3 != 0; });
  EXPECT_NEAR(static_cast<double>(used) / (10'000.0 * kMs), 0.5, 0.001);
}

TEST(NextBurnPeriod, AfterALongTimeWithoutTheCoreDoesNotTakeItWhole) {
  // Nothing for 5 s, then idle: in the next second no more than the share and a tenth of one period.
  const int64_t used = Play(0.5, 6'000, [](int64_t ms) { return ms >= 5'000; });
  EXPECT_LE(used, 500 * kMs + kBurnPeriodNs / 10);
  EXPECT_GE(used, 500 * kMs);
}

std::vector<int> OneCore() { return {CoresOf(getpid()).value().front()}; }

TEST(Burners, UseAboutTheShareAskedForAsTheKernelCountsIt) {
  // The machine may have much else to do: a low share can be had even so, and more than asked must never be used.
  auto burners = Burners::Start({20, OneCore(), ""});
  ASSERT_TRUE(burners.ok()) << burners.status();
  const ProcessId burner = (*burners)->processes().at(0);
  absl::SleepFor(absl::Milliseconds(1500));
  const double of_proc = ReadStat(burner.pid)->cpu_seconds;
  const Burners::Used used = (*burners)->Seen().at(0);
  const double share = static_cast<double>(used.cpu_ns) / static_cast<double>(used.wall_ns);
  EXPECT_GT(share, 0.08);
  EXPECT_LT(share, 0.20 + 0.1 * 0.1 / 1.5 + 0.02);
  EXPECT_NEAR(static_cast<double>(used.cpu_ns) / 1e9, of_proc, 0.05) << "what /proc/PID/stat says";
}

TEST(Burners, FollowTheShareThatIsAskedFor) {
  auto burners = Burners::Start({0, OneCore(), ""});
  ASSERT_TRUE(burners.ok()) << burners.status();
  absl::SleepFor(absl::Milliseconds(500));
  const int64_t before = (*burners)->Seen().at(0).cpu_ns;
  EXPECT_LT(before, 100'000'000) << "nothing was asked for";
  (*burners)->SetPercent(30);
  for (int i = 0; i < 10'000 && (*burners)->Seen().at(0).cpu_ns < before + 200'000'000; ++i) absl::SleepFor(absl::Milliseconds(1));
  EXPECT_GE((*burners)->Seen().at(0).cpu_ns, before + 200'000'000);
  (*burners)->SetPercent(0);
  absl::SleepFor(absl::Milliseconds(300));  // the period under way, and what it owes
  const int64_t after = (*burners)->Seen().at(0).cpu_ns;
  absl::SleepFor(absl::Milliseconds(500));
  EXPECT_LT((*burners)->Seen().at(0).cpu_ns - after, 50'000'000);
}

TEST(Burners, ArePinnedAndGoneWhenStoppedAndStoppingTwiceIsSafe) {
  auto burners = Burners::Start({5, OneCore(), ""});
  ASSERT_TRUE(burners.ok()) << burners.status();
  const ProcessId burner = (*burners)->processes().at(0);
  EXPECT_EQ(*CoresOf(burner.pid), OneCore());
  EXPECT_EQ(ReadStat(burner.pid)->name, "squall-burner");
  EXPECT_TRUE((*burners)->Stop().ok());
  EXPECT_FALSE(ReadStat(burner.pid).ok());
  const int64_t used = (*burners)->Seen().at(0).cpu_ns;
  EXPECT_GT(used, 0);
  EXPECT_TRUE((*burners)->Stop().ok());
  EXPECT_EQ((*burners)->Seen().at(0).cpu_ns, used);
}

TEST(Burners, ThatCannotAllBeStartedLeaveNone) {
  std::vector<int> cores = OneCore();
  cores.push_back(8000);
  const auto burners = Burners::Start({5, cores, ""});
  EXPECT_FALSE(burners.ok());
  EXPECT_TRUE(absl::StrContains(burners.status().message(), "cannot run on core 8000")) << burners.status();
  EXPECT_EQ(waitpid(-1, nullptr, WNOHANG), -1) << "no child is left";
}

TEST(Burners, KeepNothingOpenThatTheAgentHasOpen) {
  auto burners = Burners::Start({5, OneCore(), ""});
  ASSERT_TRUE(burners.ok()) << burners.status();
  const pid_t pid = (*burners)->processes().at(0).pid;
  for (int i = 0; i < 2000 && CountFds(pid) != 0; ++i) absl::SleepFor(absl::Milliseconds(1));
  EXPECT_EQ(CountFds(pid), 0);
}

TEST(Burners, EndWithTheProcessThatStartedThem) {
  int pipe_ends[2];
  ASSERT_EQ(pipe(pipe_ends), 0);
  const pid_t agent = fork();
  if (agent == 0) {
    auto burners = Burners::Start({5, OneCore(), ""});
    const ProcessId burner = (*burners)->processes().at(0);
    (void)!write(pipe_ends[1], &burner, sizeof(burner));
    while (true) pause();
  }
  ProcessId burner;
  ASSERT_EQ(read(pipe_ends[0], &burner, sizeof(burner)), static_cast<ssize_t>(sizeof(burner)));
  EXPECT_TRUE(IsAlive(burner));
  kill(agent, SIGKILL);
  waitpid(agent, nullptr, 0);
  for (int i = 0; i < 2000 && IsAlive(burner); ++i) absl::SleepFor(absl::Milliseconds(1));
  EXPECT_FALSE(IsAlive(burner));
}

}  // namespace
}  // namespace squall
