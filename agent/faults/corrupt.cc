// corrupt: one bit of a packet's payload is turned over.
//
// What and to whom: of the packets with a payload of one service over one edge, in the chosen direction, TCP and UDP, on connections
//   new and old, the chosen share is damaged. Where the edge is redirected, that is between the service and the relay. With
//   `checksum: wrong` the receiver's kernel drops it (TCP sends it again, a datagram is lost); with `right` the application gets it.
// Proof: packets of the edge that had a payload, and those of them that were damaged, by direction. Segments of 65,532 bytes and
//   more, which only loopback has, cannot be damaged and are not counted.
// Undo while the agent lives: the rules that queue packets are taken away, and what the queue holds passes.
// Undo when the agent was killed: the rules are in an nft table that belongs to its socket and vanishes with it; what was queued
//   at that moment is lost, as on a wire.

#include "agent/faults/queue_fault.h"

namespace squall {

std::unique_ptr<ActiveFault> MakeCorrupt(const Corrupt& corrupt, const FaultContext& context) {
  PacketAction action = QueueFault::ActionOf(PacketAction::What::kCorrupt, corrupt, context.seed);
  action.right_checksum = corrupt.checksum() == Corrupt::CHECKSUM_RIGHT;
  return std::make_unique<QueueFault>(
      corrupt.edge(), std::move(action), [](const Fault& fault, PacketAction& changed) { changed.percent = fault.corrupt().percent(); },
      context.queued_edges);
}

}  // namespace squall
