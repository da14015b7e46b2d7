#pragma once

#include <string>
#include <vector>

#include "controller/scenario.h"

namespace squall {

// Why two scenarios may not run at the same time, in words: "both use port 8080"; empty: they may. Errs on the safe side:
// what cannot be told apart from the files alone counts as the same. A scenario always clashes with itself. Pure.
//
// Clashes: a port in common (of loads, ready checks, metrics, edges, relays, resolvers, attached listeners, and numbers in
// `run` and `env` that look like one), whatever the host; a file or folder named in both; two that attach, since they may
// mean the same processes; the same agent; and a fault that the whole host feels, beside anything else.
std::string Clash(const LoadedScenario& a, const LoadedScenario& b);

// clashes[i][j]: scenario i may not run beside scenario j.
using Clashes = std::vector<std::vector<bool>>;
Clashes FindClashes(const std::vector<LoadedScenario>& scenarios);

// The ports that a scenario names, sorted. For tests and messages. Pure.
std::vector<int> PortsOf(const Scenario& scenario);

}  // namespace squall
