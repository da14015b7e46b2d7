#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "controller/assertions/gates.h"
#include "controller/assertions/limiter_scene.h"
#include "controller/timeline.h"

namespace squall {

// One promise of a rate limiter, held against what was seen.
struct LimiterCheck {
  enum State { kHolds, kBroken, kOpen };
  State state = kOpen;
  bool only_if_offered = false;  // a load with a rate or steps of its own need not show it
  std::string name;      // of its line among the details
  std::string figures;   // that line
  std::string reason;    // broken or open: one sentence
  std::string advice;    // open: what to change
  std::string measured, limit, margin;
  int64_t first_broken_ns = 0;
  std::vector<const Request*> examples;  // that broke it
};

// Each is a pure function of the scene.
// No interval has more admissions than the model allows, and the long run has not either.
LimiterCheck CheckBound(const LimiterScene& scene);
// What is too much is turned away as `rejected_when` says, and in no other way.
LimiterCheck CheckRejects(const LimiterScene& scene);
// Offered 0.8 R or less, nothing is rejected that there was room for.
LimiterCheck CheckBelow(const LimiterScene& scene);
// Offered 1.2 R or more for 10 s, R is admitted once the burst is spent.
LimiterCheck CheckAbove(const LimiterScene& scene);
// After a quiet time the full burst is there.
LimiterCheck CheckBursts(const LimiterScene& scene);
// Rejections are fast.
LimiterCheck CheckSpeed(const LimiterScene& scene);
// nginx: what waits in the queue waits no longer than the queue is.
LimiterCheck CheckQueue(const LimiterScene& scene);
// Rejections say when to come again, and mean it.
LimiterCheck CheckRetryAfter(const LimiterScene& scene);
// Loads with other keys do not feel it.
LimiterCheck CheckOther(const LimiterScene& scene, const std::string& other);

}  // namespace squall
