#include "controller/offered.h"

#include <algorithm>
#include <optional>

#include "controller/limiter_steps.h"

namespace squall {
namespace {

int64_t LengthNs(const Step& step) { return step.for_().seconds() * 1'000'000'000 + step.for_().nanos(); }

// When the load's steps began; none: not yet, or there are none.
std::optional<int64_t> StepsBegan(const Timeline& timeline, const Load& load) {
  if (load.steps().empty()) return std::nullopt;
  const bool in_limits = HasPlannedSteps(load) || timeline.header.scenario().faults().empty();
  return timeline.PhaseStart(in_limits ? PhaseEvent::LIMITS : PhaseEvent::FAULTS);
}

}  // namespace

std::vector<OfferedSpan> OfferedSpans(const Timeline& timeline, const Load& load) {
  const auto found = timeline.requests.find(load.name());
  if (found == timeline.requests.end() || found->second.empty()) return {};
  const int64_t first_ns = found->second.front().intended_ns;
  const int64_t last_ns = found->second.back().intended_ns + 1;
  const std::optional<int64_t> began_ns = StepsBegan(timeline, load);
  std::vector<OfferedSpan> spans;
  const auto add = [&](int64_t begin_ns, int64_t end_ns, double per_second) {
    end_ns = std::min(end_ns, last_ns);
    if (begin_ns < end_ns) spans.push_back({begin_ns, end_ns, per_second});
  };
  const double at_first = load.steps().empty() ? load.rate() : load.steps(0).rate();
  add(first_ns, began_ns.value_or(last_ns), at_first);
  if (!began_ns) return spans;
  int64_t at_ns = *began_ns;
  for (int i = 0; i < load.steps_size(); ++i) {
    const bool last = i + 1 == load.steps_size();
    add(at_ns, last ? last_ns : at_ns + LengthNs(load.steps(i)), load.steps(i).rate());
    at_ns += LengthNs(load.steps(i));
  }
  return spans;
}

int64_t PlannedStepsEndNs(const Timeline& timeline, const Load& load) {
  const std::optional<int64_t> began_ns = StepsBegan(timeline, load);
  if (!HasPlannedSteps(load) || !began_ns) return INT64_MAX;
  int64_t end_ns = *began_ns;
  for (int i = 0; i + 1 < load.steps_size(); ++i) end_ns += LengthNs(load.steps(i));
  return end_ns;
}

}  // namespace squall
