#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "agent/process/proc.h"
#include "base/fd.h"

namespace squall {

// A service belongs to one run at a time, on the whole host: a locked file named after its process. The lock is the
// kernel's, so it ends with the agent. Movable; released on destruction.
class Hold {
 public:
  // `holder` says who holds it since when and until when. ALREADY_EXISTS, with the words of the holder, when another run
  // has it.
  static absl::StatusOr<Hold> Take(const ProcessId& process, const std::string& holder);
  Hold() = default;
  Hold(Hold&&) = default;
  Hold& operator=(Hold&& other) noexcept;
  ~Hold();

 private:
  Fd fd_;
  std::string path_;
};

// Removes the lock files of agents that were killed while they held a service: those that nobody has locked.
void SweepHolds();

}  // namespace squall
