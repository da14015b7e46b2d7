#pragma once

#include "controller/assertions/judge.h"
#include "controller/assertions/stalls.h"
#include "proto/assertion.pb.h"

namespace squall {

// A rate limiter admits what it promises: in no interval more than its model allows, and not less. Whatever is decided
// about a request is decided between its sending and its answer, so that what is said of the limiter holds for any that
// stands in front of the service, whatever clock it has.
Judgement JudgeRateLimiter(const RateLimiter& spec, const Timeline& timeline, const Stalls& stalls);
inline Judgement JudgeRateLimiter(const RateLimiter& spec, const Timeline& timeline) {
  return JudgeRateLimiter(spec, timeline, Stalls(timeline.stalls));
}

}  // namespace squall
