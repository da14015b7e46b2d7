#pragma once

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "proto/suite.pb.h"

namespace squall {

// The files of one suite: suite.json, junit.xml, index.html, and a folder for each run.

absl::StatusOr<std::string> MakeSuiteFolder(const std::string& runs_folder, const std::string& suite_id);

// Writes suite.json and junit.xml anew and, at the end, index.html. REQUIRES: concluded.
absl::Status WriteSuite(const std::string& folder, const SuiteResult& result, bool at_end);

// Whether the folder is one of a suite and not of a run.
bool IsSuiteFolder(const std::string& folder);

// Judges all runs of a suite again, from their timelines alone, and writes their reports and those of the suite. A run
// that cannot be read is one that squall failed in. An error when suite.json cannot be read or something not be written.
absl::StatusOr<SuiteResult> JudgeSuite(const std::string& folder);

// Which of the `names` of a folder of runs to delete so that the `keep` newest are left: names that do not look like those
// of a run or a suite are nobody's business here. Pure.
std::vector<std::string> ToPrune(std::vector<std::string> names, int keep);

// Deletes all but the `keep` newest runs and suites in `runs_folder`. One that squall did not finish stays while something
// was written to it within the last hour, since it may be going on. Returns what was deleted; an error when something could
// not be.
absl::StatusOr<std::vector<std::string>> Prune(const std::string& runs_folder, int keep);

}  // namespace squall
