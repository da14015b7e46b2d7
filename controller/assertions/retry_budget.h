#pragma once

#include "controller/assertions/judge.h"
#include "controller/assertions/stalls.h"
#include "controller/timeline.h"
#include "proto/assertion.pb.h"

namespace squall {

// Calls over an edge, for each request of a load, stay within a multiple of what they are at the baseline, while calls fail and
// after. Pure.
Judgement JudgeRetryBudget(const RetryBudget& spec, const Timeline& timeline, const Stalls& stalls);
inline Judgement JudgeRetryBudget(const RetryBudget& spec, const Timeline& timeline) {
  return JudgeRetryBudget(spec, timeline, Stalls(timeline.stalls));
}

}  // namespace squall
