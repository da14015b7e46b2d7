#pragma once

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "proto/agent.pb.h"
#include "proto/fault.pb.h"
#include "proto/scenario.pb.h"

namespace squall {

// One way in which a fault of a kind may be asked for, as a scenario that the plan's checks are asked about.
struct FaultWay {
  std::string on;       // what it acts on, where one kind has several ways: "connections from before the run"
  std::string through;  // what acts
  Scenario scenario;
};

// All ways of a kind, each with what it needs at least. A kind without any would be one that nobody can ask about.
std::vector<FaultWay> WaysOf(Fault::KindCase kind);

// What is said of the kind once each of its ways has been tried: `tried` in the order of `ways`. Pure.
Diagnosis Conclude(Fault::KindCase kind, const std::vector<FaultWay>& ways, const std::vector<absl::Status>& tried);

// For each kind of fault, by CheckPlan, and what the host is like. Touches nothing. Thread-safe.
DiagnoseReply Diagnose();

}  // namespace squall
