// HTTP/1.1 requests at a set rate, whether or not the target keeps up.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <thread>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "agent/load/http_loop.h"
#include "proto/scenario.pb.h"
#include "proto/timeline.pb.h"

namespace squall {

// An open loop on a thread of its own. Requests are sent when they are due; those that are overdue, since the
// thread or the machine stood still, are sent at once and keep their intended time. All methods may be called
// from any thread.
class HttpLoad {
 public:
  // Takes Requests and LoadStats about every 250 ms, with times of this host's CLOCK_BOOTTIME. Called from
  // the load's thread, so it must not block and must not call the load; never after Stop has returned.
  using Sink = std::function<void(Record)>;

  // `load` with its defaults filled in. INVALID_ARGUMENT for a load that cannot be sent, RESOURCE_EXHAUSTED
  // when descriptors or memory are short. Raises the process's soft limit of descriptors when max_in_flight
  // needs it.
  static absl::StatusOr<std::unique_ptr<HttpLoad>> Start(const Load& load, absl::string_view run_id,
                                                         uint64_t seed, Sink sink);
  // Stops without patience.
  ~HttpLoad();
  HttpLoad(const HttpLoad&) = delete;
  HttpLoad& operator=(const HttpLoad&) = delete;

  // The intended start of the first request.
  int64_t StartedNs() const { return started_ns_; }

  // Lets the load's steps begin now. Without steps nothing changes. `retry`: whether and how rejected requests are sent
  // again while the load rests.
  void StartSteps(const std::optional<Retries::Rules>& retry = std::nullopt);

  // Faults on the load. They act from the return of the call that starts them to that of the call that ends them; ending is
  // idempotent, and what was seen can be asked for afterwards. A load that has stopped does nothing of it.
  int StartHangUps(const Impatience& impatience) { return loop_->StartHangUps(impatience); }
  void EndHangUps(int id) { loop_->EndHangUps(id); }
  HungUp SeenHangUps(int id) const { return loop_->SeenHangUps(id); }
  int StartSurge(double times) { return loop_->StartSurge(times); }
  void EndSurge(int id) { loop_->EndSurge(id); }
  SurgeRates SeenSurge(int id) const { return loop_->SeenSurge(id); }

  // Stops sending and waits up to `patience` for what is in flight; the rest becomes ABANDONED. All is with
  // the sink when this returns. Idempotent.
  void Stop(absl::Duration patience);

 private:
  HttpLoad(std::unique_ptr<HttpLoop> loop, int64_t started_ns);

  const std::unique_ptr<HttpLoop> loop_;
  const int64_t started_ns_;
  absl::Mutex joining_;
  std::thread thread_ ABSL_GUARDED_BY(joining_);
};

}  // namespace squall
