// Holds the agent that this is loaded into at one step of its journal: just before or just after an entry is synced. $HOLD_AT_STEP names
// a file with the number of the step, from 1 on. Once it is reached there is a file $HOLD_AT_STEP.reached, and the thread waits
// until the first one is removed.
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <fstream>
#include <string>

namespace {

constexpr timespec kMillisecond = {0, 1'000'000};
constexpr int kLongestMs = 60'000;  // nobody is to be held for ever by a test that has died

void Step() {
  static const char* const path = getenv("HOLD_AT_STEP");
  static std::atomic<int> steps = 0;
  if (path == nullptr) return;
  int wanted = 0;
  std::ifstream(path) >> wanted;
  if (++steps != wanted) return;
  std::ofstream(std::string(path) + ".reached") << wanted;
  for (int ms = 0; ms < kLongestMs && access(path, F_OK) == 0; ++ms) nanosleep(&kMillisecond, nullptr);
}

}  // namespace

extern "C" int fdatasync(int fd) {
  Step();
  const long failed = syscall(SYS_fdatasync, fd);
  Step();
  return static_cast<int>(failed);
}
