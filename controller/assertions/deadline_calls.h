#pragma once

#include <cstdint>

#include "controller/assertions/judge.h"
#include "controller/assertions/stalls.h"
#include "controller/timeline.h"
#include "proto/assertion.pb.h"

namespace squall {

// What calls over the edge of a `timeout` are held against. Plain data.
struct DeadlineLimits {
  int64_t deadline_ns = 0;  // D
  int64_t margin_ns = 0;    // m
  int64_t path_ns = 0;      // there and back, and what the service takes at least
  int64_t begin_ns = 0;     // calls that began while the fault acted are judged
  int64_t end_ns = 0;
};

// Adds what `propagates` and `cancels` ask for to what the requests have shown: the worst counts, and its reason says which it
// is. Nothing where neither is asked for. REQUIRES: `judgement` holds the verdict about the requests.
void JudgeDeadlineCalls(const Timeout& spec, const DeadlineLimits& limits, const Timeline& timeline, const Stalls& stalls,
                        Judgement& judgement);

}  // namespace squall
