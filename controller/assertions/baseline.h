#pragma once

#include <cstdint>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "controller/assertions/stalls.h"
#include "controller/assertions/windows.h"
#include "controller/timeline.h"

namespace squall {

// How a load fared before anything was injected: the yardstick of the assertions. Plain data.
struct Baseline {
  int64_t begin_ns = 0;  // after the warm-up
  int64_t end_ns = 0;    // at most the first injection
  int64_t window_ns = 0;
  std::vector<Window> windows;
  int64_t left_out = 0;  // windows for most of which the machine stood still
  // When the machine stood still. What happened while others had the cores stays: a baseline that was measured then asks less of
  // the service, so that what breaks it is broken.
  Stalls stalls{{}};

  // Medians over the windows that are neither left out nor empty.
  double p50_ns = 0;
  double p95_ns = 0;
  double error_percent = 0;
  double ok_percent = 0;

  // The shortest time from sending to an `ok` answer: what the path and the service take at least. 0: none
  // was `ok`.
  int64_t fastest_ns = 0;
};

// Windows from the load's start until limits are tried or to the first injection (else to the last record),
// without the first, in which the service warms up.
Baseline BaselineOf(const Timeline& timeline, const Load& load);

// The requests of the baseline.
absl::Span<const Request> BaselineRequests(const Timeline& timeline, const Load& load,
                                           const Baseline& baseline);

// The load of this name in the timeline's scenario; nullptr: none.
const Load* FindLoad(const Timeline& timeline, absl::string_view name);

}  // namespace squall
