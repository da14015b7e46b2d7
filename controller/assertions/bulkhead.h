#pragma once

#include "controller/assertions/judge.h"
#include "controller/assertions/stalls.h"
#include "controller/timeline.h"
#include "proto/assertion.pb.h"

namespace squall {

// Calls to a dependency that hangs stay within a limit, and requests that do not need it are served as before. Pure.
Judgement JudgeBulkhead(const Bulkhead& spec, const Timeline& timeline, const Stalls& stalls);
inline Judgement JudgeBulkhead(const Bulkhead& spec, const Timeline& timeline) {
  return JudgeBulkhead(spec, timeline, Stalls(timeline.stalls));
}

}  // namespace squall
