// latency: makes a peer slow.
//
// What and to whom: bytes that cross one edge, through its relay, in the chosen direction, are held back and passed on in
//   order. Connections that were made before squall redirected the edge do not go through the relay and are not touched.
// Proof: connections, calls and bytes held back, and the delay that was measured on them.
// Undo while the agent lives: the relay passes on at once what it holds.
// Undo when the agent was killed: the redirection is made of BPF links, which die with it; the relay's connections are reset.

#include "agent/faults/fault.h"

namespace squall {
namespace {

class LatencyFault : public ActiveFault {
 public:
  LatencyFault(const Latency& latency, const FaultContext& context) : context_(context) {
    *fault_.mutable_latency() = latency;
  }

  absl::Status Inject() override {
    return context_.relay->SetFault(fault_, context_.seed);
  }
  absl::Status Heal(HealFor) override { return context_.relay->ClearFault(fault_.latency().edge(), Fault::kLatency); }
  Evidence Seen() override { return context_.relay->FaultEvidence(fault_.latency().edge(), Fault::kLatency); }

 private:
  Fault fault_;
  const FaultContext context_;
};

}  // namespace

std::unique_ptr<ActiveFault> MakeLatency(const Latency& latency, const FaultContext& context) {
  return std::make_unique<LatencyFault>(latency, context);
}

}  // namespace squall
