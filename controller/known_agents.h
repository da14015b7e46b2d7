#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "controller/agent_client.h"
#include "controller/agents_file.h"
#include "proto/hand.pb.h"

// The agents that an operator on this machine can ask.
namespace squall {

struct KnownAgent {
  std::string name;
  std::string address;
  absl::StatusOr<std::unique_ptr<AgentClient>> client = absl::UnknownError("");  // or why there is none
};

// The one that is called NAME or is at HOST:PORT in `listed`, or at unix:PATH. The error says what is wrong with it, or where to list it.
absl::StatusOr<std::unique_ptr<AgentClient>> ConnectTo(const std::string& name, const LoadedAgents& listed);

// Every agent of this user on this machine, those that a run or an injection started among them: "local-PID".
std::vector<KnownAgent> LocalAgents();

// The agents of `listed`, connected to with its certificates, side by side. REQUIRES: it has no mistakes.
std::vector<KnownAgent> ListedAgents(const LoadedAgents& listed);

// Asks all agents, side by side, what they serve. Within about two seconds, whatever they do.
AgentStates AskAll(std::vector<KnownAgent>& agents);

// Ends one run, or every run when `run_id` is empty, on all agents, and waits until they are healed. `by`: who asks. What
// an agent does not confirm is not healed.
Healed EndRuns(std::vector<KnownAgent>& agents, const AgentStates& states, const std::string& run_id,
               const std::string& by);

}  // namespace squall
