// blackhole: a peer that is gone without a word.
//
// What and to whom: every packet between the service and the edge's addresses vanishes, both ways, on connections old and new.
//   A connect waits until its own timeout. Where the edge has relay_at, the relay accepts instead and neither passes on nor
//   answers anything.
// Proof: packets dropped in each direction; with relay_at connections and bytes held.
// Undo while the agent lives: the rule is taken away, and TCP sends again what was lost; the relay passes on what it holds.
// Undo when the agent was killed: the hooks are BPF links, which die with it; the relay's connections are reset.

#include "agent/faults/packet_fault.h"
#include "agent/faults/relay_fault.h"

namespace squall {

std::unique_ptr<ActiveFault> MakeBlackhole(const Blackhole& blackhole, const FaultContext& context) {
  if (Packets* packets = PacketFault::OfEdge(context, blackhole.edge())) {
    PacketRule rule;
    rule.edge = blackhole.edge();
    return std::make_unique<PacketFault>(packets, rule);
  }
  Fault fault;
  *fault.mutable_blackhole() = blackhole;
  return std::make_unique<RelayFault>(blackhole.edge(), fault, context);
}

}  // namespace squall
