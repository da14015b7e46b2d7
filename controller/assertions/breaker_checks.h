#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>

#include "controller/assertions/breaker_scene.h"
#include "controller/assertions/breaker_states.h"
#include "proto/verdict.pb.h"

namespace squall {

// What one check of a circuit breaker found.
struct Finding {
  Finding(std::string check, Verdict::Result found, std::string seen = "")
      : name(std::move(check)), result(found), text(std::move(seen)) {}

  // Sets the figures of a check that took so long.
  void Took(int64_t ns, int64_t limit_ns);

  std::string name;  // "opens"
  Verdict::Result result;
  std::string text;    // what was seen, against what
  std::string advice;  // INCONCLUSIVE only
  std::string measured;
  std::string limit;
  std::string margin;
  int64_t first_broken_ns = 0;
  int64_t took_ns = 0;
  bool pending = false;  // more data may still decide it
};

// Calls stop: the first span of at least 3 bins with 20 calls expected, in which at most 5 % of them came.
// The clock starts at the first failed call. Sets *opened_ns to the last call before the quiet; leaves it
// where calls never stopped, or went on evenly at a lower rate, as behind a bulkhead or a limiter. Where a name cannot be
// resolved only `own`, what the breaker says itself, can tell.
Finding CheckOpens(const BreakerScene& scene, const StateSpans& own, std::optional<int64_t>* opened_ns);

// p99 of the requests that were sent while nothing was called. Sets the verdict's samples, and examples where
// it fails. `instances`: how many breakers `scene` takes together, all of which were open from `opened_ns` on.
Finding CheckFailsFast(const BreakerScene& scene, int64_t opened_ns, size_t instances, Verdict* verdict);

// Calls come back and are answered, at 90 % of what is expected for 3 windows in a row. Sets *closed_ns to when that was.
Finding CheckCloses(const BreakerScene& scene, const std::optional<int64_t>& opened_ns,
                    std::optional<int64_t>* closed_ns);

// For `stays_closed`: in 99 % of the windows of the fault 90 % of the expected calls or more.
Finding CheckStaysClosed(const BreakerScene& scene);

}  // namespace squall
