#pragma once

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "controller/timeline.h"
#include "proto/verdict.pb.h"

namespace squall {

// The files of one run: scenario.yaml, timeline.squall, verdicts.json, junit.xml, report.html, logs/SERVICE.log.

// The id of a run or suite called `name`: sorts as it was started, and tells at a glance what it was. Pure.
std::string MakeRunId(const std::string& name, absl::Time now, uint64_t random);

// Makes RUNS/RUN_ID and its logs folder. The run must be new.
absl::StatusOr<std::string> MakeRunFolder(const std::string& runs_folder, const std::string& run_id);

absl::Status WriteFile(const std::string& path, const std::string& text);

std::string TimelinePath(const std::string& folder);

// Judges the timeline in `folder` and writes verdicts.json, junit.xml and report.html anew.
struct Judged {
  RunResult result;
  Timeline timeline;
};
absl::StatusOr<Judged> JudgeFolder(const std::string& folder, bool inconclusive_fails);

}  // namespace squall
