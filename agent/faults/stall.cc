// stall: a peer that says nothing more.
//
// What and to whom: on the chosen share of an edge's connections, through its relay, so many more bytes pass in the chosen
//   direction, and then neither bytes nor FIN nor RST. Connections are accepted and stay open.
// Proof: connections on which something is held back, the calls open on them, and its bytes.
// Undo while the agent lives: the relay passes on at once what it holds, in order.
// Undo when the agent was killed: the redirection is made of BPF links, which die with it; the relay's connections are reset.

#include "agent/faults/relay_fault.h"

namespace squall {

std::unique_ptr<ActiveFault> MakeStall(const StallFault& stall, const FaultContext& context) {
  Fault fault;
  *fault.mutable_stall() = stall;
  return std::make_unique<RelayFault>(stall.edge(), fault, context);
}

}  // namespace squall
