#pragma once

#include <cstdint>
#include <optional>

#include "absl/strings/string_view.h"
#include "controller/assertions/baseline.h"
#include "controller/timeline.h"

namespace squall {

// What a load does to a service in a span, against the baseline: what keeps a service down after the fault is over. Plain data.
struct Pressure {
  // A: calls over the edge per request, as a multiple of the baseline's. Empty: no edge is named, or nothing was called before.
  std::optional<double> amplification;
  // Requests that wait at the same time, likewise. Empty: nobody waited before.
  std::optional<double> in_flight;

  // More work per request, or more of it at once, than before: the state feeds itself.
  bool IsHigh() const { return amplification.value_or(0) > 1.1 || in_flight.value_or(0) > 2; }
};

// `edge` may be empty.
Pressure PressureOf(const Timeline& timeline, absl::string_view edge, const Load& load, const Baseline& baseline, int64_t begin_ns,
                    int64_t end_ns);

}  // namespace squall
