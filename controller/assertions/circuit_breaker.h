#pragma once

#include "controller/assertions/judge.h"
#include "controller/timeline.h"
#include "proto/assertion.pb.h"

namespace squall {

// Calls over an edge stop while the dependency fails (opens), requests are answered fast meanwhile (fails
// fast), few calls try again after the open time (probes), a failed one keeps it open (re-opens), and calls
// come back when the dependency is well (closes). Calls of all instances of the service are taken together.
// Pure.
Judgement JudgeCircuitBreaker(const CircuitBreaker& spec, const Timeline& timeline);

}  // namespace squall
