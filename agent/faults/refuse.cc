// refuse: new connections get ECONNREFUSED.
//
// What and to whom: connects of the service to the edge's addresses are refused where they are made, before anything leaves;
//   where the edge has relay_at, the relay closes its listener. Connections that are there go on.
// Proof: connects refused; with relay_at the kernel refuses and counts, for all processes of the network namespace together.
// Undo while the agent lives: the redirection lets connects by again; the relay listens again.
// Undo when the agent was killed: the redirection is made of BPF links, which die with it.

#include "agent/faults/relay_fault.h"

namespace squall {

std::unique_ptr<ActiveFault> MakeRefuse(const Refuse& refuse, const FaultContext& context) {
  Fault fault;
  *fault.mutable_refuse() = refuse;
  return std::make_unique<RelayFault>(refuse.edge(), fault, context);
}

}  // namespace squall
