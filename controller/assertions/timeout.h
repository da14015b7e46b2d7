#pragma once

#include "controller/assertions/judge.h"
#include "controller/timeline.h"
#include "proto/assertion.pb.h"

namespace squall {

// Requests that run into the service's deadline are answered at the deadline: not later, and not sooner.
// Counted from the actual send, so that a late generator loosens nothing. Pure.
Judgement JudgeTimeout(const Timeout& spec, const Timeline& timeline);

}  // namespace squall
