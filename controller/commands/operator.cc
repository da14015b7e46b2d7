// squall status, squall agents and squall heal: what goes on, and how to end it.

#include <cstdio>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/time/clock.h"
#include "controller/agents_file.h"
#include "controller/commands/commands.h"
#include "controller/commands/scenario_files.h"
#include "controller/hand_text.h"
#include "controller/known_agents.h"
#include "controller/report/report.h"
#include "controller/run_identity.h"

namespace squall {
namespace {

void Print(bool json, const google::protobuf::Message& message, const std::string& text) {
  fputs((json ? JsonText(message, /*lines=*/true) : text).c_str(), stdout);
}

// Those of this machine and those of agents.yaml; none when that cannot be used.
std::optional<std::vector<KnownAgent>> AllAgents(const std::string& file) {
  const std::optional<LoadedAgents> listed = LoadAgentsFile(file.empty() ? AgentsFileBeside("scenario.yaml") : file);
  if (!listed) return std::nullopt;
  std::vector<KnownAgent> agents = LocalAgents();
  for (KnownAgent& agent : ListedAgents(*listed)) agents.push_back(std::move(agent));
  return agents;
}

void AddAgentsOption(CLI::App& command, std::string& file) {
  command.add_option("--agents", file,
                     "Where agents on other hosts are and the certificates for them. Left out: agents.yaml here, if there is one");
}

struct Asked {
  std::string agents;
  bool json = false;
};

int64_t RunsOf(const AgentStates& states) {
  int64_t runs = 0;
  for (const AgentState& agent : states.agents()) runs += agent.runs_size();
  return runs;
}

bool AllAnswer(const AgentStates& states) {
  for (const AgentState& agent : states.agents()) {
    if (!agent.reachable()) return false;
  }
  return true;
}

int Heal(const std::string& run_id, bool all, bool json, const std::string& file) {
  std::optional<std::vector<KnownAgent>> known = AllAgents(file);
  if (!known) return kExitUsage;
  std::vector<KnownAgent>& agents = *known;
  const AgentStates states = AskAll(agents);
  const int64_t runs = RunsOf(states);
  if (run_id.empty() && !all && runs > 1) {
    fprintf(stderr, "%s\nsquall: there are %lld runs: write squall heal RUN_ID, or squall heal --all\n",
            StatusText(states, absl::ToUnixNanos(absl::Now())).c_str(), static_cast<long long>(runs));
    return kExitUsage;
  }
  const Healed healed = EndRuns(agents, states, run_id, UserAtHost());
  std::string text = HealedText(healed);
  if (healed.ended().empty() && AllAnswer(states)) {
    text += run_id.empty() ? StatusText(states, absl::ToUnixNanos(absl::Now()))
                           : "No run " + run_id + " is open on any agent that is known here: it is over, or never was.\n";
  }
  Print(json, healed, text);
  return healed.not_healed().empty() ? kExitPass : kExitNotHealed;
}

}  // namespace

void AddStatus(CLI::App& app, int& exit_code) {
  const auto options = std::make_shared<Asked>();
  CLI::App* command = app.add_subcommand("status", "Who holds what until when, and what is injected now");
  AddAgentsOption(*command, options->agents);
  command->add_flag("--json", options->json, "Print it as JSON");
  command->callback([options, &exit_code] {
    exit_code = kExitUsage;
    std::optional<std::vector<KnownAgent>> agents = AllAgents(options->agents);
    if (!agents) return;
    const AgentStates states = AskAll(*agents);
    Print(options->json, states, StatusText(states, absl::ToUnixNanos(absl::Now())));
    exit_code = kExitPass;
  });
}

void AddAgents(CLI::App& app, int& exit_code) {
  const auto options = std::make_shared<Asked>();
  CLI::App* command = app.add_subcommand("agents", "The agents that are known here, and what they serve");
  AddAgentsOption(*command, options->agents);
  command->add_flag("--json", options->json, "Print it as JSON");
  command->callback([options, &exit_code] {
    exit_code = kExitUsage;
    std::optional<std::vector<KnownAgent>> agents = AllAgents(options->agents);
    if (!agents) return;
    AgentStates states = AskAll(*agents);
    const std::string text = AgentsText(states);
    for (AgentState& agent : *states.mutable_agents()) agent.clear_runs();
    Print(options->json, states, text);
    exit_code = kExitPass;
  });
}

void AddHeal(CLI::App& app, int& exit_code) {
  struct Options {
    std::string run_id;
    std::string agents;
    bool all = false;
    bool json = false;
  };
  const auto options = std::make_shared<Options>();
  CLI::App* command =
      app.add_subcommand("heal", "End what others inject: everything is healed, and their commands are told who did it");
  CLI::Option* run = command->add_option("RUN_ID", options->run_id, "The run, as squall status shows it; left out: the only one");
  command->add_flag("--all", options->all, "Every run of every agent that is known here")->excludes(run);
  AddAgentsOption(*command, options->agents);
  command->add_flag("--json", options->json, "Print it as JSON");
  command->footer("Exit codes: 0 healed, or nothing to heal; 5 healing not confirmed; 64 bad usage.");
  command->callback([options, &exit_code] { exit_code = Heal(options->run_id, options->all, options->json, options->agents); });
}

}  // namespace squall
