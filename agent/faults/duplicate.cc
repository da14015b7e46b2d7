// duplicate: packets arrive twice.
//
// What and to whom: of the packets of one service over one edge, in the chosen direction, TCP and UDP, on connections new and old,
//   the chosen share is followed by a copy of itself. Where the edge is redirected, that is between the service and the relay.
//   TCP drops what it has already; datagrams reach the application twice.
// Proof: packets of the edge, and those of them whose copy went out, by direction.
// Undo while the agent lives: the rules that queue packets are taken away, and what the queue holds passes.
// Undo when the agent was killed: the rules are in an nft table that belongs to its socket and vanishes with it; what was queued
//   at that moment is lost, as on a wire.

#include "agent/faults/queue_fault.h"

namespace squall {

std::unique_ptr<ActiveFault> MakeDuplicate(const Duplicate& duplicate, const FaultContext& context) {
  return std::make_unique<QueueFault>(
      duplicate.edge(), QueueFault::ActionOf(PacketAction::What::kDuplicate, duplicate, context.seed),
      [](const Fault& fault, PacketAction& action) { action.percent = fault.duplicate().percent(); }, context.queued_edges);
}

}  // namespace squall
