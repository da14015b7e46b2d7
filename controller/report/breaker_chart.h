#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "controller/report/chart.h"
#include "controller/timeline.h"

namespace squall {

// A circuit breaker over the time of a run, as two pictures over the same axis: its state, as the calls of
// each process show it and as its own metric tells it, with its probes; and the share of the usual calls that
// each process made.
struct BreakerChart {
  std::string name;  // of the assertion
  std::string edge;
  std::string note;    // what the pictures leave out, or why the metric tells nothing; may be empty
  std::string states;  // <svg>
  std::string calls;   // <svg>
  int64_t probes = 0;
};

// One for each circuit_breaker of the scenario of which anything could be judged. Pure.
std::vector<BreakerChart> BreakerCharts(const Timeline& timeline, const TimeFrame& frame);

// Share of the usual calls in each bin, in percent: of `source`, or of all callers. NaN where no request was
// sent.
Series ShareOfUsualCalls(const Timeline& timeline, const CircuitBreaker& spec, std::optional<uint32_t> source,
                         double calls_per_request, const TimeBins& bins);

}  // namespace squall
