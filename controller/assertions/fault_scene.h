#pragma once

#include <cstdint>
#include <optional>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "controller/assertions/baseline.h"
#include "controller/assertions/fault_time.h"
#include "controller/assertions/gates.h"
#include "controller/assertions/stalls.h"
#include "controller/timeline.h"

namespace squall {

// A load, the fault that it suffers, and how it fared before. Points into the timeline, which must outlive it. Plain data.
struct FaultScene {
  const Load* load = nullptr;
  FaultTime time;
  Baseline baseline;
  absl::Span<const Request> requests;  // all of the load, in the order of their intended start
  int64_t begin_ns = 0;                // the fault was injected
  int64_t over_ns = 0;                 // it was over
  int64_t complete_ns = 0;             // everything before is in the timeline, calls too

  // What was due while the fault acted.
  absl::Span<const Request> During() const { return IntendedWithin(requests, begin_ns, over_ns); }
  double Seconds() const { return static_cast<double>(over_ns - begin_ns) / 1e9; }
};

// Fills in the scene of the fault of this name, of all faults when it is empty, once every gate is open: the fault is over.
std::optional<Obstacle> SetScene(absl::string_view load, absl::string_view fault, const Timeline& timeline, const Stalls& stalls,
                                 FaultScene& scene);

// How long the request took, without what moments at which the machine stood still explain of it.
int64_t OwnLatencyNs(const Request& request, const Stalls& stalls);
int64_t OwnAnswerNs(const Request& request, const Stalls& stalls);

}  // namespace squall
