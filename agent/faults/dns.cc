// dns: answers the DNS queries of a service wrongly, late or not at all.
//
// What and to whom: queries of one service for the names and record types of the fault, over UDP and TCP, that its resolver gets:
//   by redirection of what the service sends to port 53 (or to its `nameserver`), or because the service asks `resolver_at`.
//   What is answered from a cache, from /etc/hosts or by a daemon over a unix socket is not touched.
// Proof: queries answered as asked for, by name and type.
// Undo while the agent lives: the resolver forwards every query again; what it still holds back goes out at once.
// Undo when the agent was killed: the redirection is made of BPF links, which die with it, and so does the resolver.

#include "absl/strings/str_cat.h"
#include "agent/faults/fault.h"
#include "base/durations.h"

namespace squall {
namespace {

class DnsFault : public ActiveFault {
 public:
  DnsFault(const std::string& name, const Dns& dns, const FaultContext& context) : name_(name), dns_(dns) {
    if (context.resolvers == nullptr) return;
    const auto found = context.resolvers->find(dns.service());
    if (found != context.resolvers->end()) resolver_ = found->second.get();
  }

  absl::Status Inject() override {
    if (resolver_ == nullptr) {
      return absl::FailedPreconditionError(absl::StrCat("the queries of service ", dns_.service(), " are not redirected"));
    }
    const absl::Status status = resolver_->Inject(name_, dns_);
    injected_ = status.ok();
    return status;
  }
  absl::Status Change(const Fault& fault) override {
    return injected_ ? resolver_->ChangeDelay(name_, ToDuration(fault.dns().delay())) : ActiveFault::Change(fault);
  }
  absl::Status Heal(HealFor) override { return injected_ ? resolver_->Heal(name_) : absl::OkStatus(); }
  Evidence Seen() override { return injected_ ? resolver_->EvidenceOf(name_) : Evidence(); }

 private:
  const std::string name_;
  const Dns dns_;
  Resolver* resolver_ = nullptr;
  bool injected_ = false;
};

}  // namespace

std::unique_ptr<ActiveFault> MakeDns(const std::string& name, const Dns& dns, const FaultContext& context) {
  return std::make_unique<DnsFault>(name, dns, context);
}

}  // namespace squall
