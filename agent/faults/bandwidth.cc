// bandwidth: lets no more than so many bytes a second through.
//
// What and to whom: payload that crosses one edge, through its relay, takes tokens out of a bucket for each direction, which
//   all connections of the edge share evenly; what finds none waits. Connecting and closing cost nothing.
// Proof: connections and bytes that had to wait, and the most that passed in a second in which more was waiting.
// Undo while the agent lives: the relay passes on at once what waits.
// Undo when the agent was killed: the redirection is made of BPF links, which die with it; the relay's connections are reset.

#include "agent/faults/relay_fault.h"

namespace squall {

std::unique_ptr<ActiveFault> MakeBandwidth(const Bandwidth& bandwidth, const FaultContext& context) {
  Fault fault;
  *fault.mutable_bandwidth() = bandwidth;
  return std::make_unique<RelayFault>(bandwidth.edge(), fault, context);
}

}  // namespace squall
