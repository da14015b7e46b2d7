#pragma once

#include <atomic>
#include <functional>
#include <string>

#include "controller/agents_file.h"
#include "proto/hand.pb.h"
#include "proto/scenario.pb.h"

namespace squall {

struct InjectOptions {
  std::string agent;                                   // unix:PATH, or one of `listed`; empty: a child of our own
  LoadedAgents listed;                                 // agents.yaml
  std::string folder;                                  // of the scenario: what its paths are relative to
  const std::atomic<int>* interrupts = nullptr;        // signals that ask for an end
  std::function<void(const HandTick&)> on_tick;        // a few times a second while it is injected
  std::function<void(const std::string&)> on_event;    // one line for each thing that happens
};

struct Injection {
  HandTick last;
  int exit_code = 0;  // 0, 3, 5 or 130
};

// Injects the only fault of a scenario without mistakes until its `for` is over, it is interrupted or somebody else ends
// it, and heals it: through the same agent and lease as a run, without load and without a verdict. Whatever happens on the
// way stands in the result. REQUIRES: called on the main thread.
Injection InjectByHand(const Scenario& scenario, const InjectOptions& options);

}  // namespace squall
