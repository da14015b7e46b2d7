// slice: a peer that drips.
//
// What and to whom: what crosses one edge, through its relay, is written in small pieces, each a segment of its own, with a
//   pause between two pieces of a connection.
// Proof: connections on which pieces were passed on, and the number of pieces.
// Undo while the agent lives: the relay passes on at once, whole, what it holds.
// Undo when the agent was killed: the redirection is made of BPF links, which die with it; the relay's connections are reset.

#include "agent/faults/relay_fault.h"

namespace squall {

std::unique_ptr<ActiveFault> MakeSlice(const Slice& slice, const FaultContext& context) {
  Fault fault;
  *fault.mutable_slice() = slice;
  return std::make_unique<RelayFault>(slice.edge(), fault, context);
}

}  // namespace squall
