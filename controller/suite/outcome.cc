#include "controller/suite/outcome.h"

#include <algorithm>

#include "controller/exit_code.h"

namespace squall {

bool IsIncomplete(const ScenarioResult& scenario) {
  const auto counting = std::count_if(scenario.runs().begin(), scenario.runs().end(),
                                      [](const SuiteRun& run) { return !run.replaced(); });
  return counting < scenario.repeat();
}

bool EndsFailFast(int exit_code, SuiteResult::Inconclusive inconclusive) {
  if (exit_code == kExitInconclusive) return inconclusive != SuiteResult::INCONCLUSIVE_WARN;
  return exit_code != kExitPass;
}

void Conclude(SuiteResult& suite) {
  const bool warns = suite.inconclusive() == SuiteResult::INCONCLUSIVE_WARN;
  int all = suite.scenarios().empty() ? kExitInconclusive : kExitPass;
  for (ScenarioResult& scenario : *suite.mutable_scenarios()) {
    int worst = kExitPass;
    for (const SuiteRun& run : scenario.runs()) {
      if (run.replaced()) continue;
      const int code = run.result().exit_code();
      worst = WorstExit(worst, code);
      all = WorstExit(all, warns && code == kExitInconclusive ? kExitPass : code);
    }
    if (IsIncomplete(scenario)) {
      const int unseen = suite.interrupted() ? kExitInterrupted : kExitInconclusive;
      worst = WorstExit(worst, unseen);
      all = WorstExit(all, unseen);
    }
    scenario.set_exit_code(worst);
  }
  suite.set_exit_code(all);
}

}  // namespace squall
