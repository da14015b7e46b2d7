#pragma once

#include <sys/types.h>

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "base/fd.h"

namespace squall {

// What agent and guardian tell each other, each in a packet of its own: the agent sends it several times a second, and the guardian
// sends it back.
struct Beat {
  // CLOCK_BOOTTIME by which everything is undone, unless the agent tells a later one; 0: nothing has been done.
  int64_t expires_ns = 0;
  // The agent ends by itself: it is not to be replaced.
  bool leaving = false;
};

// How much later than `expires_ns` the guardian takes an agent for stopped or hung, ends it and undoes what it did.
inline constexpr int64_t kGuardianGraceNs = 600'000'000;

// The agent's side of squall-guardian (guardian_main.cc), a small program beside the agent that undoes what the journal says when the
// agent is gone, however it died, or stopped or hung past its lease. Watched in turn: one that is gone or does not answer is replaced.
class Guardian {
 public:
  struct Options {
    std::string journal;             // its path
    std::vector<std::string> again;  // how the agent is started again when it dies; empty: it is not
    std::function<int64_t()> expires;
    std::function<void(const std::string&)> log;
  };
  // The program is looked for beside the agent's own.
  static absl::StatusOr<std::unique_ptr<Guardian>> Start(Options options);
  // The agent ends by itself.
  ~Guardian();

  // Tells it now how long the agent may take, and waits until it knows, or for a second: to be called before anything is done under a
  // new lease. Later ones are told several times a second.
  void Announce();

  pid_t pid() const { return pid_; }

 private:
  explicit Guardian(Options options) : options_(std::move(options)) {}
  absl::Status Spawn() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Watch();
  // False: it is gone, or has not answered for too long.
  bool Exchange(bool leaving) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void End() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const Options options_;
  absl::Mutex mutex_;
  Fd socket_ ABSL_GUARDED_BY(mutex_);
  std::atomic<pid_t> pid_ = 0;
  int64_t answered_ns_ ABSL_GUARDED_BY(mutex_) = 0;
  int64_t known_expires_ns_ ABSL_GUARDED_BY(mutex_) = 0;  // as the guardian said last
  std::atomic<bool> stop_ = false;
  std::thread watcher_;
};

}  // namespace squall
