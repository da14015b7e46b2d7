#pragma once

#include <set>
#include <string>

#include "proto/scenario.pb.h"

namespace squall {

// The names of the service's metrics that an assertion needs. Pure.
std::set<std::string> NeededMetrics(const Scenario& scenario, const std::string& service);

}  // namespace squall
