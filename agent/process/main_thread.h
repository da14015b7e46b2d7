#pragma once

#include <functional>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/synchronization/mutex.h"
#include "absl/synchronization/notification.h"

namespace squall {

// Runs work on the main thread. Children are started there only: PR_SET_PDEATHSIG ends a child when the *thread* that
// forked it ends, and the main thread lives as long as the agent. Thread-safe.
class MainThread {
 public:
  // Called by main(): serves until Stop().
  void Serve();
  void Stop();
  // Runs `work` on the main thread and waits. Does nothing once stopped.
  void Run(absl::FunctionRef<void()> work);

 private:
  struct Work {
    absl::FunctionRef<void()>* work;
    absl::Notification* done;
  };
  absl::Mutex mutex_;
  std::vector<Work> work_ ABSL_GUARDED_BY(mutex_);
  bool stopped_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace squall
