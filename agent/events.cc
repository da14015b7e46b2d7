#include "agent/events.h"

#include <utility>

namespace squall {

void Events::Push(Record record) {
  absl::MutexLock lock(&mutex_);
  if (closed_ || events_.size() >= kMaxEvents) return;
  *events_.emplace_back().mutable_record() = std::move(record);
}

void Events::PushOutput(const std::string& service, std::string data) {
  absl::MutexLock lock(&mutex_);
  if (closed_ || output_bytes_ + data.size() > kMaxOutputBytes) return;
  output_bytes_ += data.size();
  Output& output = *events_.emplace_back().mutable_output();
  output.set_service(service);
  output.set_data(std::move(data));
}

void Events::PushEnded(Ended ended) {
  absl::MutexLock lock(&mutex_);
  // However full: without it the controller would not know why its run is over.
  if (!closed_) *events_.emplace_back().mutable_ended() = std::move(ended);
}

bool Events::Pop(AgentEvent& event, absl::Duration timeout) {
  absl::MutexLock lock(&mutex_);
  const auto ready = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return closed_ || !events_.empty(); };
  mutex_.AwaitWithTimeout(absl::Condition(&ready), timeout);
  if (events_.empty()) return false;
  event = std::move(events_.front());
  events_.pop_front();
  if (event.has_output()) output_bytes_ -= event.output().data().size();
  return true;
}

void Events::Close() {
  absl::MutexLock lock(&mutex_);
  closed_ = true;
}

bool Events::ClosedAndEmpty() {
  absl::MutexLock lock(&mutex_);
  return closed_ && events_.empty();
}

}  // namespace squall
