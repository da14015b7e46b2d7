#pragma once

#include "absl/strings/string_view.h"
#include "controller/assertions/judge.h"
#include "controller/assertions/stalls.h"
#include "controller/timeline.h"
#include "proto/assertion.pb.h"

namespace squall {

// A service writes lines that match a pattern in a part of the run, or none. `name`: the assertion's, by which the agent has
// recorded what matched. A service that wrote nothing at all proves nothing by it. Pure.
Judgement JudgeLog(const LogPattern& spec, absl::string_view name, const Timeline& timeline, const Stalls& stalls);

}  // namespace squall
