// limit_data: a peer that hangs up in the middle.
//
// What and to whom: once so many bytes of one connection have crossed the edge, through its relay, since the fault began, both
//   its sides get a FIN, and what they still send is thrown away until they close as well, for 2 s at most.
// Proof: connections that were closed, and the calls that were open on them.
// Undo while the agent lives: no more connections are closed. Those that were closed stay so.
// Undo when the agent was killed: the redirection is made of BPF links, which die with it; the relay's connections are reset.

#include "agent/faults/relay_fault.h"

namespace squall {

std::unique_ptr<ActiveFault> MakeLimitData(const LimitData& limit_data, const FaultContext& context) {
  Fault fault;
  *fault.mutable_limit_data() = limit_data;
  return std::make_unique<RelayFault>(limit_data.edge(), fault, context);
}

}  // namespace squall
