#pragma once

#include <string>
#include <vector>

#include "absl/time/time.h"
#include "proto/scenario.pb.h"
#include "proto/timeline.pb.h"

namespace squall {

struct PlannedFault {
  const Fault* fault = nullptr;  // in the scenario that the plan was made of
  absl::Duration at;             // from the end of the baseline, or of the limits after it
  absl::Duration until;          // likewise; for kill: when the service is started again, or the last signal sent
};

// When what happens. Pure function of the scenario.
struct Plan {
  absl::Duration window;             // max(1 s, 20 / rate)
  absl::Duration baseline;           // at least 10 windows, and one to warm up
  absl::Duration limits;             // after the baseline: what rate limiters are offered, while nothing is injected
  // For no_leak: the loads rest before the first fault, after each time of one that repeats, and after the recovery. Zero: never.
  absl::Duration rest;               // of one of them, at most
  std::vector<PlannedFault> faults;  // in the order of `at`
  absl::Duration faults_end;         // at most, from the same moment as theirs
  absl::Duration recovery;           // at most; ends early once all assertions are final
  // When a recovery with `confirm_metastable` has failed: the load is cut to half and to nothing for `cut` each, and restored for
  // `restored`. Zero: never.
  absl::Duration cut;
  absl::Duration restored;
  absl::Duration Longest() const { return FaultsStart() + faults_end + recovery + 2 * cut + restored + rest; }
  absl::Duration FaultsStart() const { return baseline + limits + WholeRest(); }
  // The rest, and what the service then has to warm up again.
  absl::Duration WholeRest() const { return rest > absl::ZeroDuration() ? rest + window : absl::ZeroDuration(); }
};

// The scenario must be without mistakes and outlive the plan.
Plan MakePlan(const Scenario& scenario);

// How long after the last fault the assertion needs to be judged, at most. Zero: it needs nothing of that time.
absl::Duration RecoveryFor(const Assertion& assertion, absl::Duration window);

// A window is long enough for so many requests at the load's lowest rate.
inline constexpr int kRequestsInWindow = 20;

// The window in which requests of this load are judged: max(1 s, 20 / rate).
absl::Duration JudgedWindow(const Load& load);

// What `squall check` prints: who, what, when, scope, mechanism, undone by what. At most 100 columns wide.
std::string DescribePlan(const Scenario& scenario, const Plan& plan);

// For a service that a dns fault is about, or with `resolver_at`: how its queries are reached.
std::string ResolverMechanism(const Service& service);
// The same for faults that an operator injects by hand: without load, baseline, recovery and assertions. At most `columns`
// wide, where that is 60 or more.
std::string DescribeInjection(const Scenario& scenario, const Plan& plan, int columns);

// "baseline", "no load".
std::string PhaseName(PhaseEvent::Phase phase);

// "500 ms on every response over recommend", "SIGKILL to recommend, started again after 4 s".
std::string DescribeFault(const Fault& fault);

// Names in the schema, as users write them: "latency", "kill"; "timeout", "recovery".
std::string FaultKind(const Fault& fault);
std::string AssertionKind(const Assertion& assertion);

}  // namespace squall
