// The event loop of one load.
#pragma once

#include <curl/curl.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/synchronization/mutex.h"
#include "agent/load/columns.h"
#include "agent/load/http_request.h"
#include "agent/load/http_transfer.h"
#include "agent/load/pacer.h"
#include "agent/load/retries.h"
#include "proto/timeline.pb.h"

namespace squall {

// Sends requests when they are due and records how they end. One thread calls Run; StartSteps and Stop may be
// called from any. No call to the target ever blocks the loop: everything is an event of epoll.
class HttpLoop {
 public:
  using Sink = std::function<void(Record)>;

  static absl::StatusOr<std::unique_ptr<HttpLoop>> Make(const Load& load, absl::string_view run_id,
                                                        uint64_t seed, int64_t start_ns, Sink sink);
  ~HttpLoop();
  HttpLoop(const HttpLoop&) = delete;
  HttpLoop& operator=(const HttpLoop&) = delete;

  // Until Stop and its patience have ended it.
  void Run();

  void StartSteps(int64_t at_ns, const std::optional<Retries::Rules>& retry);
  // Sends nothing more; what is in flight at `until_ns` is abandoned. A later call can only bring `until_ns`
  // forward.
  void Stop(int64_t until_ns);

 private:
  struct Command {
    std::optional<int64_t> steps_at_ns;
    std::optional<Retries::Rules> retry;
    std::optional<int64_t> stop_until_ns;
  };

  HttpLoop(HttpRequest request, Pacer pacer, const Load& load, uint64_t trace_prefix, Sink sink);
  absl::Status Open();

  void HandleEvent(int fd, uint32_t events);
  void HandleCommands();
  void SendDue();
  void Send(int64_t number, int64_t intended_ns, int64_t now_ns, bool retried = false);
  // When a rejected request may be sent again; empty: not before the next request that is due.
  std::optional<int64_t> NextRetryNs() const;
  void Kick(curl_socket_t socket, int events);
  void Collect();
  void AbandonRest();
  void ArmPace();
  void Flush();
  std::unique_ptr<HttpTransfer> TakeTransfer();
  void Wake();

  // libcurl's callbacks.
  static int OnSocket(CURL* easy, curl_socket_t socket, int what, void* self, void* known);
  static int OnTimer(CURLM* multi, long timeout_ms, void* self);

  const HttpRequest request_;
  const std::string load_;
  const uint64_t trace_prefix_;
  const size_t max_in_flight_;
  const Sink sink_;
  Pacer pacer_;
  std::optional<Retries> retries_;
  int64_t next_retry_number_;
  RequestColumns columns_;

  int64_t open_sockets_ = 0;  // counted by the transfers
  CURLM* multi_ = nullptr;
  std::vector<std::unique_ptr<HttpTransfer>> idle_;
  std::vector<std::unique_ptr<HttpTransfer>> in_flight_;
  int epoll_ = -1;
  int pace_timer_ = -1;   // the next request
  int curl_timer_ = -1;   // what libcurl waits for
  int flush_timer_ = -1;  // the next record
  int wake_ = -1;         // commands
  bool curl_is_due_ = false;

  int64_t intended_ = 0, sent_ = 0, not_sent_ = 0;  // since the last LoadStats
  std::optional<int64_t> stop_until_ns_;

  absl::Mutex mutex_;
  Command command_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace squall
