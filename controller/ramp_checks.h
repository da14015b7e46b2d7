#pragma once

#include "controller/reading.h"
#include "proto/scenario.pb.h"

namespace squall {

// Ramps that do not fit their faults: of what the kind does not have, of several values or of one, out of bounds, or longer than the fault.
// REQUIRES: defaults are set.
void CheckRamps(const Scenario& scenario, Reading& reading);

}  // namespace squall
