// reorder: packets are overtaken by later ones.
//
// What and to whom: of the packets of one service over one edge, in the chosen direction, TCP and UDP, on connections new and old,
//   the chosen share is held back for a while, and whatever comes behind it passes. Where the edge is redirected, that is between
//   the service and the relay. TCP puts its stream in order again; datagrams reach the application as they come. What waits for an
//   answer before it sends again is late, and is overtaken by nothing.
// Proof: packets of the edge, and those of them that were held back, by direction.
// Undo while the agent lives: the rules that queue packets are taken away, and what is held back passes at once.
// Undo when the agent was killed: the rules are in an nft table that belongs to its socket and vanishes with it; what was held
//   back at that moment is lost, as on a wire.

#include "agent/faults/queue_fault.h"
#include "base/durations.h"

namespace squall {

namespace {

std::function<int64_t()> Always(const google::protobuf::Duration& delay) {
  return [ns = absl::ToInt64Nanoseconds(ToDuration(delay))] { return ns; };
}

void Change(const Fault& fault, PacketAction& action) {
  action.percent = fault.reorder().percent();
  action.delay_ns = Always(fault.reorder().delay());
}

}  // namespace

std::unique_ptr<ActiveFault> MakeReorder(const Reorder& reorder, const FaultContext& context) {
  PacketAction action = QueueFault::ActionOf(PacketAction::What::kReorder, reorder, context.seed);
  action.delay_ns = Always(reorder.delay());
  return std::make_unique<QueueFault>(reorder.edge(), std::move(action), Change, context.queued_edges);
}

}  // namespace squall
