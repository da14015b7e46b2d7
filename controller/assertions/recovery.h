#pragma once

#include "controller/assertions/judge.h"
#include "controller/assertions/stalls.h"
#include "controller/timeline.h"
#include "proto/assertion.pb.h"

namespace squall {

// After a fault, latency, errors and goodput of a load are as they were before it, within a budget. Pure.
Judgement JudgeRecovery(const Recovery& spec, const Timeline& timeline, const Stalls& stalls);
inline Judgement JudgeRecovery(const Recovery& spec, const Timeline& timeline) {
  return JudgeRecovery(spec, timeline, Stalls(timeline.stalls));
}

// Whether the load has not come back by itself: what cutting it to nothing then tells is worth asking. Pure.
bool IsStuck(const Recovery& spec, const Timeline& timeline);

}  // namespace squall
