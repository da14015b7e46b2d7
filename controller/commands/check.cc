#include <cstdio>
#include <memory>

#include "controller/commands/commands.h"
#include "controller/commands/scenario_files.h"
#include "controller/plan.h"

namespace squall {

void AddCheck(CLI::App& app, int& exit_code) {
  struct Options {
    std::vector<std::string> files, vars;
    std::string agents;
  };
  const auto options = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand("check", "Find all mistakes in scenarios and print what they would do; touches nothing");
  command->add_option("FILE", options->files, "Scenario files, and folders of them")->required();
  command->add_option("--var", options->vars, "NAME=VALUE for ${vars.NAME}; may be repeated")->expected(1)->take_all();
  command->add_option("--agents", options->agents,
                      "Where the agents are and the certificates for them. Left out: agents.yaml beside the scenario, if there is one");
  command->callback([options, &exit_code] {
    const auto scenarios = LoadFiles(options->files, options->vars, options->agents);
    exit_code = scenarios ? kExitPass : kExitUsage;
    if (!scenarios) return;
    for (const LoadedScenario& loaded : *scenarios) {
      printf("%s\n", DescribePlan(loaded.scenario, MakePlan(loaded.scenario)).c_str());
    }
  });
}

}  // namespace squall
