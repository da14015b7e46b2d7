// The event loop of one load.
#pragma once

#include <cstdint>
#include <functional>
#include <list>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <tuple>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "agent/load/carrier.h"
#include "agent/load/columns.h"
#include "agent/load/kinds.h"
#include "agent/load/offer.h"
#include "agent/load/outcome.h"
#include "agent/load/retries.h"
#include "agent/load/transport.h"
#include "base/fd.h"
#include "proto/timeline.pb.h"

namespace squall {

// Sends requests when they are due and records how they end. One thread calls Run; the others may be called from
// any. No call to the target ever blocks the loop: everything is an event of epoll.
class LoadLoop {
 public:
  using Sink = std::function<void(Record)>;

  // `folder`: what the files that the load names are relative to.
  static absl::StatusOr<std::unique_ptr<LoadLoop>> Make(const Load& load, const std::string& run_id, uint64_t seed,
                                                        const std::string& folder, Sink sink);
  ~LoadLoop();
  LoadLoop(const LoadLoop&) = delete;
  LoadLoop& operator=(const LoadLoop&) = delete;

  // The intended start of the first request.
  int64_t started_ns() const { return started_ns_; }

  // Until Stop and its patience have ended it.
  void Run();

  void StartSteps(int64_t at_ns, const std::optional<Retries::Rules>& retry);
  // Sends nothing more; what is in flight at `until_ns` is abandoned. A later call can only bring `until_ns`
  // forward.
  void Stop(int64_t until_ns);

  // Looks again at what is offered, after it has changed.
  void Wake();
  Offer& offer() { return offer_; }

 private:
  struct Command {
    std::optional<int64_t> steps_at_ns;
    std::optional<Retries::Rules> retry;
    std::optional<int64_t> stop_until_ns;
  };

  LoadLoop(const Load& load, uint64_t trace_prefix, Kinds kinds, int64_t start_ns, Pacer pacer, Sink sink);
  absl::Status Open(std::unique_ptr<Carrier> carrier);

  void HandleEvent(uint64_t id, uint32_t events);
  void HandleCommands();
  void SendDue();
  void Send(int64_t number, int64_t intended_ns, int64_t now_ns, bool retried = false);
  // When a rejected request may be sent again; empty: not before the next request that is due.
  std::optional<int64_t> NextRetryNs(int64_t now_ns) const;
  void Collect();
  void End(const EndedExchange& ended);
  void HangUpDue();
  void GiveUpDue();
  // It ends here, unanswered; its client hangs up.
  void Leave(Exchange& exchange, Outcome outcome, int64_t now_ns);
  // Out of what is in flight.
  void Release(Exchange& exchange);
  void AbandonRest();
  void ArmPace();
  void Flush();

  const std::string load_;
  const uint64_t trace_prefix_;
  const Kinds kinds_;
  const Matchers matchers_;
  const int64_t patience_ns_;
  const size_t max_in_flight_;
  const int64_t started_ns_;
  const Sink sink_;
  std::optional<Retries> retries_;
  int64_t next_retry_number_;
  RequestColumns columns_;

  Fd epoll_;
  Fd pace_timer_;   // the next request, and the next that is given up
  Fd flush_timer_;  // the next record
  Fd wake_;         // commands
  std::list<Exchange> idle_;
  std::list<Exchange> in_flight_;  // in the order in which they were sent
  std::unique_ptr<Carrier> carrier_;
  std::unique_ptr<Transport> transport_;

  int64_t intended_ = 0, sent_ = 0, not_sent_ = 0;  // since the last LoadStats
  std::string first_error_;                         // to be told
  bool had_error_ = false;
  std::optional<int64_t> stop_until_ns_;
  std::set<std::tuple<int64_t, Exchange*, int>> hanging_up_;  // when, who, and by which fault

  Offer offer_;
  absl::Mutex mutex_;
  Command command_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace squall
