#include <map>
#include <string>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "controller/scenario_checks.h"
#include "controller/schema.h"
#include "controller/wording.h"

namespace squall {
namespace {

const AgentAt* FindAgent(const google::protobuf::RepeatedPtrField<AgentAt>& agents, const std::string& name) {
  for (const AgentAt& agent : agents) {
    if (agent.name() == name) return &agent;
  }
  return nullptr;
}

bool IsOfThisMachine(const std::string& text) {
  return absl::StrContains(text, "${run.folder}") || absl::StrContains(text, "${scenario.folder}");
}

// What is known of this machine is not known of an agent's.
void CheckPaths(const Service& service, const std::string& path, Reading& reading) {
  if (service.run_size() > 0) {
    const std::string& program = service.run(0);
    if (absl::StrContains(program, "/") && program[0] != '/' && program[0] != '$') {
      reading.Report(absl::StrCat(path, ".run"),
                     absl::StrCat(Quoted(program), " is relative to the scenario, which is not on the host of agent ",
                                  service.on(), "; write the whole path there"));
    }
  }
  if (!service.cwd().empty() && service.cwd()[0] != '/') {
    reading.Report(absl::StrCat(path, ".cwd"),
                   absl::StrCat(Quoted(service.cwd()), " is relative to the scenario, which is not on the host of agent ",
                                service.on(), "; write the whole path there"));
  }
  const auto check = [&](const std::string& key, const std::string& text) {
    if (!IsOfThisMachine(text)) return;
    reading.Report(absl::StrCat(path, ".", key),
                   absl::StrCat("${run.folder} and ${scenario.folder} are folders of this machine, and the service is on agent ",
                                service.on(), "; write a path of its host"));
  };
  for (const std::string& argument : service.run()) check("run", argument);
  for (const auto& [name, value] : service.env()) check("env", value);
  check("cwd", service.cwd());
}

}  // namespace

void AddKnownAgents(const AgentsFile& known, Scenario& scenario) {
  const auto add = [&](const std::string& name) {
    const AgentAt* agent = name.empty() ? nullptr : FindAgent(known.agents(), name);
    if (agent != nullptr && FindAgent(scenario.agents(), name) == nullptr) *scenario.add_agents() = *agent;
  };
  for (const Service& service : scenario.services()) add(service.on());
  for (const Load& load : scenario.load()) add(load.on());
}

void CheckAgents(const Scenario& scenario, Reading& reading) {
  std::map<std::string, std::string> names;  // by address
  for (int i = 0; i < scenario.agents_size(); ++i) {
    const AgentAt& agent = scenario.agents(i);
    const std::string path = absl::StrCat(ItemPath("agents", i), ".address");
    if (agent.address().empty()) continue;
    const auto [first, is_new] = names.emplace(agent.address(), agent.name());
    if (is_new || !reading.Given(path)) continue;
    reading.Report(path, absl::StrCat("agent ", Quoted(first->second), " is at ", agent.address(),
                                      " already; one agent has one name"));
  }
  for (int i = 0; i < scenario.services_size(); ++i) {
    const std::string path = ItemPath("services", i);
    if (!scenario.services(i).on().empty() && reading.Sound(path)) CheckPaths(scenario.services(i), path, reading);
  }
}

}  // namespace squall
