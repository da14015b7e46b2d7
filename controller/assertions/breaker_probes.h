#pragma once

#include <cstdint>
#include <vector>

#include "controller/assertions/breaker_checks.h"
#include "controller/assertions/breaker_scene.h"

namespace squall {

// Calls that came through together after a quiet time: probes.
struct Episode {
  int64_t first_ns = 0;
  int64_t last_ns = 0;          // start of its last call
  int64_t end_ns = 0;           // when its last call was over
  int64_t gap_ns = 0;           // since the call before it
  int64_t first_failed_ns = 0;  // when its first failure was known; 0: none failed
  int64_t calls = 0;
  int64_t failed = 0;
};

// The episodes that begin in (opened_ns, until_ns). A call of half the open time or more after the one before
// begins an episode, to which those belong that start before its last call is over.
std::vector<Episode> EpisodesOf(const BreakerScene& scene, int64_t opened_ns, int64_t until_ns);

// After a quiet open time a few calls come, no more than `probes` at once, and when they fail it is quiet
// again.
Finding CheckProbes(const BreakerScene& scene, int64_t opened_ns);

// The same for a dead peer, and where calls vanish, where attempts are only counted: no more than the open times since the opening
// allow.
Finding CheckAttemptsWhileDead(const BreakerScene& scene, int64_t opened_ns);

}  // namespace squall
