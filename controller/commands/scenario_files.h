#pragma once

#include <optional>
#include <string>
#include <vector>

#include "controller/scenario.h"

namespace squall {

// Loads every file with the variables of `--var NAME=VALUE` and the agents of `agents_file`, or, when that is empty, of the
// agents.yaml beside it. Every mistake in every file is printed to standard error;
// nullopt when there was one.
std::optional<std::vector<LoadedScenario>> LoadFiles(const std::vector<std::string>& files,
                                                     const std::vector<std::string>& assignments,
                                                     const std::string& agents_file);

}  // namespace squall
