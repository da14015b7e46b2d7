// tls: makes the TLS handshake with a dependency fail.
//
// What and to whom: connections that the service makes over one edge while it acts do not reach the dependency; squall answers
//   their ClientHello itself. Connections that are there go on: who keeps them open does not notice, until it makes a new one.
// Proof: handshakes in which what is wrong was shown to the client, and how it answered each.
// Undo while the agent lives: the relay passes new connections on again; handshakes under way are reset.
// Undo when the agent was killed: nothing is left. The certificates are in its memory only, its connections are reset, and the
//   redirection is made of BPF links, which die with it.

#include <utility>

#include "agent/faults/fault.h"
#include "agent/net/tls_spoiler.h"

namespace squall {
namespace {

class Tls : public ActiveFault {
 public:
  Tls(const TlsFault& tls, const FaultContext& context) : tls_(tls), context_(context) {}

  absl::Status Inject() override {
    absl::StatusOr<std::unique_ptr<TlsSpoiler>> started = TlsSpoiler::Start(tls_, context_.folder);
    if (!started.ok()) return started.status();
    std::shared_ptr<TlsSpoiler> spoiler = *std::move(started);
    const absl::Status handed = context_.relay->HandOver(
        tls_.edge(), [spoiler](Fd connection, const Address& called) { spoiler->Take(std::move(connection), called); });
    if (handed.ok()) spoiler_ = std::move(spoiler);
    return handed;
  }

  absl::Status Heal(HealFor) override {
    if (spoiler_ == nullptr) return absl::OkStatus();
    const absl::Status status = context_.relay->HandOver(tls_.edge(), nullptr);
    spoiler_->Stop();
    return status;
  }

  Evidence Seen() override { return spoiler_ == nullptr ? Evidence() : spoiler_->Seen(); }

 private:
  const TlsFault tls_;
  const FaultContext context_;
  std::shared_ptr<TlsSpoiler> spoiler_;  // null: not injected
};

}  // namespace

std::unique_ptr<ActiveFault> MakeTls(const TlsFault& tls, const FaultContext& context) {
  return std::make_unique<Tls>(tls, context);
}

}  // namespace squall
