#include "agent/process/main_thread.h"

namespace squall {

void MainThread::Serve() {
  for (;;) {
    std::vector<Work> work;
    {
      absl::MutexLock lock(&mutex_);
      const auto ready = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return stopped_ || !work_.empty(); };
      mutex_.Await(absl::Condition(&ready));
      if (work_.empty()) return;
      work.swap(work_);
    }
    for (const Work& item : work) {
      (*item.work)();
      item.done->Notify();
    }
  }
}

void MainThread::Stop() {
  absl::MutexLock lock(&mutex_);
  stopped_ = true;
}

void MainThread::Run(absl::FunctionRef<void()> work) {
  absl::Notification done;
  {
    absl::MutexLock lock(&mutex_);
    if (stopped_) return;
    work_.push_back({&work, &done});
  }
  done.WaitForNotification();
}

}  // namespace squall
