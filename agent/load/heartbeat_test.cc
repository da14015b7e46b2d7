#include "agent/load/heartbeat.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <mutex>

#include "base/clock.h"

namespace squall {
namespace {

constexpr int64_t kMs = 1'000'000;

TEST(FindStall, StartsAtTwentyMilliseconds) {
  EXPECT_FALSE(FindStall(1000 * kMs, 1000 * kMs).has_value());
  EXPECT_FALSE(FindStall(1000 * kMs, 999 * kMs).has_value());
  EXPECT_FALSE(FindStall(1000 * kMs, 1020 * kMs - 1).has_value());
  const std::optional<Stall> stall = FindStall(1000 * kMs, 1020 * kMs);
  ASSERT_TRUE(stall.has_value());
  EXPECT_EQ(stall->start_ns(), 1000 * kMs);
  EXPECT_EQ(stall->length_ns(), 20 * kMs);
}

// A process that is stopped is what a machine that stands still looks like from inside.
TEST(Heartbeat, ReportsTheTimeInWhichItsProcessWasStopped) {
  int from_child[2];
  ASSERT_EQ(pipe2(from_child, O_CLOEXEC), 0);
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    // Writes every stall of at least the length for which it is stopped, after a first byte that says
    // "running".
    alarm(30);
    Heartbeat heartbeat([&](const Stall& stall) {
      if (stall.length_ns() < 100 * kMs) return;
      const int64_t span[2] = {stall.start_ns(), stall.length_ns()};
      (void)!write(from_child[1], span, sizeof span);
    });
    (void)!write(from_child[1], "r", 1);
    for (;;) pause();
  }
  close(from_child[1]);  // so that the child's end is seen
  char running = 0;
  ASSERT_EQ(read(from_child[0], &running, 1), 1);
  kill(child, SIGSTOP);
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, WUNTRACED), child);
  ASSERT_TRUE(WIFSTOPPED(status));
  const int64_t stopped_ns = BootNanos();
  pollfd silence = {from_child[0], POLLIN, 0};
  EXPECT_EQ(poll(&silence, 1, 200), 0);
  const int64_t continued_ns = BootNanos();
  kill(child, SIGCONT);
  int64_t span[2] = {0, 0};
  EXPECT_EQ(read(from_child[0], span, sizeof span), static_cast<ssize_t>(sizeof span));
  kill(child, SIGKILL);
  waitpid(child, &status, 0);
  close(from_child[0]);
  // It may have been due up to a beat after it was stopped, or have been late already.
  EXPECT_LE(span[0], stopped_ns + 2 * kMs);
  EXPECT_GE(span[0] + span[1], continued_ns);
}

TEST(Heartbeat, EndsWithItsOwner) {
  for (int i = 0; i < 3; ++i) Heartbeat heartbeat([](const Stall&) {});
}

}  // namespace
}  // namespace squall
