// reset: connections are reset.
//
// What and to whom: both sides of the chosen share of an edge's connections, through its relay, get a RST (a close with
//   SO_LINGER 0) once the time is over and so many bytes of the dependency have passed.
// Proof: connections that were reset, and the calls that were open on them.
// Undo while the agent lives: no more connections are reset. Those that were reset stay so.
// Undo when the agent was killed: the redirection is made of BPF links, which die with it; the relay's connections are reset.

#include "agent/faults/relay_fault.h"

namespace squall {

std::unique_ptr<ActiveFault> MakeReset(const Reset& reset, const FaultContext& context) {
  Fault fault;
  *fault.mutable_reset() = reset;
  return std::make_unique<RelayFault>(reset.edge(), fault, context);
}

}  // namespace squall
