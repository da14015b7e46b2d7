#pragma once

#include <optional>
#include <string>

#include "controller/assertions/obstacle.h"
#include "proto/fault.pb.h"
#include "proto/timeline.pb.h"

// What the evidence of faults on processes and on what these need says. Pure functions.
namespace squall {

// For the report: what it did, achieved against asked.
std::string ProcessSeen(const Fault& fault, const Evidence& evidence);

// What stands in the way of believing that it fired.
std::optional<Obstacle> ProcessGate(const Fault& fault, const Evidence& evidence);

// What has to be known beside the verdicts: it acted, and not quite as asked. Empty: nothing.
std::string ProcessNote(const Fault& fault, const Evidence& evidence);

}  // namespace squall
