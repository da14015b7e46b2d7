#pragma once

#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "agent/faults/fault.h"

namespace squall {

// A fault that a rule on packets does, where `packets` is not null.
class PacketFault : public ActiveFault {
 public:
  PacketFault(Packets* packets, PacketRule rule) : packets_(packets), rule_(std::move(rule)) {}

  absl::Status Inject() override {
    if (packets_ == nullptr) {
      return absl::FailedPreconditionError(absl::StrCat(
          "the packets of ", rule_.edge.empty() ? "the service" : absl::StrCat("edge ", rule_.edge), " are not looked at"));
    }
    const absl::StatusOr<int> added = packets_->Add(rule_);
    if (!added.ok()) return added.status();
    number_ = *added;
    return absl::OkStatus();
  }
  absl::Status Change(const Fault& fault) override {
    if (!fault.has_loss() || number_ == 0) return ActiveFault::Change(fault);
    return packets_->SetPercent(number_, fault.loss().percent());
  }
  absl::Status Heal(HealFor) override { return number_ == 0 ? absl::OkStatus() : packets_->Remove(number_); }
  Evidence Seen() override { return number_ == 0 ? Evidence() : packets_->Seen(number_); }

  static Packets* OfEdge(const FaultContext& context, const std::string& edge) {
    return context.packets == nullptr ? nullptr : Find(context.packets->of_edge, edge);
  }
  static Packets* OfService(const FaultContext& context, const std::string& service) {
    return context.packets == nullptr ? nullptr : Find(context.packets->of_service, service);
  }

 private:
  static Packets* Find(const std::map<std::string, Packets*>& places, const std::string& name) {
    const auto found = places.find(name);
    return found == places.end() ? nullptr : found->second;
  }

  Packets* const packets_;
  const PacketRule rule_;
  int number_ = 0;
};

}  // namespace squall
