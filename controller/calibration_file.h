#pragma once

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "proto/scenario.pb.h"
#include "proto/timeline.pb.h"

namespace squall {

// RUNS/calibration/SCENARIO.json.
absl::Status WriteCalibration(const std::string& runs_folder, const Scenario& scenario, const Calibration& calibration);
// NOT_FOUND where this scenario, as it is now, was not calibrated.
absl::StatusOr<Calibration> ReadCalibration(const std::string& runs_folder, const Scenario& scenario);

}  // namespace squall
