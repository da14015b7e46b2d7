#pragma once

#include <sys/types.h>

#include <cstdint>
#include <memory>
#include <optional>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "agent/process/proc.h"

namespace squall {

// What /proc/meminfo says, in bytes.
struct HostMemory {
  int64_t total = 0;
  int64_t available = 0;  // that could be had without swapping: MemAvailable
  int64_t swap = 0;       // there is so much of it in all
};

// From the text of /proc/meminfo; nothing when it does not tell MemTotal and MemAvailable. Async-signal-safe.
std::optional<HostMemory> ParseHostMemory(const char* text);
std::optional<HostMemory> ReadHostMemory();

// What stays available whatever is asked for: a twentieth of the host's memory, and 256 MiB at least.
int64_t MemoryFloor(int64_t total);

// The ballast takes at most so much between two looks at what is available, and works in whole units.
inline constexpr int64_t kBallastStep = int64_t{64} << 20;
inline constexpr int64_t kBallastUnit = int64_t{1} << 20;

// What to hold next by one who holds `held`, so that `leave`, or the floor where that is more, is available: one step more, or at once
// as much less as it takes. Multiples of kBallastUnit. Pure function.
int64_t NextBallast(int64_t held, const HostMemory& host, int64_t leave);

// A process that takes memory until no more than `leave` is available to others, looks again all the time, and gives back at once
// what others need. It is the first that the kernel kills for want of memory (oom_score_adj 1000), and the kernel ends it when the
// agent dies. Where there is swap, what it holds is locked. It is in the first memory cgroup of the host, where that may be entered:
// what it takes counts against nobody's limit. Not thread-safe.
class Ballast {
 public:
  // Taking has begun once this returns; on error no process is left. REQUIRES: called on the main thread (see MainThread).
  static absl::StatusOr<std::unique_ptr<Ballast>> Start(int64_t leave);
  // Whether this user may take memory on such a host.
  static absl::Status MayTake(const HostMemory& host);
  ~Ballast();
  Ballast(const Ballast&) = delete;

  struct Seen {
    int64_t held = 0;        // now
    int64_t most_held = 0;   // since it began
    int64_t least_left = 0;  // the least that was available whenever it looked; -1: it has not yet
    bool settled = false;    // it has taken what it was to take
    int error = 0;           // why it could take no more; 0: nothing was in the way
    bool ended = false;      // it was stopped or killed
  };
  Seen Look();
  const ProcessId& process() const { return process_; }
  // Ends it and waits until it is gone, and its memory with it. Idempotent.
  absl::Status Stop();

 private:
  struct Shared;
  struct Prepared;
  Ballast() = default;
  [[noreturn]] static void RunChild(const Prepared& prepared, Shared& shared);

  pid_t pid_ = -1;  // -1: stopped
  ProcessId process_;
  Shared* shared_ = nullptr;  // with the process
};

}  // namespace squall
