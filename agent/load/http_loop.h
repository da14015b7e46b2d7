// The event loop of one load.
#pragma once

#include <curl/curl.h>

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <tuple>
#include <utility>
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

// Clients that hang up: of `percent` of the requests, which follow from the seed and their numbers, those that have no
// answer so long after they were sent.
struct Impatience {
  double percent = 0;
  int64_t patience_ns = 0;
  uint64_t seed = 0;
};

// What clients that hang up have done so far.
struct HungUp {
  int64_t requests = 0;  // sent meanwhile, of whatever client
  int64_t abandoned = 0;
};

// Requests per second, on average over the time of a surge: due without it, due with it, and sent.
struct SurgeRates {
  double base = 0;
  double requested = 0;
  double achieved = 0;
};

// Sends requests when they are due and records how they end. One thread calls Run; the others may be called from
// any. No call to the target ever blocks the loop: everything is an event of epoll.
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

  // Clients hang up until EndHangUps: after that nobody does, also of those whose request is on its way. They become
  // ABANDONED. Returns what it is called.
  int StartHangUps(const Impatience& impatience);
  void EndHangUps(int id);
  HungUp SeenHangUps(int id) const;

  // Multiplies the rate until EndSurge; several surges multiply with each other. Returns what it is called.
  int StartSurge(double times);
  void EndSurge(int id);
  SurgeRates SeenSurge(int id) const;

 private:
  struct Command {
    std::optional<int64_t> steps_at_ns;
    std::optional<Retries::Rules> retry;
    std::optional<int64_t> stop_until_ns;
  };

  struct HangUps {
    Impatience impatience;
    bool over = false;
    int64_t sent_before = 0;  // then, what was sent meanwhile
    HungUp seen;
  };
  struct Surge {
    double times = 1;
    int64_t began_ns = 0;
    double due_before = 0;
    int64_t sent_before = 0;
    std::optional<SurgeRates> rates;  // once it is over
  };
  struct Due {
    int64_t number;
    int64_t intended_ns;
  };

  HttpLoop(HttpRequest request, Pacer pacer, const Load& load, uint64_t trace_prefix, Sink sink);
  absl::Status Open();

  void HandleEvent(int fd, uint32_t events);
  void HandleCommands();
  void SendDue();
  // The next request, if it is due by then.
  std::optional<Due> TakeDue(int64_t now_ns);
  void Send(int64_t number, int64_t intended_ns, int64_t now_ns, bool retried = false);
  // When a rejected request may be sent again; empty: not before the next request that is due.
  std::optional<int64_t> NextRetryNs(int64_t now_ns) const;
  void Kick(curl_socket_t socket, int events);
  void Collect();
  // Decides whether the client of a request that is being sent will hang up.
  void ChooseClient(HttpTransfer& transfer);
  void HangUpDue();
  // Out of what is in flight.
  void Release(HttpTransfer* transfer);
  void SetTimes(int64_t now_ns) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  SurgeRates RatesOf(const Surge& surge, int64_t now_ns) const ABSL_SHARED_LOCKS_REQUIRED(mutex_);
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
  std::set<std::tuple<int64_t, HttpTransfer*, int>> hanging_up_;  // when, who, and by which fault

  mutable absl::Mutex mutex_;
  Command command_ ABSL_GUARDED_BY(mutex_);
  Pacer pacer_ ABSL_GUARDED_BY(mutex_);
  int64_t sent_in_all_ ABSL_GUARDED_BY(mutex_) = 0;
  int next_id_ ABSL_GUARDED_BY(mutex_) = 1;
  std::map<int, HangUps> hang_ups_ ABSL_GUARDED_BY(mutex_);
  std::map<int, Surge> surges_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace squall
