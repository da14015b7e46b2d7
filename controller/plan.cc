#include "controller/plan.h"

#include <algorithm>
#include <map>

#include "absl/strings/string_view.h"
#include "base/durations.h"
#include "base/messages.h"
#include "controller/limiter_steps.h"
#include "google/protobuf/descriptor.h"
#include "proto/options.pb.h"

namespace squall {
namespace {

// A baseline needs ten windows; the first may still be warming up.
constexpr int kBaselineWindows = 11;
constexpr int kLeastRecoveryWindows = 5;
// Three to see that a breaker has closed, and one that was cut short.
constexpr int kClosingWindows = 4;
constexpr absl::Duration kLeastWindow = absl::Seconds(1);
// For what is said of the time after the faults without a budget.
constexpr int kAfterWindows = 10;
// From when a service that has not recovered counts as stuck.
constexpr absl::Duration kLeastSlow = absl::Seconds(30);
// What is asked once a second, or four times, is known by then.
constexpr absl::Duration kPolled = absl::Seconds(2);
// What a limiter is judged by when its load only has a rate and nothing is injected.
constexpr absl::Duration kPlainRate = absl::Seconds(20);
constexpr absl::Duration kLastAnswers = absl::Seconds(1);

// How long the fault acts. A kill acts until the service is started again, or until the last signal is sent.
absl::Duration Lasts(const Fault& fault) {
  if (!fault.has_kill()) return ToDuration(fault.for_());
  return std::max(ToDuration(fault.kill().restart_after()), ToDuration(fault.kill().grace()));
}

// The times of the faults in the order of the scenario. What waits for itself starts as if it waited for
// nothing.
std::vector<PlannedFault> TimesOf(const Scenario& scenario) {
  std::vector<PlannedFault> planned;
  std::map<absl::string_view, size_t> index;
  for (const Fault& fault : scenario.faults()) {
    index.emplace(fault.name(), planned.size());
    const absl::Duration at = ToDuration(fault.at());
    planned.push_back({&fault, at, at + Lasts(fault)});
  }
  std::vector<bool> settled(planned.size(), false);
  for (bool progress = true; progress;) {
    progress = false;
    for (size_t i = 0; i < planned.size(); ++i) {
      if (settled[i]) continue;
      const auto before = index.find(planned[i].fault->after());
      const bool waits = !planned[i].fault->after().empty() && before != index.end();
      if (waits && !settled[before->second]) continue;
      if (waits) {
        planned[i].at += planned[before->second].until;
        planned[i].until += planned[before->second].until;
      }
      settled[i] = progress = true;
    }
  }
  return planned;
}

// What an assertion about the time after the faults needs, whatever its budgets.
absl::Duration AfterFor(During during, absl::Duration window) {
  return during == DURING_AFTER || during == DURING_ALWAYS ? kAfterWindows * window : absl::ZeroDuration();
}

// What the load needs of the time before the first fault. The last of planned steps goes on for ever.
absl::Duration LimitsFor(const Load& load, bool any_faults) {
  const bool planned = HasPlannedSteps(load);
  if (!planned && any_faults) return absl::ZeroDuration();
  if (load.steps().empty()) return kPlainRate;
  absl::Duration length = kLastAnswers;
  for (int i = 0; i < load.steps_size() - (planned ? 1 : 0); ++i) length += ToDuration(load.steps(i).for_());
  return length;
}

absl::Duration LimitsOf(const Scenario& scenario) {
  absl::Duration longest;
  for (const Assertion& assertion : scenario.assertions()) {
    if (!assertion.has_rate_limiter()) continue;
    for (const Load& load : scenario.load()) {
      if (load.name() != assertion.rate_limiter().load()) continue;
      longest = std::max(longest, LimitsFor(load, !scenario.faults().empty()));
    }
  }
  return longest;
}

// The name in YAML of the field that is set in the oneof `kind`; empty: none.
std::string KindName(const google::protobuf::Message& message) {
  const google::protobuf::FieldDescriptor* field = KindField(message);
  if (field == nullptr) return "";
  const std::string& other = field->options().GetExtension(rules).yaml();
  return other.empty() ? field->name() : other;
}

}  // namespace

absl::Duration RecoveryFor(const Assertion& assertion, absl::Duration window) {
  switch (assertion.kind_case()) {
    case Assertion::kRecovery: {
      const Recovery& recovery = assertion.recovery();
      absl::Duration budget = ToDuration(recovery.within());
      // What comes back by itself within that is slow, and not metastable.
      if (recovery.confirm_metastable()) budget = std::max(kLeastSlow, 3 * budget);
      return budget + (recovery.windows() + 1) * window;
    }
    case Assertion::kCircuitBreaker:
      if (assertion.circuit_breaker().stays_closed()) return absl::ZeroDuration();
      return ToDuration(assertion.circuit_breaker().closes_within()) + kClosingWindows * window;
    case Assertion::kRetryBudget:
      return ToDuration(assertion.retry_budget().surge_for()) + window;
    case Assertion::kLoadShedding:
      return ToDuration(assertion.load_shedding().recovers_within()) + kClosingWindows * window;
    case Assertion::kAlert:
      return ToDuration(assertion.alert().resolves_within()) + kPolled;
    case Assertion::kGracefulShutdown:
      return ToDuration(assertion.graceful_shutdown().within()) + window;
    case Assertion::kHealth:
      if (assertion.health().stays_ready()) return absl::ZeroDuration();
      return ToDuration(assertion.health().ready_within()) + kPolled;
    case Assertion::kMetric:
      return std::max(AfterFor(assertion.metric().during(), window), ToDuration(assertion.metric().reached_within()) + kPolled);
    case Assertion::kLog:
      return AfterFor(assertion.log().during(), window);
    case Assertion::kTimeout:
    case Assertion::kRateLimiter:
    case Assertion::kTlsVerified:
    case Assertion::kBulkhead:
    case Assertion::kFallback:
    case Assertion::kNoLeak:
    case Assertion::KIND_NOT_SET:
      return absl::ZeroDuration();
  }
  return absl::ZeroDuration();
}

absl::Duration JudgedWindow(const Load& load) {
  double lowest = load.rate();
  for (const Step& step : load.steps()) {
    if (step.rate() > 0 && (lowest <= 0 || step.rate() < lowest)) lowest = step.rate();
  }
  if (lowest <= 0) return kLeastWindow;
  return std::max(kLeastWindow, absl::Seconds(kRequestsInWindow / lowest));
}

Plan MakePlan(const Scenario& scenario) {
  Plan plan;
  plan.window = kLeastWindow;
  for (const Load& load : scenario.load()) plan.window = std::max(plan.window, JudgedWindow(load));
  plan.baseline = kBaselineWindows * plan.window;
  plan.limits = LimitsOf(scenario);
  plan.faults = TimesOf(scenario);
  std::stable_sort(plan.faults.begin(), plan.faults.end(),
                   [](const PlannedFault& a, const PlannedFault& b) { return a.at < b.at; });
  for (const PlannedFault& planned : plan.faults) plan.faults_end = std::max(plan.faults_end, planned.until);
  for (const Assertion& assertion : scenario.assertions()) {
    plan.rest = std::max(plan.rest, ToDuration(assertion.no_leak().settle()));
  }
  for (const PlannedFault& planned : plan.faults) {
    // The faults' clock stands still while a supervisor is waited for, and while loads rest.
    plan.faults_end += ToDuration(planned.fault->kill().supervisor_within());
    if (!planned.fault->repeats().empty()) plan.faults_end += plan.WholeRest();
  }
  if (plan.faults.empty() && plan.limits > absl::ZeroDuration()) return plan;  // nothing to recover from
  plan.recovery = kLeastRecoveryWindows * plan.window;
  for (const Assertion& assertion : scenario.assertions()) {
    plan.recovery = std::max(plan.recovery, RecoveryFor(assertion, plan.window));
    const Recovery& recovery = assertion.recovery();
    if (!recovery.confirm_metastable()) continue;
    plan.cut = std::max(plan.cut, ToDuration(recovery.confirm_for()));
    plan.restored = std::max(plan.restored, ToDuration(recovery.within()) + (recovery.windows() + 1) * plan.window);
  }
  return plan;
}

std::string PhaseName(PhaseEvent::Phase phase) {
  switch (phase) {
    case PhaseEvent::BASELINE:
      return "baseline";
    case PhaseEvent::LIMITS:
      return "limits";
    case PhaseEvent::REST:
      return "rest";
    case PhaseEvent::RESTED:
      return "rested";
    case PhaseEvent::FAULTS:
      return "faults";
    case PhaseEvent::RECOVERY:
      return "recovery";
    case PhaseEvent::CUT_TO_HALF:
      return "half the load";
    case PhaseEvent::CUT_TO_NOTHING:
      return "no load";
    case PhaseEvent::RESTORED:
      return "load restored";
    case PhaseEvent::DONE:
      return "done";
    default:
      return "unknown";
  }
}

std::string FaultKind(const Fault& fault) { return KindName(fault); }

std::string AssertionKind(const Assertion& assertion) { return KindName(assertion); }

}  // namespace squall
