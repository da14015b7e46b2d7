#pragma once

#include "controller/assertions/judge.h"
#include "controller/assertions/stalls.h"
#include "controller/timeline.h"
#include "proto/assertion.pb.h"

namespace squall {

// Requests that run into the service's deadline are answered at the deadline: not later, and not sooner.
// Counted from the actual send, so that a late generator loosens nothing. Where it is asked for, the calls that they cause
// are told the deadline, and given up when it has passed. Pure.
Judgement JudgeTimeout(const Timeout& spec, const Timeline& timeline, const Stalls& stalls);
inline Judgement JudgeTimeout(const Timeout& spec, const Timeline& timeline) {
  return JudgeTimeout(spec, timeline, Stalls(timeline.stalls));
}

}  // namespace squall
