#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

#include "controller/suite/clash.h"

namespace squall {

// Which of the `waiting` scenarios to start beside those that are `running`, as an index into `waiting`: the first that
// clashes with none of them, so that one that has to wait holds up nobody else. nullopt: none may start now. All are indices
// into `clashes`; one may be in both lists. Pure.
std::optional<size_t> NextToStart(const std::vector<size_t>& waiting, const std::vector<size_t>& running,
                                  const Clashes& clashes);

// The order of a run: each scenario `repeat` times, one after the other. Pure.
std::vector<size_t> Order(size_t scenarios, int repeat);

// Scenarios that carry any of `tags`, or all without tags, in their order. INVALID_ARGUMENT, with the tags that there are,
// when none does. Pure.
absl::StatusOr<std::vector<LoadedScenario>> WithTags(std::vector<LoadedScenario> scenarios,
                                                     const std::vector<std::string>& tags);

// What each scenario is called in tables: its name, and its path too where another has the same name. Pure.
std::vector<std::string> Labels(const std::vector<LoadedScenario>& scenarios);

}  // namespace squall
