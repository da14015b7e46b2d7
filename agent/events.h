#pragma once

#include <deque>

#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "proto/agent.pb.h"

namespace squall {

// What the agent has to tell the controller, in order. Never blocks who pushes: when the controller does not listen, the
// newest output of services and then everything is dropped beyond a bound. Thread-safe.
class Events {
 public:
  static constexpr size_t kMaxEvents = 200'000;
  static constexpr size_t kMaxOutputBytes = 8 << 20;

  void Push(Record record);
  void PushOutput(const std::string& service, std::string data);
  // The last event: nobody reads on after it.
  void PushEnded(Ended ended);
  // Waits up to `timeout`; false when there is nothing, or when closed and empty.
  bool Pop(AgentEvent& event, absl::Duration timeout);
  void Close();
  bool ClosedAndEmpty();

 private:
  absl::Mutex mutex_;
  std::deque<AgentEvent> events_ ABSL_GUARDED_BY(mutex_);
  size_t output_bytes_ ABSL_GUARDED_BY(mutex_) = 0;
  bool closed_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace squall
