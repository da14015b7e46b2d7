#pragma once

#include "controller/yaml.h"
#include "proto/scenario.pb.h"

// What a scenario must fulfil beyond the rules of single fields. Pure functions. Whatever was already found
// wrong, and what depends on it, is left alone.
namespace squall {

// Adds those of `known` that services and loads name and that the scenario does not list itself. Called before FillIn().
void AddKnownAgents(const AgentsFile& known, Scenario& scenario);

// Services that cannot be where they are to be, and agents that are the same. REQUIRES: FillIn().
void CheckAgents(const Scenario& scenario, Reading& reading);

// Names faults and assertions that have none, fills in references to the only service, edge or load, reports
// references to nothing, and sets the defaults that depend on other fields.
void FillIn(Scenario& scenario, Reading& reading);

// Services, edges and loads that cannot work, and, when it `must_assert`, assertions that are not there. REQUIRES: FillIn().
void CheckParts(const Scenario& scenario, bool must_assert, Reading& reading);

// Faults that cannot be, cannot be together, or cannot be judged as asked. REQUIRES: FillIn().
void CheckTiming(const Scenario& scenario, Reading& reading);

}  // namespace squall
