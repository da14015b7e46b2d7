#pragma once

#include <functional>
#include <thread>

#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"

namespace squall {

// Calls `work` in a thread of its own, `every` after the call before has returned, until destroyed: no call is under way after that.
class Regularly {
 public:
  Regularly(absl::Duration every, std::function<void()> work)
      : thread_([this, every, work = std::move(work)] {
          while (!Stopped(every)) work();
        }) {}
  ~Regularly() {
    {
      absl::MutexLock lock(&mutex_);
      stopped_ = true;
    }
    thread_.join();
  }

 private:
  bool Stopped(absl::Duration within) {
    absl::MutexLock lock(&mutex_);
    return mutex_.AwaitWithTimeout(absl::Condition(&stopped_), within);
  }

  absl::Mutex mutex_;
  bool stopped_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

}  // namespace squall
