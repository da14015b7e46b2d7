// squall status, squall agents and squall heal: what goes on, and how to end it.

#include <cstdio>
#include <memory>

#include "absl/time/clock.h"
#include "controller/commands/commands.h"
#include "controller/hand_text.h"
#include "controller/known_agents.h"
#include "controller/report/report.h"
#include "controller/run_identity.h"

namespace squall {
namespace {

void Print(bool json, const google::protobuf::Message& message, const std::string& text) {
  fputs((json ? JsonText(message, /*lines=*/true) : text).c_str(), stdout);
}

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

int Heal(const std::string& run_id, bool all, bool json) {
  std::vector<KnownAgent> agents = LocalAgents();
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
  const auto json = std::make_shared<bool>(false);
  CLI::App* command = app.add_subcommand("status", "Who holds what until when, and what is injected now");
  command->add_flag("--json", *json, "Print it as JSON");
  command->callback([json, &exit_code] {
    std::vector<KnownAgent> agents = LocalAgents();
    const AgentStates states = AskAll(agents);
    Print(*json, states, StatusText(states, absl::ToUnixNanos(absl::Now())));
    exit_code = kExitPass;
  });
}

void AddAgents(CLI::App& app, int& exit_code) {
  const auto json = std::make_shared<bool>(false);
  CLI::App* command = app.add_subcommand("agents", "The agents that are known here, and what they serve");
  command->add_flag("--json", *json, "Print it as JSON");
  command->callback([json, &exit_code] {
    std::vector<KnownAgent> agents = LocalAgents();
    AgentStates states = AskAll(agents);
    const std::string text = AgentsText(states);
    for (AgentState& agent : *states.mutable_agents()) agent.clear_runs();
    Print(*json, states, text);
    exit_code = kExitPass;
  });
}

void AddHeal(CLI::App& app, int& exit_code) {
  struct Options {
    std::string run_id;
    bool all = false;
    bool json = false;
  };
  const auto options = std::make_shared<Options>();
  CLI::App* command =
      app.add_subcommand("heal", "End what others inject: everything is healed, and their commands are told who did it");
  CLI::Option* run = command->add_option("RUN_ID", options->run_id, "The run, as squall status shows it; left out: the only one");
  command->add_flag("--all", options->all, "Every run of every agent that is known here")->excludes(run);
  command->add_flag("--json", options->json, "Print it as JSON");
  command->footer("Exit codes: 0 healed, or nothing to heal; 5 healing not confirmed; 64 bad usage.");
  command->callback([options, &exit_code] { exit_code = Heal(options->run_id, options->all, options->json); });
}

}  // namespace squall
