#pragma once

#include "proto/suite.pb.h"

namespace squall {

// Fills in the exit codes of a suite's scenarios and of the suite from its runs. Pure. The most serious wins; a run that was
// replaced by another does not count, and one INCONCLUSIVE of a suite that only warns counts in its scenario, not in the
// suite. What was not run is INCONCLUSIVE whatever the suite does with that, or INTERRUPTED: nothing was seen.
void Conclude(SuiteResult& suite);

// The scenario had fewer runs that count than were asked for.
bool IsIncomplete(const ScenarioResult& scenario);

// Whether a run with this exit code is one after which --fail-fast starts nothing more.
bool EndsFailFast(int exit_code, SuiteResult::Inconclusive inconclusive);

}  // namespace squall
