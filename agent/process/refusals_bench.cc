// What counting refusals costs a process that is not watched, per system call: getppid, which does nothing.
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <limits>

#include "agent/process/refusals.h"
#include "base/clock.h"

namespace {

// The best of many rounds: what others do on the machine only adds to it.
double NanosPerCall() {
  constexpr int kRounds = 200, kCalls = 20'000;
  double best = std::numeric_limits<double>::max();
  for (int round = 0; round < kRounds; ++round) {
    const int64_t begin = squall::BootNanos();
    for (int i = 0; i < kCalls; ++i) getppid();
    best = std::min(best, static_cast<double>(squall::BootNanos() - begin) / kCalls);
  }
  return best;
}

}  // namespace

int main() {
  const double before = NanosPerCall();
  auto refusals = squall::Refusals::Start();
  if (!refusals.ok()) {
    fprintf(stderr, "%s\n", std::string(refusals.status().message()).c_str());
    return 1;
  }
  const double during = NanosPerCall();
  refusals->reset();
  const double after = NanosPerCall();
  printf("getppid: %.0f ns without, %.0f ns with, %.0f ns after\n", before, during, after);
}
