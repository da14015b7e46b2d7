#pragma once

#include <string>

#include "controller/reading.h"
#include "proto/scenario.pb.h"

namespace squall {

// What is wrong with a fault on an edge, beyond what the schema says.
void CheckNetworkFault(const Scenario& scenario, const Fault& fault, const std::string& path, Reading& reading);

// What the assertion at `path` asks of its fault.
void CheckTlsVerified(const Scenario& scenario, const TlsVerified& spec, const std::string& path, Reading& reading);

// What is wrong with `existing` on the edges.
void CheckExisting(const Scenario& scenario, Reading& reading);

}  // namespace squall
