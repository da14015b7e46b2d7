#pragma once

#include <memory>
#include <string>

#include "controller/agent_client.h"
#include "proto/scenario.pb.h"
#include "proto/timeline.pb.h"
#include "tests/e2e/harness.h"

namespace squall {

// An agent that holds the services of a scenario, and injects and heals its faults when the test says so: no load, no clock.
// Inject and Heal are thread-safe.
class HeldAgent {
 public:
  // `text`: a scenario without mistakes. With `as_nobody` the agent and its services are an ordinary user's.
  HeldAgent(const Checkout& checkout, const std::string& text, bool as_nobody);
  // Finishes the run; everything must be confirmed as healed.
  ~HeldAgent();
  // Whether the services run. When not, it was said why.
  bool Holds() const { return holds_; }
  const google::protobuf::RepeatedPtrField<Fault>& faults() const { return scenario_.faults(); }

  // Empty: done. Else why not.
  std::string Inject(const std::string& fault);
  // `evidence`, where it is not null: what the fault did.
  std::string Heal(const std::string& fault, Evidence* evidence = nullptr);

 private:
  Scenario scenario_;
  std::unique_ptr<Process> agent_;
  std::unique_ptr<AgentClient> client_;
  bool holds_ = false;
};

}  // namespace squall
