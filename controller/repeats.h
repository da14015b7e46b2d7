#pragma once

#include <string>
#include <vector>

#include "controller/reading.h"
#include "proto/scenario.pb.h"

namespace squall {

// The scenario with each fault that has `repeat` written out: "slow", then "slow-2" and so on, each after the one before and its
// `rest`. What comes after a fault that repeats comes after its last time. Pure.
Scenario WithRepeats(const Scenario& scenario);

// The names that the times of a fault get, beginning with its own.
std::vector<std::string> NamesOfTimes(const Fault& fault);

// All times of the fault of this name in a scenario that is written out; when `name` is empty, of the only fault that there is. Empty:
// the name is that of a fault which does not repeat, or stands for several.
std::vector<std::string> RepeatsOf(const Scenario& scenario, const std::string& name);

// Mistakes that only the times of a fault make: a name that another fault has, a service that is dead for good after the first time,
// a rest of the loads while another fault acts.
void CheckRepeats(const Scenario& scenario, Reading& reading);

}  // namespace squall
