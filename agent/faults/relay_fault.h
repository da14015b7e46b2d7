#pragma once

#include <memory>
#include <string>

#include "agent/faults/fault.h"

namespace squall {

// A fault that the relay does by itself, on `edge`.
class RelayFault : public ActiveFault {
 public:
  RelayFault(std::string edge, Fault fault, const FaultContext& context)
      : edge_(std::move(edge)), fault_(std::move(fault)), context_(context) {}

  absl::Status Inject() override { return context_.relay->SetFault(fault_, context_.seed); }
  absl::Status Change(const Fault& fault) override { return context_.relay->ChangeFault(fault); }
  absl::Status Heal(HealFor) override { return context_.relay->ClearFault(edge_, fault_.kind_case()); }
  Evidence Seen() override { return context_.relay->FaultEvidence(edge_, fault_.kind_case()); }

 private:
  const std::string edge_;
  const Fault fault_;
  const FaultContext context_;
};

}  // namespace squall
