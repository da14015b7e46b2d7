#include "agent/net/relay.h"

#include "absl/time/clock.h"
#include "agent/net/relay_loop.h"
#include "base/clock.h"

namespace squall {

Relay::Relay(CallSink sink) : loop_(std::make_unique<RelayLoop>(std::move(sink))) {}
Relay::~Relay() = default;

absl::Status Relay::Open(const EdgeOptions& edge, const NetNamespace& ns) {
  absl::Status status;
  loop_->Do([&] { status = loop_->Open(edge, ns); });
  return status;
}

absl::Status Relay::SetAddresses(const std::string& edge, const std::vector<Address>& to) {
  absl::Status status;
  loop_->Do([&] { status = loop_->SetAddresses(edge, to); });
  return status;
}

std::vector<Address> Relay::Listeners(const std::string& edge) {
  std::vector<Address> listeners;
  loop_->Do([&] { listeners = loop_->Listeners(edge); });
  return listeners;
}

int64_t Relay::ResetConnections(const std::string& edge) {
  int64_t reset = 0;
  loop_->Do([&] { reset = loop_->ResetConnections(edge); });
  return reset;
}

absl::Status Relay::SetFault(const Fault& fault, uint64_t seed) {
  absl::Status status;
  loop_->Do([&] { status = loop_->SetFault(fault, seed); });
  return status;
}

absl::Status Relay::ChangeFault(const Fault& fault) {
  absl::Status status;
  loop_->Do([&] { status = loop_->ChangeFault(fault); });
  return status;
}

absl::Status Relay::ClearFault(const std::string& edge, Fault::KindCase kind) {
  absl::Status status;
  loop_->Do([&] { status = loop_->ClearFault(edge, kind); });
  return status;
}

Evidence Relay::FaultEvidence(const std::string& edge, Fault::KindCase kind) {
  Evidence evidence;
  loop_->Do([&] { evidence = loop_->FaultEvidence(edge, kind); });
  return evidence;
}

absl::Status Relay::HandOver(const std::string& edge, Taker taker) {
  absl::Status status;
  loop_->Do([&] { status = loop_->HandOver(edge, std::move(taker)); });
  return status;
}

EdgeStats Relay::Stats(const std::string& edge) {
  EdgeStats stats;
  loop_->Do([&] { stats = loop_->Stats(edge); });
  return stats;
}

void Relay::Close(absl::Duration drain, const std::atomic<bool>& at_once) {
  loop_->Do([&] { loop_->StopListening(); });
  const int64_t deadline = BootNanos() + absl::ToInt64Nanoseconds(drain);
  size_t left = 1;
  while (left > 0) {
    loop_->Do([&] { left = loop_->CloseIdle(/*at_last=*/false); });
    if (left == 0 || at_once || BootNanos() >= deadline) break;
    absl::SleepFor(absl::Milliseconds(5));
  }
  loop_->Do([&] {
    loop_->CloseIdle(/*at_last=*/true);
    loop_->CutAll();
  });
}

}  // namespace squall
