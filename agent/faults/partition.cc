// partition: cuts an edge, or a service from everybody.
//
// What and to whom: packets between the service and the edge's addresses or, with `isolate`, all packets of the service's sockets
//   but those that it sends to itself, vanish in the chosen direction: of all connections, of those that begin during the fault
//   or of those that are there. With `reject` connects of the service are refused too, and its connections through the relay
//   are reset; what neither reaches, as datagrams and callers of an isolated service, is dropped.
// Proof: packets dropped in each direction; connects refused; connections reset.
// Undo while the agent lives: the rule is taken away; TCP sends again by itself what was lost.
// Undo when the agent was killed: the hooks are BPF links, which die with it.

#include "agent/faults/packet_fault.h"

namespace squall {
namespace {

PacketRule RuleOf(const Partition& partition) {
  PacketRule rule;
  rule.edge = partition.isolate().empty() ? partition.edge() : "";
  rule.direction = partition.direction();
  rule.connections = partition.connections();
  // What the service sends is rejected where it leaves; what it is sent is not its to reject.
  rule.refuse = partition.answer() == Partition::ANSWER_REJECT && partition.direction() != DIRECTION_RESPONSE &&
                partition.connections() != Partition::CONNECTIONS_ESTABLISHED;
  rule.reset = partition.answer() == Partition::ANSWER_REJECT;
  return rule;
}

class PartitionFault : public PacketFault {
 public:
  PartitionFault(const Partition& partition, const FaultContext& context)
      : PacketFault(partition.isolate().empty() ? OfEdge(context, partition.edge()) : OfService(context, partition.isolate()),
                    RuleOf(partition)),
        partition_(partition),
        relay_(context.relay) {}

  absl::Status Inject() override {
    const absl::Status status = PacketFault::Inject();
    if (!status.ok() || partition_.answer() != Partition::ANSWER_REJECT || partition_.edge().empty() ||
        partition_.connections() == Partition::CONNECTIONS_NEW) {
      return status;
    }
    reset_ = relay_->ResetConnections(partition_.edge());
    return status;
  }
  Evidence Seen() override {
    Evidence evidence = PacketFault::Seen();
    evidence.set_cut(reset_);
    return evidence;
  }

 private:
  const Partition partition_;
  Relay* const relay_;
  int64_t reset_ = 0;
};

}  // namespace

std::unique_ptr<ActiveFault> MakePartition(const Partition& partition, const FaultContext& context) {
  return std::make_unique<PartitionFault>(partition, context);
}

}  // namespace squall
