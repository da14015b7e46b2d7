// Notes when the machine, or this process on it, stood still.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <thread>

#include "absl/time/time.h"
#include "proto/timeline.pb.h"

namespace squall {

// A thread woken this much too late was not merely waiting for its turn.
inline constexpr absl::Duration kStallThreshold = absl::Milliseconds(20);
inline constexpr absl::Duration kBeat = absl::Milliseconds(1);

// The stall that shows in a thread that meant to wake at one instant and woke at another.
std::optional<Stall> FindStall(int64_t intended_ns, int64_t woke_ns);

// A thread that wakes every kBeat and reports a Stall, in CLOCK_BOOTTIME, when it wakes kStallThreshold too
// late or more. The sink is called from that thread, never after the destructor has returned.
class Heartbeat {
 public:
  using Sink = std::function<void(Stall)>;
  explicit Heartbeat(Sink sink);
  ~Heartbeat();
  Heartbeat(const Heartbeat&) = delete;
  Heartbeat& operator=(const Heartbeat&) = delete;

 private:
  void Run(int64_t woke_ns);

  Sink sink_;
  std::atomic<bool> stop_{false};
  std::thread thread_;
};

}  // namespace squall
