#include "controller/assertions/during.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "controller/assertions/fault_time.h"
#include "controller/assertions/gates.h"

namespace squall {
namespace {

bool IsAboutFaults(During during) { return during != DURING_ALWAYS && during != DURING_BASELINE; }

// Where no load is sent, the baseline counts from its phase on.
std::optional<int64_t> FirstRequest(const Timeline& timeline) {
  std::optional<int64_t> first;
  for (const auto& [load, requests] : timeline.requests) {
    if (requests.empty()) continue;
    const int64_t at_ns = requests.front().intended_ns;
    if (!first || at_ns < *first) first = at_ns;
  }
  return first ? first : timeline.PhaseStart(PhaseEvent::BASELINE);
}

// How far the run has come, without the time in which services are stopped.
int64_t EndOfRun(const Timeline& timeline) {
  if (!timeline.footer) return timeline.last_ns;
  std::optional<int64_t> end;
  for (const auto& [load, requests] : timeline.requests) {
    if (!requests.empty()) end = std::max(end.value_or(0), requests.back().intended_ns);
  }
  if (!end) return timeline.footer->at_ns();
  for (const auto& [service, snapshots] : timeline.snapshots) {
    if (!snapshots.empty()) end = std::max(*end, snapshots.back().at_ns());
  }
  for (const PhaseEvent& phase : timeline.phases) {
    if (phase.phase() != PhaseEvent::DONE) end = std::max(*end, phase.at_ns());
  }
  return std::min(*end, timeline.footer->at_ns());
}

bool CameToItsEnd(const Timeline& timeline) {
  return timeline.footer && (timeline.footer->ending() == Footer::COMPLETED || timeline.footer->ending() == Footer::NOT_STEADY);
}

// Loads do what they do in the baseline until something is injected, limits are tried, or they rest.
std::optional<int64_t> BaselineEnd(const Timeline& timeline) {
  std::optional<int64_t> end = FirstInjection(timeline);
  for (const PhaseEvent::Phase phase : {PhaseEvent::LIMITS, PhaseEvent::REST}) {
    const std::optional<int64_t> at_ns = timeline.PhaseStart(phase);
    if (at_ns && (!end || *at_ns < *end)) end = at_ns;
  }
  return end;
}

}  // namespace

std::optional<Span> SpanOf(During during, absl::string_view fault, const Timeline& timeline) {
  const int64_t now_ns = EndOfRun(timeline);
  const auto until = [&](int64_t begin_ns, std::optional<int64_t> end_ns) {
    const bool over = end_ns.has_value() || CameToItsEnd(timeline);
    return Span{begin_ns, std::max(begin_ns, end_ns.value_or(now_ns)), over};
  };
  if (!IsAboutFaults(during)) {
    const std::optional<int64_t> first = FirstRequest(timeline);
    if (!first) return std::nullopt;
    return until(*first, during == DURING_BASELINE ? BaselineEnd(timeline) : std::nullopt);
  }
  const FaultTime time = TimeOf(timeline, fault);
  if (during == DURING_AFTER) {
    if (!time.over_ns) return std::nullopt;
    // The fault's host may have been early with its "healed", as the clock of another has it.
    return until(*time.over_ns + CrossHostNs(timeline), std::nullopt);
  }
  if (!time.injected_ns) return std::nullopt;
  return until(*time.injected_ns, time.over_ns);
}

std::optional<Obstacle> DuringGate(During during, absl::string_view fault, const Timeline& timeline) {
  if (auto obstacle = SteadyGate(timeline)) return obstacle;
  if (IsAboutFaults(during)) {
    const bool must_be_over = during == DURING_AFTER || timeline.footer.has_value();
    return FaultGate(timeline, TimeOf(timeline, fault), must_be_over);
  }
  if (SpanOf(during, fault, timeline)) return std::nullopt;
  return Obstacle{"no request was sent", timeline.footer ? "run it to its end" : ""};
}

std::string DuringText(During during, absl::string_view fault, const Timeline& timeline) {
  if (during == DURING_ALWAYS) return "during the run";
  if (during == DURING_BASELINE) return "before the first fault";
  const FaultTime time = TimeOf(timeline, fault);
  const bool after = during == DURING_AFTER;
  if (time.parts.size() == 1) {
    return after ? absl::StrCat("after ", time.Names(), " was over") : absl::StrCat("while ", time.Names(), " acted");
  }
  return after ? "after the last fault was over" : "while the faults acted";
}

}  // namespace squall
