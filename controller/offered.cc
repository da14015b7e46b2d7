#include "controller/offered.h"

#include <algorithm>
#include <optional>
#include <utility>

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

// Higher by so much between these instants.
void Multiply(std::vector<OfferedSpan>& spans, int64_t begin_ns, int64_t end_ns, double times) {
  std::vector<OfferedSpan> cut;
  for (const OfferedSpan& span : spans) {
    const int64_t from_ns = std::clamp(begin_ns, span.begin_ns, span.end_ns), to_ns = std::clamp(end_ns, from_ns, span.end_ns);
    for (const OfferedSpan& part : {OfferedSpan{span.begin_ns, from_ns, span.per_second},
                                    OfferedSpan{from_ns, to_ns, times * span.per_second},
                                    OfferedSpan{to_ns, span.end_ns, span.per_second}}) {
      if (part.begin_ns < part.end_ns) cut.push_back(part);
    }
  }
  spans = std::move(cut);
}

std::vector<OfferedSpan> WithoutSurges(const Timeline& timeline, const Load& load) {
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

}  // namespace

std::vector<OfferedSpan> OfferedSpans(const Timeline& timeline, const Load& load) {
  std::vector<OfferedSpan> spans = WithoutSurges(timeline, load);
  for (const Fault& fault : timeline.header.scenario().faults()) {
    const FaultSpan* span = timeline.FindFault(fault.name());
    if (!fault.has_surge() || fault.surge().load() != load.name() || span == nullptr || !span->injected_ns) continue;
    Multiply(spans, *span->injected_ns, span->healed_ns.value_or(INT64_MAX), fault.surge().times());
  }
  if (const auto shares = timeline.load_shares.find(load.name()); shares != timeline.load_shares.end()) {
    for (size_t i = 0; i < shares->second.size(); ++i) {
      const bool last = i + 1 == shares->second.size();
      Multiply(spans, shares->second[i].at_ns(), last ? INT64_MAX : shares->second[i + 1].at_ns(), shares->second[i].share());
    }
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
