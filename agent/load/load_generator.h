// Requests at a set rate, whether or not the target keeps up.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <thread>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "agent/load/load_loop.h"
#include "proto/scenario.pb.h"
#include "proto/timeline.pb.h"

namespace squall {

// An open loop on a thread of its own. Requests are sent when they are due; those that are overdue, since the
// thread or the machine stood still, are sent at once and keep their intended time. All methods may be called
// from any thread.
class LoadGenerator {
 public:
  // Takes Requests and LoadStats about every 250 ms, and LoadShare, with times of this host's CLOCK_BOOTTIME. Called from
  // the load's thread, so it must not block and must not call the load; never after Stop has returned.
  using Sink = std::function<void(Record)>;

  // `load` with its defaults and secrets filled in; files that it names are relative to `folder`. INVALID_ARGUMENT for a load that
  // cannot be sent, RESOURCE_EXHAUSTED when descriptors or memory are short. Raises the process's soft limit of descriptors when
  // max_in_flight needs it. A gRPC load without a .proto file asks its server for the types first: FAILED_PRECONDITION or UNAVAILABLE
  // when that does not tell them, within 10 s.
  static absl::StatusOr<std::unique_ptr<LoadGenerator>> Start(const Load& load, const std::string& run_id, uint64_t seed,
                                                              Sink sink, const std::string& folder = ".");
  // Stops without patience.
  ~LoadGenerator();
  LoadGenerator(const LoadGenerator&) = delete;
  LoadGenerator& operator=(const LoadGenerator&) = delete;

  // The intended start of the first request.
  int64_t StartedNs() const { return loop_->started_ns(); }

  // Lets the load's steps begin now. Without steps nothing changes. `retry`: whether and how rejected requests are sent
  // again while the load rests.
  void StartSteps(const std::optional<Retries::Rules>& retry = std::nullopt);

  // Faults on the load. They act from the return of the call that starts them to that of the call that ends them; ending is
  // idempotent, and what was seen can be asked for afterwards. A load that has stopped does nothing of it.
  int StartHangUps(const Impatience& impatience) { return loop_->offer().StartHangUps(impatience); }
  void EndHangUps(int id) { loop_->offer().EndHangUps(id); }
  HungUp SeenHangUps(int id) const { return loop_->offer().SeenHangUps(id); }
  int StartSurge(double times);
  void EndSurge(int id) { loop_->offer().EndSurge(id); }
  SurgeRates SeenSurge(int id) const { return loop_->offer().SeenSurge(id); }

  // From now on this share of what the load offers is due, surges included: 0 rests it, and nothing is sent again then either. Told
  // as LoadShare. INVALID_ARGUMENT for what is not 0 to 1.
  absl::Status SetShare(double share);

  // Stops sending and waits up to `patience` for what is in flight; the rest becomes ABANDONED. All is with
  // the sink when this returns. Idempotent.
  void Stop(absl::Duration patience);

 private:
  explicit LoadGenerator(std::unique_ptr<LoadLoop> loop);

  const std::unique_ptr<LoadLoop> loop_;
  absl::Mutex joining_;
  std::thread thread_ ABSL_GUARDED_BY(joining_);
};

}  // namespace squall
