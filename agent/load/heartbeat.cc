#include "agent/load/heartbeat.h"

#include <errno.h>
#include <pthread.h>
#include <time.h>

#include <utility>

#include "agent/process/thread_priority.h"
#include "base/clock.h"

namespace squall {
namespace {

void SleepUntil(int64_t boot_ns) {
  const timespec until = {static_cast<time_t>(boot_ns / 1'000'000'000),
                          static_cast<long>(boot_ns % 1'000'000'000)};
  while (clock_nanosleep(CLOCK_BOOTTIME, TIMER_ABSTIME, &until, nullptr) == EINTR) {
  }
}

}  // namespace

std::optional<Stall> FindStall(int64_t intended_ns, int64_t woke_ns) {
  const int64_t late_ns = woke_ns - intended_ns;
  if (late_ns < absl::ToInt64Nanoseconds(kStallThreshold)) return std::nullopt;
  Stall stall;
  stall.set_start_ns(intended_ns);
  stall.set_length_ns(late_ns);
  return stall;
}

Heartbeat::Heartbeat(Sink sink)
    // Beats count from here: a thread that is late to start is late already.
    : sink_(std::move(sink)), thread_([this, now_ns = BootNanos()] { Run(now_ns); }) {
  pthread_setname_np(thread_.native_handle(), "heartbeat");
}

Heartbeat::~Heartbeat() {
  stop_ = true;
  thread_.join();
}

void Heartbeat::Run(int64_t woke_ns) {
  RaiseThreadPriority();
  while (!stop_) {
    // From the last wake-up, not from the last intention: a stall is reported once, and not made up for by
    // beats in a row.
    const int64_t intended_ns = woke_ns + absl::ToInt64Nanoseconds(kBeat);
    SleepUntil(intended_ns);
    woke_ns = BootNanos();
    if (std::optional<Stall> stall = FindStall(intended_ns, woke_ns)) sink_(*std::move(stall));
  }
}

}  // namespace squall
