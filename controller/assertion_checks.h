#pragma once

#include <string>

#include "controller/reading.h"
#include "proto/scenario.pb.h"

namespace squall {

// What an assertion needs of the rest of the scenario, so that it can be judged at all. `path`: of the assertion, with its kind.
// REQUIRES: references are resolved.
void CheckAssertion(const Scenario& scenario, const Assertion& assertion, const std::string& path, Reading& reading);

}  // namespace squall
