#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "absl/strings/string_view.h"
#include "controller/assertions/baseline.h"
#include "controller/assertions/fault_time.h"
#include "controller/assertions/obstacle.h"
#include "controller/assertions/stalls.h"
#include "controller/timeline.h"

namespace squall {

// What must hold before an assertion may be judged at all. Each gate returns what stands in the way; nothing:
// it is open.

// The run found the service unsteady and so injected nothing.
std::optional<Obstacle> SteadyGate(const Timeline& timeline);

// The faults were injected and left evidence that they fired and, when `must_be_over`, healing was confirmed.
std::optional<Obstacle> FaultGate(const Timeline& timeline, const FaultTime& time, bool must_be_over);

// There are at least 10 windows before the first injection, and the machine ran in at least 90 % of them.
std::optional<Obstacle> BaselineGate(const Load& load, const Baseline& baseline, const Stalls& stalls);

// At least 99 % of the requests that were due in the span were sent, and no more of them late than `stalls` allow to leave out. What
// happened while the machine stood still is left out. Empty spans hold.
std::optional<Obstacle> GeneratorGate(const Timeline& timeline, const Load& load, int64_t begin_ns,
                                      int64_t end_ns, const Stalls& stalls);

// No more of `all` was left out than `stalls` allow. `noun`: "window", "request".
std::optional<Obstacle> StallGate(int64_t left_out, int64_t all, absl::string_view noun, const Stalls& stalls);

// How one load violates `steady` over its baseline, in one sentence; empty: it does not.
std::string Unsteadiness(const Timeline& timeline, const Load& load, const Stalls& stalls);

}  // namespace squall
