#pragma once

#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "tests/e2e/harness.h"

namespace squall {

// One row of the matrix: a fault as it stands in YAML, on the service `shop`, its edge `recommend` or its load `orders`.
struct FaultCase {
  std::string name;      // the kind, and what tells it from others of the kind
  std::string kind;      // as in proto/fault.proto
  std::string yaml;
  std::string protocol;  // of the edge; empty: HTTP
};
// At least one of every kind. `small_disk`: a folder on a filesystem that may be filled.
std::vector<FaultCase> AllFaults(const std::string& small_disk);

// A service that nobody started for squall, which calls another one; and beside them an agent of its own and a controller that holds
// one fault on it.
class Victim {
 public:
  // `env`: of agent and controller, beside what keeps them apart from others.
  Victim(const Checkout& checkout, const FaultCase& fault, std::map<std::string, std::string> env = {});
  ~Victim();
  Victim(const Victim&) = delete;

  const std::string& name() const { return fault_.name; }
  // Starts the service, what it calls, and the agent.
  bool Start();
  // Another agent that shares its folders with the first.
  std::unique_ptr<Process> StartAgent(const std::string& socket) const;
  // Starts the controller, which injects the fault.
  void Begin() { BeginThrough(agent_socket()); }
  // To be called before Start: the agent is to be held at a step of its journal, from 1 on (hold_at_step.cc).
  void HoldAt(int step);
  // Begins, and lets the controller end the run as soon as the fault acts. `held`: the agent is; otherwise the run is over without a step
  // of that number. False: neither.
  bool ReachStep(bool& held);
  void Release() const;
  // Waits until it acts. Otherwise `Said()` says why not.
  bool AwaitInjected() const;
  bool Inject() { return InjectThrough(agent_socket()); }
  // The same by a controller that reaches the agent at another unix socket.
  bool InjectThrough(const std::string& socket);
  std::string agent_socket() const { return folder_ + "/agent.sock"; }
  // The scenario with this fault instead.
  std::string ScenarioWith(const FaultCase& fault) const;
  std::string Said() const;

  // The service answers as it does without a fault.
  bool Answers() const;
  // Nothing is pending in any journal of its agents.
  bool NothingPending() const;
  // The agent that lives now, or 0: the first, or the one that its guardian started.
  pid_t Agent() const;
  // The guardian of the agent that lives now; 0: none.
  pid_t GuardianOf(pid_t agent) const;
  pid_t controller() const { return controller_->pid(); }
  // Lets the controller end the run as it should. Empty: everything was healed.
  std::string Finish();

 private:
  void BeginThrough(const std::string& socket);
  std::string Spare() const;

  const Checkout& checkout_;
  const FaultCase fault_;
  std::map<std::string, std::string> env_;
  const std::string folder_;
  const int port_;
  const int peer_port_;
  const int spare_port_;
  std::unique_ptr<Process> recommend_, shop_, agent_, controller_;
};

}  // namespace squall
