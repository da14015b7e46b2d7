#pragma once

#include <cstdint>
#include <string>

#include "absl/strings/string_view.h"
#include "controller/assertions/gates.h"
#include "controller/assertions/judge.h"
#include "proto/verdict.pb.h"

namespace squall {

// INCONCLUSIVE for this reason; more data may change that. What else `verdict` holds (details, samples) is
// kept.
Judgement Obstructed(Obstacle obstacle, Verdict verdict = {});

void AddDetail(Verdict& verdict, absl::string_view name, std::string value);

// Adds the trace id of a request that broke the promise, up to ten.
void AddExample(Verdict& verdict, const Timeline& timeline, const Load& load, const Request& request);

}  // namespace squall
