#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "controller/scenario.h"

namespace squall {

// The variables of `--var NAME=VALUE`. What is no such assignment is printed to standard error; nullopt then.
std::optional<std::map<std::string, std::string>> ParseAssignments(const std::vector<std::string>& assignments);

// Loads every file with the variables of `--var NAME=VALUE`. Every mistake in every file is printed to standard error;
// nullopt when there was one.
std::optional<std::vector<LoadedScenario>> LoadFiles(const std::vector<std::string>& files,
                                                     const std::vector<std::string>& assignments);

}  // namespace squall
