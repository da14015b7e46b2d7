#include "controller/assertions/fault_time.h"

#include <algorithm>

#include "absl/strings/str_join.h"
#include "controller/process_faults.h"

namespace squall {
namespace {

std::vector<FaultTime::Part> AllParts(const Timeline& timeline) {
  std::vector<FaultTime::Part> parts;
  for (const Fault& fault : timeline.header.scenario().faults()) {
    const FaultSpan* span = timeline.FindFault(fault.name());
    if (span != nullptr) parts.push_back({&fault, span});
  }
  return parts;
}

}  // namespace

std::optional<int64_t> OverAt(const Timeline& timeline, const FaultTime::Part& part) {
  if (part.span->healing_not_confirmed) return std::nullopt;
  if (!LeavesDead(*part.fault)) return part.span->healed_ns;
  // Its "healed" only means that there is nothing to undo. It acts as long as faults do.
  std::optional<int64_t> over = timeline.PhaseStart(PhaseEvent::RECOVERY);
  if (!over && timeline.footer) over = timeline.footer->at_ns();
  if (over && part.span->healed_ns) over = std::max(*over, *part.span->healed_ns);
  return over;
}

bool FaultTime::AllKills() const {
  return std::all_of(parts.begin(), parts.end(), [](const Part& part) { return part.fault->has_kill(); });
}

bool FaultTime::AnyDeath() const {
  return std::any_of(parts.begin(), parts.end(), [](const Part& part) { return EndsService(*part.fault); });
}

std::string FaultTime::Names() const {
  return absl::StrJoin(parts, " and ",
                       [](std::string* out, const Part& part) { out->append(part.span->name); });
}

bool FaultTime::Includes(const FaultSpan& span) const {
  return std::any_of(parts.begin(), parts.end(), [&](const Part& part) { return part.span == &span; });
}

FaultTime TimeOf(const Timeline& timeline, absl::string_view name) {
  FaultTime time;
  for (const FaultTime::Part& part : AllParts(timeline)) {
    if (name.empty() || part.fault->name() == name) time.parts.push_back(part);
  }
  if (time.parts.empty()) return time;

  int64_t injected_ns = INT64_MAX;
  int64_t over_ns = INT64_MIN;
  bool all_injected = true;
  bool all_over = true;
  for (const FaultTime::Part& part : time.parts) {
    if (part.span->injected_ns) {
      injected_ns = std::min(injected_ns, *part.span->injected_ns);
    } else {
      all_injected = false;
    }
    const std::optional<int64_t> over = OverAt(timeline, part);
    if (!over) {
      all_over = false;
    } else if (*over >= over_ns) {
      over_ns = *over;
      time.healing_took_ns = part.span->heal_asked_ns && part.span->healed_ns
                                 ? *part.span->healed_ns - *part.span->heal_asked_ns
                                 : 0;
    }
  }
  if (all_injected) time.injected_ns = injected_ns;
  if (all_injected && all_over) time.over_ns = std::max(over_ns, injected_ns);
  return time;
}

int64_t ClearedAt(const FaultTime& time) {
  int64_t cleared_ns = *time.injected_ns;
  for (const FaultTime::Part& part : time.parts) {
    const std::optional<int64_t>& at_ns = LeavesDead(*part.fault) ? part.span->injected_ns : part.span->healed_ns;
    cleared_ns = std::max(cleared_ns, at_ns.value_or(*time.over_ns));
  }
  return cleared_ns;
}

int64_t CrossHostNs(const Timeline& timeline) {
  const Header& header = timeline.header;
  // Either of the two may be off by as much.
  return header.agent_clock_uncertainty_ns_size() > 1 ? 2 * header.clock_uncertainty_ns() : 0;
}

std::optional<int64_t> FirstInjection(const Timeline& timeline) {
  std::optional<int64_t> first;
  for (const FaultSpan& span : timeline.faults) {
    if (!span.injected_ns) continue;
    // A service that was asked to stop may take its time, and the injection is confirmed when it is gone.
    const int64_t signalled_ns = span.evidence.signalled_ns();
    const int64_t began_ns = signalled_ns > 0 ? std::min(signalled_ns, *span.injected_ns) : *span.injected_ns;
    if (!first || began_ns < *first) first = began_ns;
  }
  return first;
}

std::optional<int64_t> NextOtherInjection(const Timeline& timeline, const FaultTime& time, int64_t after_ns) {
  std::optional<int64_t> next;
  for (const FaultSpan& span : timeline.faults) {
    if (!span.injected_ns || *span.injected_ns <= after_ns || time.Includes(span)) continue;
    if (!next || *span.injected_ns < *next) next = span.injected_ns;
  }
  return next;
}

std::optional<int64_t> LoadChangesAt(const Timeline& timeline, int64_t after_ns) {
  for (const PhaseEvent& event : timeline.phases) {
    const bool changes = event.phase() == PhaseEvent::REST || event.phase() == PhaseEvent::CUT_TO_HALF;
    if (changes && event.at_ns() > after_ns) return event.at_ns();
  }
  return std::nullopt;
}

std::string HungUpBy(const Timeline& timeline, absl::string_view load, int64_t from_ns, int64_t to_ns) {
  for (const FaultTime::Part& part : AllParts(timeline)) {
    if (!part.fault->has_abandon() || part.fault->abandon().load() != load || !part.span->injected_ns) continue;
    const int64_t over_ns = OverAt(timeline, part).value_or(INT64_MAX);
    if (*part.span->injected_ns < to_ns && over_ns > from_ns) return part.span->name;
  }
  return "";
}

std::string OtherActingAt(const Timeline& timeline, const FaultTime& time, int64_t at_ns) {
  for (const FaultTime::Part& part : AllParts(timeline)) {
    if (time.Includes(*part.span) || !part.span->injected_ns || *part.span->injected_ns > at_ns) continue;
    const std::optional<int64_t> over = OverAt(timeline, part);
    if (!over || *over > at_ns) return part.span->name;
  }
  return "";
}

}  // namespace squall
