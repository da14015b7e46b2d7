#include "controller/commands/scenario_files.h"

#include <cstdio>

#include "controller/agents_file.h"

namespace squall {

std::optional<std::vector<LoadedScenario>> LoadFiles(const std::vector<std::string>& files,
                                                     const std::vector<std::string>& assignments,
                                                     const std::string& agents_file) {
  std::map<std::string, std::string> vars;
  for (const std::string& assignment : assignments) {
    const size_t equals = assignment.find('=');
    if (equals == std::string::npos || equals == 0) {
      fprintf(stderr, "squall: --var %s: write --var NAME=VALUE\n", assignment.c_str());
      return std::nullopt;
    }
    vars[assignment.substr(0, equals)] = assignment.substr(equals + 1);
  }
  bool good = true;
  std::vector<LoadedScenario> scenarios;
  for (const std::string& file : files) {
    const std::string path = agents_file.empty() ? AgentsFileBeside(file) : agents_file;
    absl::StatusOr<LoadedAgents> agents = LoadedAgents();
    if (!path.empty()) agents = LoadAgents(path);
    if (!agents.ok()) {
      fprintf(stderr, "%s: %s\n", path.c_str(), std::string(agents.status().message()).c_str());
      return std::nullopt;
    }
    if (!agents->mistakes.empty()) {
      fputs(FormatMistakes(path, agents->mistakes).c_str(), stderr);
      return std::nullopt;
    }
    absl::StatusOr<LoadedScenario> loaded = LoadScenario(file, vars, agents->file);
    if (!loaded.ok()) {
      fprintf(stderr, "%s: %s\n", file.c_str(), std::string(loaded.status().message()).c_str());
      good = false;
      continue;
    }
    if (!loaded->mistakes.empty()) {
      fputs(FormatMistakes(*loaded).c_str(), stderr);
      good = false;
    }
    loaded->tls = agents->tls;
    scenarios.push_back(*std::move(loaded));
  }
  if (!good) return std::nullopt;
  return scenarios;
}

}  // namespace squall
