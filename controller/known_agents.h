#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "controller/agent_client.h"
#include "proto/hand.pb.h"

// The agents that an operator on this machine can ask.
namespace squall {

struct KnownAgent {
  std::string name;
  std::string address;
  absl::StatusOr<std::unique_ptr<AgentClient>> client = absl::UnknownError("");  // or why there is none
};

// Every agent of this user on this machine, those that a run or an injection started among them: "local-PID". Agents that
// are listed elsewhere are more entries of the same kind.
std::vector<KnownAgent> LocalAgents();

// Asks all agents, side by side, what they serve. Within about two seconds, whatever they do.
AgentStates AskAll(std::vector<KnownAgent>& agents);

// Ends one run, or every run when `run_id` is empty, on all agents, and waits until they are healed. `by`: who asks. What
// an agent does not confirm is not healed.
Healed EndRuns(std::vector<KnownAgent>& agents, const AgentStates& states, const std::string& run_id,
               const std::string& by);

}  // namespace squall
