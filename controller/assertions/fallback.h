#pragma once

#include "controller/assertions/judge.h"
#include "controller/assertions/stalls.h"
#include "controller/timeline.h"
#include "proto/assertion.pb.h"

namespace squall {

// While a dependency is gone, requests are answered all the same: `ok` or `degraded`. Pure.
Judgement JudgeFallback(const Fallback& spec, const Timeline& timeline, const Stalls& stalls);
inline Judgement JudgeFallback(const Fallback& spec, const Timeline& timeline) {
  return JudgeFallback(spec, timeline, Stalls(timeline.stalls));
}

}  // namespace squall
