#pragma once

#include <string>

#include "controller/reading.h"
#include "proto/scenario.pb.h"

namespace squall {

// What is wrong with a fault on a process, or on what it needs, beyond what the schema says. `path`: of the fault.
void CheckProcessFault(const Scenario& scenario, const Fault& fault, const std::string& path, Reading& reading);

// The same for a fault on a load. `path`: of its kind.
void CheckLoadFault(const Scenario& scenario, const Fault& fault, const std::string& path, Reading& reading);

// Why the fault shows nothing of the service's deadline, whatever that does; empty: it may.
std::string CannotJudgeTimeout(const Scenario& scenario, const Timeout& timeout, const Fault& fault);

// A service that is stopped calls nobody. `path`: of the assertion.
void CheckBreakersFault(const Scenario& scenario, const CircuitBreaker& breaker, const std::string& path, Reading& reading);

}  // namespace squall
