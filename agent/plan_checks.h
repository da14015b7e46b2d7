#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "proto/agent.pb.h"
#include "proto/scenario.pb.h"

namespace squall {

// Whether everything that the scenario asks of this host can be done, and through what, as far as that can be known before anything is
// touched. FAILED_PRECONDITION says what cannot be done, why, and what to do. `folder`: what relative paths are relative to. For a run
// that is prepared and for `squall doctor` alike. Thread-safe.
absl::StatusOr<PrepareReply> CheckPlan(const Scenario& scenario, const std::string& folder);

}  // namespace squall
