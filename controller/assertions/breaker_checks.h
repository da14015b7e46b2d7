#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>

#include "controller/assertions/breaker_scene.h"
#include "proto/verdict.pb.h"

namespace squall {

// What one check of a circuit breaker found.
struct Finding {
  Finding(std::string check, Verdict::Result found, std::string seen = "")
      : name(std::move(check)), result(found), text(std::move(seen)) {}

  std::string name;  // "opens"
  Verdict::Result result;
  std::string text;    // what was seen, against what
  std::string advice;  // INCONCLUSIVE only
  std::string measured;
  std::string limit;
  std::string margin;
  int64_t first_broken_ns = 0;
  bool pending = false;  // more data may still decide it
};

// Calls stop: the first span of at least 3 bins with 20 calls expected, in which at most 5 % of them came.
// The clock starts at the first failed call. Sets *opened_ns to the last call before the quiet; leaves it
// where calls never stopped.
Finding CheckOpens(const BreakerScene& scene, std::optional<int64_t>* opened_ns);

// p99 of the requests that were sent while nothing was called. Sets the verdict's samples, and examples where
// it fails.
Finding CheckFailsFast(const BreakerScene& scene, int64_t opened_ns, Verdict* verdict);

// After a quiet open time a few calls come, no more than `probes` at once, and when they fail it is quiet
// again.
Finding CheckProbes(const BreakerScene& scene, int64_t opened_ns);

// The same for a dead peer, where attempts are only counted: no more than the open times since the opening
// allow.
Finding CheckAttemptsWhileDead(const BreakerScene& scene, int64_t opened_ns);

// Calls come back and are answered, at 90 % of what is expected for 3 windows in a row.
Finding CheckCloses(const BreakerScene& scene);

}  // namespace squall
