// latency: makes a peer slow.
//
// What and to whom: bytes that cross one edge, through its relay, in the chosen direction and on the chosen share of its
//   connections, are held back and passed on in order, each for a time of its own from its arrival. Connections that were
//   made before squall redirected the edge do not go through the relay and are not touched.
// Proof: connections, calls and bytes held back, and the delay that was measured on them.
// Undo while the agent lives: the relay passes on at once what it holds.
// Undo when the agent was killed: the redirection is made of BPF links, which die with it; the relay's connections are reset.

#include "agent/faults/relay_fault.h"

namespace squall {

std::unique_ptr<ActiveFault> MakeLatency(const Latency& latency, const FaultContext& context) {
  Fault fault;
  *fault.mutable_latency() = latency;
  return std::make_unique<RelayFault>(latency.edge(), fault, context);
}

}  // namespace squall
