#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "controller/agents_file.h"
#include "controller/scenario.h"

namespace squall {

// The scenarios that `paths` stand for, each once: a file for itself, a folder for the *.yaml and *.yml files right in it,
// by name, without hidden ones and agents.yaml. INVALID_ARGUMENT for a folder without any.
absl::StatusOr<std::vector<std::string>> ScenarioFiles(const std::vector<std::string>& paths);

// The variables of `--var NAME=VALUE`. What is no such assignment is printed to standard error; nullopt then.
std::optional<std::map<std::string, std::string>> ParseAssignments(const std::vector<std::string>& assignments);

// Reads agents.yaml; nothing is in it when `path` is empty. What is wrong with it is printed to standard error; nullopt then.
std::optional<LoadedAgents> LoadAgentsFile(const std::string& path);

// Loads every file, and every scenario of every folder, with the variables of `--var NAME=VALUE` that it has (each must
// be in one file at least) and the agents of
// `agents_file` or, when that is empty, of the agents.yaml beside the scenario. Every mistake in every file is printed to
// standard error; nullopt when there was one.
std::optional<std::vector<LoadedScenario>> LoadFiles(const std::vector<std::string>& paths,
                                                     const std::vector<std::string>& assignments,
                                                     const std::string& agents_file);

}  // namespace squall
