#pragma once

#include "controller/assertions/judge.h"
#include "controller/assertions/stalls.h"
#include "controller/timeline.h"
#include "proto/assertion.pb.h"

namespace squall {

// An alert fires in time once a fault acts, once, and is resolved in time when it is over. A monitor tells of alerts that are pending or
// fire, and of no others: as long as it answers, its silence means that the alert is inactive. Pure.
Judgement JudgeAlert(const Alert& spec, const Timeline& timeline, const Stalls& stalls);

}  // namespace squall
