#pragma once

#include <atomic>
#include <functional>
#include <optional>
#include <string>

#include "absl/time/time.h"
#include "agent/net/http_get.h"
#include "agent/watch/poll.h"
#include "proto/timeline.pb.h"

namespace squall {

// Asks a service's `health` four times a second, on a thread of its own. An answer may take 1 s, and of its body the first 1,000
// bytes count.
class HealthWatch {
 public:
  static constexpr absl::Duration kEvery = absl::Milliseconds(250);
  static constexpr absl::Duration kTimeout = absl::Seconds(1);
  static constexpr size_t kMostOfBody = 1000;
  // Called on the watch's thread, with a `health`.
  using Sink = std::function<void(Record)>;

  HealthWatch(std::string service, std::string url, HttpGetter::Where where, Sink sink);
  ~HealthWatch() { stop_ = true; }
  HealthWatch(const HealthWatch&) = delete;
  HealthWatch& operator=(const HealthWatch&) = delete;

 private:
  void Ask();

  const std::string service_;
  const std::string url_;
  const Sink sink_;
  std::atomic<bool> stop_ = false;
  HttpGetter getter_;
  std::optional<std::string> last_body_;
  Poll poll_;  // last: it ends first
};

}  // namespace squall
