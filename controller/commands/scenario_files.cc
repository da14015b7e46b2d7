#include "controller/commands/scenario_files.h"

#include <cstdio>

namespace squall {

std::optional<std::map<std::string, std::string>> ParseAssignments(const std::vector<std::string>& assignments) {
  std::map<std::string, std::string> vars;
  for (const std::string& assignment : assignments) {
    const size_t equals = assignment.find('=');
    if (equals == std::string::npos || equals == 0) {
      fprintf(stderr, "squall: --var %s: write --var NAME=VALUE\n", assignment.c_str());
      return std::nullopt;
    }
    vars[assignment.substr(0, equals)] = assignment.substr(equals + 1);
  }
  return vars;
}

std::optional<std::vector<LoadedScenario>> LoadFiles(const std::vector<std::string>& files,
                                                     const std::vector<std::string>& assignments) {
  const auto vars = ParseAssignments(assignments);
  if (!vars) return std::nullopt;
  bool good = true;
  std::vector<LoadedScenario> scenarios;
  for (const std::string& file : files) {
    absl::StatusOr<LoadedScenario> loaded = LoadScenario(file, *vars);
    if (!loaded.ok()) {
      fprintf(stderr, "%s: %s\n", file.c_str(), std::string(loaded.status().message()).c_str());
      good = false;
      continue;
    }
    if (!loaded->mistakes.empty()) {
      fputs(FormatMistakes(*loaded).c_str(), stderr);
      good = false;
    }
    scenarios.push_back(*std::move(loaded));
  }
  if (!good) return std::nullopt;
  return scenarios;
}

}  // namespace squall
