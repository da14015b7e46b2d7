#pragma once

#include <cstdint>
#include <vector>

#include "controller/timeline.h"

namespace squall {

// A span of a run in which a load offered requests at one rate.
struct OfferedSpan {
  int64_t begin_ns = 0;
  int64_t end_ns = 0;
  double per_second = 0;
};

// Far more than the limit, after a time in which nothing was offered.
inline bool IsBurst(const OfferedSpan& before, const OfferedSpan& span, double limit_per_second) {
  return before.per_second == 0 && span.per_second >= 2.5 * limit_per_second;
}

// What the load offered when: its baseline, and then its steps, with the surges on it, until its last request; up to where the run
// has come. The instants at which steps and surges began are known to some milliseconds. Empty: it sent nothing. Pure.
std::vector<OfferedSpan> OfferedSpans(const Timeline& timeline, const Load& load);

// The end of the steps that the plan made for the load, as far as they are judged; INT64_MAX where the steps are not the plan's, or
// have not begun.
int64_t PlannedStepsEndNs(const Timeline& timeline, const Load& load);

}  // namespace squall
