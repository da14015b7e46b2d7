#pragma once

#include <string>
#include <vector>

#include "controller/assertions/breaker_states.h"
#include "controller/assertions/judge.h"
#include "controller/assertions/stalls.h"
#include "controller/timeline.h"
#include "proto/assertion.pb.h"

namespace squall {

// Calls over an edge stop while the dependency fails (opens), requests are answered fast meanwhile (fails
// fast), few calls try again after the open time (probes), a failed one keeps it open (re-opens), and calls
// come back when the dependency is well (closes). With `stays_closed`: they go on. Each process that calls over the edge is
// judged by itself, where the edge can tell them apart. Pure.
Judgement JudgeCircuitBreaker(const CircuitBreaker& spec, const Timeline& timeline, const Stalls& stalls);
inline Judgement JudgeCircuitBreaker(const CircuitBreaker& spec, const Timeline& timeline) {
  return JudgeCircuitBreaker(spec, timeline, Stalls(timeline.stalls));
}

// What there is to draw of a circuit breaker.
struct BreakerPicture {
  struct Instance {
    std::string who;  // "process 4711", "all callers"
    std::optional<uint32_t> source;
    double calls_per_request = 0;  // at baseline
    bool holds = true;             // nothing that was checked of it failed
    SeenStates seen;
  };
  std::vector<Instance> instances;  // those that failed first; none: there is nothing that could be judged
  OwnStates own;
};
// The same inference that the verdict rests on. Pure.
BreakerPicture PictureOf(const CircuitBreaker& spec, const Timeline& timeline);

}  // namespace squall
