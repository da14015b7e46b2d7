#include "agent/process/core_times.h"

#include <gtest/gtest.h>
#include <sched.h>
#include <sys/wait.h>
#include <unistd.h>

#include <thread>
#include <vector>

#include "absl/time/clock.h"
#include "absl/time/time.h"

namespace squall {
namespace {

// Uses so much processor time in a thread of its own.
void Work(int64_t milliseconds) {
  std::thread([=] {
    timespec used;
    do {
      clock_gettime(CLOCK_THREAD_CPUTIME_ID, &used);
    } while (used.tv_sec * 1000 + used.tv_nsec / 1'000'000 < milliseconds);
  }).join();
}

TEST(CoreTimes, CountWhatEveryThreadRan) {
  CoreTimesReader reader;
  std::thread idle([] { absl::SleepFor(absl::Milliseconds(300)); });
  const std::optional<CoreTimes> before = reader.Read(getpid());
  ASSERT_TRUE(before.has_value());
  std::thread worker([] {
    Work(50);
    absl::SleepFor(absl::Milliseconds(200));
  });
  Work(50);
  absl::SleepFor(absl::Milliseconds(100));
  const std::optional<CoreTimes> after = reader.Read(getpid());
  ASSERT_TRUE(after.has_value());
  EXPECT_GE(after->slices, before->slices + 2);
  EXPECT_GE(after->waited_ns, before->waited_ns);
  EXPECT_GT(after->ran_ns - before->ran_ns, 99'000'000);
  worker.join();
  idle.join();
}

TEST(CoreTimes, SayNothingOfAProcessThatIsNotThere) {
  const pid_t gone = fork();
  if (gone == 0) _exit(0);
  waitpid(gone, nullptr, 0);
  EXPECT_FALSE(CoreTimesReader().Read(gone).has_value());
}

// In a user namespace the kernel does not let it ask for taskstats.
TEST(CoreTimes, AreReadThreadByThreadWhereTheKernelDoesNotTellThemAtOnce) {
  constexpr int kNoNamespace = 9;
  const pid_t child = fork();
  if (child == 0) {
    if (unshare(CLONE_NEWUSER) != 0) _exit(kNoNamespace);
    CoreTimesReader reader;
    const std::optional<CoreTimes> before = reader.Read(getpid());
    if (!before) _exit(1);
    for (timespec used = {}; used.tv_nsec < 50'000'000;) clock_gettime(CLOCK_THREAD_CPUTIME_ID, &used);
    const std::optional<CoreTimes> after = reader.Read(getpid());
    _exit(after && after->ran_ns >= before->ran_ns + 40'000'000 ? 0 : 2);
  }
  int status = 0;
  waitpid(child, &status, 0);
  if (WEXITSTATUS(status) == kNoNamespace) GTEST_SKIP() << "LEFT OUT: this kernel gives no user namespace";
  EXPECT_EQ(status, 0);
}

}  // namespace
}  // namespace squall
