#pragma once

#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "proto/scenario.pb.h"

// Which agent does what. Pure functions of a scenario without mistakes. An empty name is the only agent, on this machine, of
// a scenario that names none.
namespace squall {

std::string AgentOfService(const Scenario& scenario, absl::string_view service);
// That of the service that calls.
std::string AgentOfEdge(const Scenario& scenario, absl::string_view edge);
// "127.0.0.1:8080" of "http://127.0.0.1:8080/path".
std::string AddressOfUrl(absl::string_view url);
// Where the load's requests go: "127.0.0.1:8080", without the port where a URL leaves it out.
std::string AddressOf(const Load& load);
std::string AgentOfLoad(const Scenario& scenario, absl::string_view load);
// That of the edge, service or load that the fault names.
std::string AgentOfFault(const Scenario& scenario, const Fault& fault);
// The same by the fault's name.
std::string AgentOfFault(const Scenario& scenario, absl::string_view fault);

// The agents on which there is something, in the order of `agents`; one empty name where there are none.
std::vector<std::string> AgentsInUse(const Scenario& scenario);

// What concerns one agent: its services and loads, the edges that its services call over, the faults on those.
Scenario PartOf(const Scenario& scenario, const std::string& agent);

}  // namespace squall
