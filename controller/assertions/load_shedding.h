#pragma once

#include "controller/assertions/judge.h"
#include "controller/assertions/stalls.h"
#include "controller/timeline.h"
#include "proto/assertion.pb.h"

namespace squall {

// Under a surge to twice its capacity a service serves nearly as much as it can, turns the rest away quickly, and is as
// before soon after. Pure.
Judgement JudgeLoadShedding(const LoadShedding& spec, const Timeline& timeline, const Stalls& stalls);
inline Judgement JudgeLoadShedding(const LoadShedding& spec, const Timeline& timeline) {
  return JudgeLoadShedding(spec, timeline, Stalls(timeline.stalls));
}

}  // namespace squall
