#pragma once

#include <atomic>
#include <functional>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "controller/plan.h"
#include "controller/scenario.h"
#include "controller/timeline.h"
#include "proto/verdict.pb.h"

namespace squall {

// What is going on, for a person who watches.
struct Progress {
  PhaseEvent::Phase phase = PhaseEvent::PHASE_UNSPECIFIED;
  std::string doing;                  // before the first phase and after the last: "starting services"
  absl::Duration elapsed;             // since the load started
  absl::Duration left;                // at most
  const Plan* plan = nullptr;
  absl::Duration faults_at;           // when the faults' clock started, since the load started
  std::vector<std::string> injected;  // what is on now, in words
  // Of the last whole second, all loads together.
  double offered = 0, ok = 0, degraded = 0, rejected = 0, errors = 0;  // per second
  absl::Duration p99;
  double arrivals = 0;  // calls at all edges, per second
};

struct RunOptions {
  std::string runs_folder = "squall-runs";
  std::string agent;  // unix:PATH; empty: those that the scenario names, or a child of our own
  const std::atomic<int>* interrupts = nullptr;         // signals that ask for an end
  bool inconclusive_fails = true;                       // in junit.xml: else such a case is skipped
  bool placebo = false;                                 // nothing is injected: only the times of the faults are recorded
  std::function<void(const Progress&)> on_progress;     // a few times a second
  std::function<void(const std::string&)> on_event;     // one line for each thing that happens
};

struct FinishedRun {
  RunResult result;
  Timeline timeline;
  std::string folder;
};

// Carries out a scenario without mistakes: the only code of the controller that waits. Whatever happens on the way stands
// in the result; an error only when not even the run's folder could be written.
// Several may be carried out at once, each on a thread of its own: the agent that a run starts ends with its thread.
absl::StatusOr<FinishedRun> RunScenario(const LoadedScenario& loaded, const RunOptions& options);

}  // namespace squall
