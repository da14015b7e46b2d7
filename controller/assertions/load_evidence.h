#pragma once

#include <optional>
#include <string>

#include "controller/assertions/obstacle.h"
#include "proto/fault.pb.h"
#include "proto/timeline.pb.h"

// What the evidence of faults on the load says. Pure functions.
namespace squall {

// For the report: what it did, achieved against asked.
std::string LoadSeen(const Fault& fault, const Evidence& evidence);

// What stands in the way of believing that it fired.
std::optional<Obstacle> LoadGate(const Fault& fault, const Evidence& evidence);

}  // namespace squall
