// loss: packets of an edge get lost.
//
// What and to whom: of the packets that the service exchanges with the edge's addresses, TCP and UDP alike, on connections old and
//   new, a share vanishes in each of the chosen directions. Redirected connections lose theirs between service and relay. The
//   fault's seed and a packet's number in its direction decide: the same seed loses the same numbers.
// Proof: packets seen and lost in each direction, and their share.
// Undo while the agent lives: the rule is taken away; TCP sends again by itself what was lost.
// Undo when the agent was killed: the hooks are BPF links, which die with it.

#include "agent/faults/packet_fault.h"

namespace squall {

std::unique_ptr<ActiveFault> MakeLoss(const Loss& loss, const FaultContext& context) {
  PacketRule rule;
  rule.edge = loss.edge();
  rule.direction = loss.direction();
  rule.percent = loss.percent();
  rule.correlation = loss.correlation();
  rule.seed = context.seed;
  return std::make_unique<PacketFault>(PacketFault::OfEdge(context, loss.edge()), rule);
}

}  // namespace squall
