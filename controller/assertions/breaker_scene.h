#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "controller/assertions/baseline.h"
#include "controller/assertions/fault_time.h"
#include "controller/assertions/gates.h"
#include "controller/assertions/stalls.h"
#include "controller/timeline.h"
#include "proto/assertion.pb.h"

namespace squall {

// All that the checks of a circuit breaker look at. Points into spec and timeline, which must outlive it.
// Plain data.
struct BreakerScene {
  const CircuitBreaker* spec = nullptr;
  const Timeline* timeline = nullptr;
  const Load* load = nullptr;
  const Stalls* stalls = nullptr;
  FaultTime time;
  Baseline baseline;
  std::vector<Call> calls;  // those over the edge that count, in the order of their start

  double calls_per_request = 0;  // f, the baseline's median
  int64_t begin_ns = 0;          // the fault was injected
  int64_t over_ns = 0;           // it was over
  int64_t complete_ns = 0;       // everything before is in the timeline
  // Where nothing can be called any more (a killed peer), calls vanish with or without a breaker: then only
  // attempts, as the relay counted them, tell.
  bool peer_dead = false;

  // Shortest time between two probes that is not too soon: T_o - max(5 %, 100 ms).
  int64_t open_at_least_ns = 0;
  int64_t fail_fast_ns = 0;
  int64_t close_within_ns = 0;
  // How far apart load, edge and fault may have recorded the same moment, where they are on different hosts.
  int64_t cross_host_ns = 0;

  // Calls that the requests sent in [begin_ns, end_ns) would have made at baseline.
  double Expected(int64_t from_ns, int64_t to_ns) const;
  // Calls that started in (from_ns, to_ns).
  int64_t CallsBetween(int64_t from_ns, int64_t to_ns) const;
};

// REQUIRES: the fault gate is open and the fault is over.
BreakerScene SceneOf(const CircuitBreaker& spec, const Timeline& timeline, const Load& load,
                     const FaultTime& time, const Baseline& baseline, const Stalls& stalls);

// There are calls at baseline, and enough of them in an open time to see it.
std::optional<Obstacle> VisibilityGate(const BreakerScene& scene);

}  // namespace squall
