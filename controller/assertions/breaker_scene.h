#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/types/span.h"
#include "controller/assertions/baseline.h"
#include "controller/assertions/fault_time.h"
#include "controller/assertions/gates.h"
#include "controller/assertions/stalls.h"
#include "controller/timeline.h"
#include "proto/assertion.pb.h"

namespace squall {

// All that the checks of one circuit breaker look at: that of one process which calls over the edge. Points into spec and
// timeline, which must outlive it. Plain data.
struct BreakerScene {
  const CircuitBreaker* spec = nullptr;
  const Timeline* timeline = nullptr;
  const Load* load = nullptr;
  const Stalls* stalls = nullptr;
  FaultTime time;
  Baseline baseline;
  std::optional<uint32_t> source;  // the process; none: the calls of all are taken together
  std::string who;                 // "process 4711" where there are several; else empty
  absl::Span<const Call> calls;  // those over the edge that count, in the order of their start: the timeline's, or `held`
  std::shared_ptr<const std::vector<Call>> held;

  double calls_per_request = 0;  // f, the baseline's median
  double calls_of_all = 0;       // the same of all processes together
  int64_t begin_ns = 0;          // the fault was injected
  int64_t over_ns = 0;           // it was over
  int64_t complete_ns = 0;       // everything before is in the timeline
  // Where nothing can be called any more (a killed peer), calls vanish with or without a breaker: then only
  // attempts, as the relay counted them, tell.
  bool peer_dead = false;
  // The same where names cannot be resolved, packets vanish or no handshake succeeds.
  bool calls_hidden = false;
  // There connects are counted before they vanish, and tell: those that are counted once a second.
  bool by_connects = false;

  // Shortest time between two probes that is not too soon: T_o - max(5 %, 100 ms).
  int64_t open_at_least_ns = 0;
  int64_t fail_fast_ns = 0;
  int64_t close_within_ns = 0;
  // How far apart load, edge and fault may have recorded the same moment, where they are on different hosts.
  int64_t cross_host_ns = 0;

  // Takes these for its calls.
  void Hold(std::vector<Call> own);
  // "process 4711: " or nothing.
  std::string Lead() const;
  // Calls that the requests sent in [begin_ns, end_ns) would have made at baseline.
  double Expected(int64_t from_ns, int64_t to_ns) const;
  // Calls that failed during the fault, with the connects that were refused.
  struct Failures {
    int64_t count = 0;
    std::optional<int64_t> first_ns;  // when the service could know
    bool connects = false;            // `by_connects`: some were tried
  };
  Failures FailedCalls() const;
  // Calls that started in (from_ns, to_ns).
  // When a killed peer was seen to answer again after `opened_ns`. It may do so well before the agent has confirmed that it
  // is ready: what is called then is called rightly.
  int64_t AliveFrom(int64_t opened_ns) const;
  // Calls that one who has opened at `opened_ns` may make as probes until `until_ns`.
  int64_t ProbesAllowed(int64_t opened_ns, int64_t until_ns) const;
  int64_t CallsBetween(int64_t from_ns, int64_t to_ns) const;
};

// One scene for each process that calls over the edge, or one for all where they are not told apart.
struct BreakerScenes {
  BreakerScene whole;               // all that is judged, taken together
  std::vector<BreakerScene> each;   // in the order of their calls per request, the busiest first; at least one
  std::string sources;              // who calls, in words
  // Why a part of the calls cannot be judged.
  std::optional<Obstacle> obstacle;
};

// REQUIRES: the fault gate is open and the fault is over.
BreakerScenes ScenesOf(const CircuitBreaker& spec, const Timeline& timeline, const Load& load,
                       const FaultTime& time, const Baseline& baseline, const Stalls& stalls);

// There are calls at baseline, and a fault that lasts.
std::optional<Obstacle> CallsGate(const BreakerScene& scene);

// There are enough calls in an open time to see it. REQUIRES: the calls gate is open.
std::optional<Obstacle> VisibilityGate(const BreakerScene& scene);

}  // namespace squall
