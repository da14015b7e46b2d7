#pragma once

#include "controller/assertions/judge.h"
#include "controller/assertions/stalls.h"
#include "controller/timeline.h"
#include "proto/assertion.pb.h"

namespace squall {

// A service says that it is not ready while a fault keeps it from its work, and that it is ready again afterwards; or it stays ready.
// Two looks in a row tell. Pure.
Judgement JudgeHealth(const Health& spec, const Timeline& timeline, const Stalls& stalls);

}  // namespace squall
