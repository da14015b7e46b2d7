// latency: makes a peer slow.
//
// What and to whom: what crosses one edge in the chosen direction and on the chosen share of its connections is held back and
//   passed on in order, each part for a time of its own from its arrival: bytes in the relay; packets in the packet queue where
//   the edge has datagrams, and on the connections that an attached service has from before the run. Both at once, where there
//   are both. A host without the queue has the relay's part.
// Proof: connections, calls and bytes held back by the relay, packets and connections by the queue, and the delay that was measured
//   on them: where both acted, the larger one of their figures.
// Undo while the agent lives: relay and queue pass on at once what they hold.
// Undo when the agent was killed: the redirection is made of BPF links, which die with it; the relay's connections are reset. The
//   queue's rules are in an nft table that belongs to the agent's socket and vanishes with it; what was held back is lost and, on
//   connections, sent again.

#include <algorithm>

#include "agent/faults/queue_fault.h"
#include "agent/net/delays.h"
#include "base/durations.h"

namespace squall {
namespace {

// `delays` stay with whoever changes them.
PacketAction ActionOf(const Latency& latency, uint64_t seed, const std::shared_ptr<Delays>& delays) {
  PacketAction action;
  action.what = PacketAction::What::kDelay;
  action.on_request = latency.direction() != DIRECTION_RESPONSE;
  action.on_response = latency.direction() != DIRECTION_REQUEST;
  action.requested_ns = absl::ToInt64Nanoseconds(ToDuration(latency.delay()));
  action.delay_ns = [delays] { return delays->Draw(); };
  if (latency.share() > 0) action.share = latency.share();
  action.seed = seed;
  return action;
}

class LatencyFault : public ActiveFault {
 public:
  LatencyFault(const Latency& latency, const FaultContext& context)
      : context_(context), delays_(std::make_shared<Delays>(latency, context.seed)) {
    *fault_.mutable_latency() = latency;
  }

  absl::Status Inject() override {
    const std::string& edge = fault_.latency().edge();
    const bool direct = context_.queued_edges != nullptr && context_.queued_edges->HasDirect(edge);
    const absl::Status relayed = context_.relay->SetFault(fault_, context_.seed);
    relayed_ = relayed.ok();
    if (!direct || (!relayed_ && !absl::IsNotFound(relayed))) return relayed;
    const absl::Status status = context_.queued_edges->Set(key_, edge, QueuedEdges::Reach::kDirect,
                                                           ActionOf(fault_.latency(), context_.seed, delays_));
    queued_ = status.ok();
    // Without the queue, which was said before the run, connections from before it are out of reach.
    if (status.ok() || (relayed_ && absl::IsUnimplemented(status))) return absl::OkStatus();
    Heal(HealFor::kFaultOver).IgnoreError();
    return status;
  }

  absl::Status Change(const Fault& fault) override {
    const absl::Status relayed = relayed_ ? context_.relay->ChangeFault(fault) : absl::OkStatus();
    if (!relayed.ok() || !queued_) return relayed;
    return context_.queued_edges->Change(key_, [&](PacketAction& action) {
      delays_->SetDelay(fault.latency());
      action.requested_ns = absl::ToInt64Nanoseconds(ToDuration(fault.latency().delay()));
    });
  }

  absl::Status Heal(HealFor) override {
    absl::Status status = relayed_ ? context_.relay->ClearFault(fault_.latency().edge(), Fault::kLatency) : absl::OkStatus();
    if (context_.queued_edges != nullptr) status.Update(context_.queued_edges->Clear(key_));
    return status;
  }

  Evidence Seen() override {
    Evidence evidence = relayed_ ? context_.relay->FaultEvidence(fault_.latency().edge(), Fault::kLatency) : Evidence();
    if (context_.queued_edges == nullptr) return evidence;
    const Evidence queued = context_.queued_edges->EvidenceOf(key_);
    const int64_t p50 = std::max(evidence.achieved_p50_ns(), queued.achieved_p50_ns());
    const int64_t p99 = std::max(evidence.achieved_p99_ns(), queued.achieved_p99_ns());
    evidence.MergeFrom(queued);
    evidence.set_achieved_p50_ns(p50);
    evidence.set_achieved_p99_ns(p99);
    return evidence;
  }

 private:
  const std::string key_ = NextQueueKey();
  Fault fault_;
  const FaultContext context_;
  const std::shared_ptr<Delays> delays_;  // of packets; drawn from on the queue's thread
  bool relayed_ = false;
  bool queued_ = false;
};

}  // namespace

std::unique_ptr<ActiveFault> MakeLatency(const Latency& latency, const FaultContext& context) {
  return std::make_unique<LatencyFault>(latency, context);
}

}  // namespace squall
