#pragma once

#include "controller/assertions/judge.h"
#include "controller/assertions/stalls.h"
#include "controller/timeline.h"
#include "proto/assertion.pb.h"

namespace squall {

// A service that is sent a signal that asks it to stop answers what it has begun, exits by itself in time and with a good status, and
// leaves what comes afterwards to others. Pure.
Judgement JudgeGracefulShutdown(const GracefulShutdown& spec, const Timeline& timeline, const Stalls& stalls);

}  // namespace squall
