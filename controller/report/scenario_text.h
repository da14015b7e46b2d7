#pragma once

#include <string>

#include "proto/scenario.pb.h"

namespace squall {

// The scenario as it was carried out, written as in YAML, with defaults filled in. For reading. Found by
// reflection, so that it knows every fault and assertion there is. Pure.
std::string ScenarioText(const Scenario& scenario);

}  // namespace squall
