#pragma once

#include <string>
#include <vector>

#include "proto/scenario.pb.h"
#include "proto/timeline.pb.h"
#include "proto/verdict.pb.h"

namespace squall {

// What runs without the faults have shown, for reports of runs with them. Pure functions.

// What of a scenario decides about its noise: all but its seed.
std::string CalibrationDigest(const Scenario& scenario);

// Counts how often each assertion failed in runs in which nothing was wrong.
Calibration CountFalseAlarms(const Scenario& scenario, const std::vector<RunResult>& runs, int64_t at_unix_ns);

// The detail of a verdict that tells it.
inline constexpr char kFailedOnNothing[] = "failed on nothing";
// "in 0 of 20 runs without the faults: in fewer than 14 % of runs, at 95 % confidence". Empty: the assertion was not calibrated.
std::string FalseAlarmText(const Calibration& calibration, const std::string& assertion);

}  // namespace squall
