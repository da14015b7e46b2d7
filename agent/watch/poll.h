#pragma once

#include <sys/prctl.h>

#include <algorithm>
#include <functional>
#include <thread>
#include <utility>

#include "absl/synchronization/mutex.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"

namespace squall {

// Calls `work` in a thread of its own, at once and then at each turn, until destroyed: no call is under way after that. A call that
// takes longer than its turn gives up the turns that it missed.
class Poll {
 public:
  Poll(const char* thread_name, absl::Duration every, std::function<void()> work)
      : thread_([this, thread_name, every, work = std::move(work)] {
          prctl(PR_SET_NAME, thread_name);
          for (absl::Time next = absl::Now();;) {
            work();
            next = std::max(next + every, absl::Now());
            absl::MutexLock lock(&mutex_);
            if (mutex_.AwaitWithDeadline(absl::Condition(&stop_), next)) return;
          }
        }) {}
  ~Poll() {
    {
      absl::MutexLock lock(&mutex_);
      stop_ = true;
    }
    thread_.join();
  }
  Poll(const Poll&) = delete;
  Poll& operator=(const Poll&) = delete;

 private:
  absl::Mutex mutex_;
  bool stop_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

}  // namespace squall
