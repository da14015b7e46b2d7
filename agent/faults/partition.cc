// partition: cuts an edge, or a service from everybody.
//
// What and to whom: packets between the service and the edge's addresses or, with `isolate`, all packets of the service's sockets
//   but those that it sends to itself, vanish in the chosen direction: of all connections, of those that begin during the fault
//   or of those that are there. With `reject` connects of the service are refused too, and its connections over the edge are
//   reset, by the relay or, where none carries them, by nft; datagrams, and what an isolated service is sent, are dropped.
// Proof: packets dropped in each direction; connects refused; connections reset.
// Undo while the agent lives: the rule is taken away; TCP sends again by itself what was lost.
// Undo when the agent was killed: the hooks are BPF links, which die with it; so does the nft table, which its socket owns.

#include "agent/faults/packet_fault.h"
#include "agent/faults/queued_edges.h"
#include "agent/net/live_reject.h"

namespace squall {
namespace {

bool ResetsConnections(const Partition& partition) {
  return partition.answer() == Partition::ANSWER_REJECT && !partition.edge().empty() &&
         partition.connections() != Partition::CONNECTIONS_NEW;
}

PacketRule RuleOf(const Partition& partition) {
  PacketRule rule;
  rule.edge = partition.isolate().empty() ? partition.edge() : "";
  rule.direction = partition.direction();
  rule.connections = partition.connections();
  // What the service sends is rejected where it leaves; what it is sent is not its to reject.
  rule.refuse = partition.answer() == Partition::ANSWER_REJECT && partition.direction() != DIRECTION_RESPONSE &&
                partition.connections() != Partition::CONNECTIONS_ESTABLISHED;
  rule.reset = ResetsConnections(partition);  // else a RST is its peers', and lost as all they send
  return rule;
}

class PartitionFault : public PacketFault {
 public:
  PartitionFault(const Partition& partition, const FaultContext& context)
      : PacketFault(partition.isolate().empty() ? OfEdge(context, partition.edge()) : OfService(context, partition.isolate()),
                    RuleOf(partition)),
        partition_(partition),
        context_(context) {}

  absl::Status Inject() override {
    const bool resets = ResetsConnections(partition_);
    // Those that no relay carries answer what they are sent: before all of that is dropped.
    absl::Status status = resets ? RejectDirect() : absl::OkStatus();
    if (status.ok()) status = PacketFault::Inject();
    if (!status.ok()) {
      if (reject_) reject_->Stop().IgnoreError();
      return status;
    }
    if (resets) reset_ = context_.relay->ResetConnections(partition_.edge());
    return status;
  }
  absl::Status Heal(HealFor reason) override {
    const absl::Status stopped = reject_ ? reject_->Stop() : absl::OkStatus();
    const absl::Status healed = PacketFault::Heal(reason);
    return stopped.ok() ? healed : stopped;
  }
  Evidence Seen() override {
    Evidence evidence = PacketFault::Seen();
    evidence.set_cut(reset_ + (reject_ ? reject_->Cut() : 0));
    return evidence;
  }

 private:
  absl::Status RejectDirect() {
    if (context_.queued_edges == nullptr) return absl::OkStatus();
    absl::StatusOr<QueuedEdges::Direct> direct = context_.queued_edges->DirectConnections(partition_.edge(), /*bytes=*/false);
    if (!direct.ok()) return direct.status();
    if (direct->connections.empty()) return absl::OkStatus();
    ns_ = std::move(direct->ns);
    absl::StatusOr<std::unique_ptr<LiveReject>> reject = LiveReject::Start(*ns_, direct->connections);
    if (!reject.ok()) return reject.status();
    reject_ = *std::move(reject);
    return absl::OkStatus();
  }

  const Partition partition_;
  const FaultContext context_;
  std::unique_ptr<NetNamespace> ns_;
  std::unique_ptr<LiveReject> reject_;
  int64_t reset_ = 0;  // by the relay
};

}  // namespace

std::unique_ptr<ActiveFault> MakePartition(const Partition& partition, const FaultContext& context) {
  return std::make_unique<PartitionFault>(partition, context);
}

}  // namespace squall
