#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "controller/timeline.h"
#include "proto/assertion.pb.h"

// The states of a circuit breaker over time, as its calls show them and as it tells them itself. Pure.

namespace squall {

struct BreakerScene;

struct StateSpan {
  int64_t from_ns = 0;
  int64_t to_ns = 0;
  std::string state;  // "closed", "open", "half-open"; a metric's other values as they are; "unknown"
};
using StateSpans = std::vector<StateSpan>;  // in order, each from where the one before ended

// What the calls of one breaker show.
struct SeenStates {
  StateSpans spans;
  std::vector<int64_t> probes;  // when each call of a half-open breaker began
};
// `opened_ns`, `closed_ns`: as the checks found them; none: it never did.
SeenStates StatesByCalls(const BreakerScene& scene, const std::optional<int64_t>& opened_ns,
                         const std::optional<int64_t>& closed_ns);

// What the breaker says itself.
struct OwnStates {
  StateSpans spans;     // none: not asked for, or not told
  std::string problem;  // why there are none, or what they are worth; empty: nothing to say
  double openings =
      0;  // by how much the counter of openings grew from the fault on, or counters of events told
  bool counted = false;  // there is such a counter
};
// REQUIRES: `service` is the one that calls over the edge. `end_ns`: where the last span ends.
OwnStates StatesByMetric(const CircuitBreaker& spec, const Timeline& timeline, const std::string& service,
                         int64_t from_ns, int64_t end_ns);

// "closed; open from 11.6 s; half-open 13.9 s to 14.2 s; ...; closed from 20.6 s".
std::string StatesInWords(const StateSpans& spans);

// Where the two contradict each other for longer than reading a page four times a second explains: one says
// closed, the other open or half-open. Empty: nowhere.
std::string Disagreement(const StateSpans& by_calls, const StateSpans& by_metric);

}  // namespace squall
