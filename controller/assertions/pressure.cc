#include "controller/assertions/pressure.h"

#include <algorithm>

#include "controller/assertions/attempts.h"
#include "controller/assertions/durations.h"

namespace squall {
namespace {

// Requests that waited at the same time, on average: the sum of their waits over the span.
double InFlight(const Timeline& timeline, const Load& load, int64_t begin_ns, int64_t end_ns) {
  const auto found = timeline.requests.find(load.name());
  if (found == timeline.requests.end() || end_ns <= begin_ns) return 0;
  double waited_ns = 0;
  // Those that were due earlier may still wait; none waits longer than its client.
  for (const Request& request : IntendedWithin(found->second, begin_ns - Nanos(load.give_up_after()), end_ns)) {
    waited_ns += static_cast<double>(std::max<int64_t>(std::min(request.end_ns, end_ns) - std::max(request.intended_ns, begin_ns), 0));
  }
  return waited_ns / static_cast<double>(end_ns - begin_ns);
}

double CallsEach(const Timeline& timeline, absl::string_view edge, const Load& load, int64_t begin_ns, int64_t end_ns) {
  const Attempts attempts(timeline, edge, load.name(), begin_ns, end_ns);
  const double requests = attempts.Requests(0, attempts.bins());
  return requests <= 0 ? 0 : attempts.Calls(0, attempts.bins()) / requests;
}

}  // namespace

Pressure PressureOf(const Timeline& timeline, absl::string_view edge, const Load& load, const Baseline& baseline, int64_t begin_ns,
                    int64_t end_ns) {
  Pressure pressure;
  if (!edge.empty()) {
    const double before = CallsEach(timeline, edge, load, baseline.begin_ns, baseline.end_ns);
    if (before > 0) pressure.amplification = CallsEach(timeline, edge, load, begin_ns, end_ns) / before;
  }
  const double before = InFlight(timeline, load, baseline.begin_ns, baseline.end_ns);
  if (before > 0) pressure.in_flight = InFlight(timeline, load, begin_ns, end_ns) / before;
  return pressure;
}

}  // namespace squall
