// How many requests a load offers, and when, and whose clients hang up: what it says itself, and what faults and rests make of it.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "agent/load/hang_ups.h"
#include "agent/load/pacer.h"

namespace squall {

// Requests per second, on average over the time of a surge: due without it, due with it, and sent.
struct SurgeRates {
  double base = 0;
  double requested = 0;
  double achieved = 0;
};

// Times are of CLOCK_BOOTTIME. Thread-safe.
class Offer {
 public:
  explicit Offer(Pacer pacer) : pacer_(std::move(pacer)) {}

  struct Due {
    int64_t number;
    int64_t intended_ns;
  };
  // The next request, if it is due by then.
  std::optional<Due> TakeDue(int64_t now_ns);
  std::optional<int64_t> NextDueNs() const;
  // As of the pacer; none while the share is 0.
  std::optional<Pacer::Quiet> QuietBeforeNext() const;

  void StartSteps(int64_t at_ns);

  // Multiplies the rate by 0 to 1, from now on. INVALID_ARGUMENT for anything else.
  absl::Status SetShare(double share);
  struct Share {
    int64_t at_ns;
    double share;
  };
  // Those that were set since the last call.
  std::vector<Share> TakeShares();

  // Multiplies the rate until EndSurge, which is idempotent; several surges multiply with each other. Returns what it is called.
  int StartSurge(double times);
  void EndSurge(int id);
  SurgeRates SeenSurge(int id) const;

  // Clients hang up until EndHangUps: after that nobody does, also of those whose request is on its way. Returns what it is called.
  int StartHangUps(const Impatience& impatience);
  void EndHangUps(int id);
  HungUp SeenHangUps(int id) const;

  // A request is sent now. Returns when its client will hang up, and by which of them.
  std::vector<std::pair<int64_t, int>> CountSent(int64_t number, int64_t now_ns);
  // One of them turned out not to be.
  void CountNotSent();
  // The time has come: whether it still acts. Then it is counted.
  bool FireHangUp(int id);

 private:
  struct Surge {
    double times = 1;
    int64_t began_ns = 0;
    double due_before = 0;
    int64_t sent_before = 0;
    std::optional<SurgeRates> rates = {};  // once it is over
  };
  void SetTimes(int64_t now_ns) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  SurgeRates RatesOf(const Surge& surge, int64_t now_ns) const ABSL_SHARED_LOCKS_REQUIRED(mutex_);

  mutable absl::Mutex mutex_;
  Pacer pacer_ ABSL_GUARDED_BY(mutex_);
  double share_ ABSL_GUARDED_BY(mutex_) = 1;
  std::vector<Share> shares_ ABSL_GUARDED_BY(mutex_);
  int64_t sent_ ABSL_GUARDED_BY(mutex_) = 0;
  std::map<int, Surge> surges_ ABSL_GUARDED_BY(mutex_);
  HangUps hang_ups_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace squall
