#pragma once

#include <atomic>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "agent/faults/fault.h"
#include "agent/faults/queued_edges.h"

namespace squall {

// Names one fault among those of all packet queues.
inline std::string NextQueueKey() {
  static std::atomic<int> made = 0;
  return absl::StrCat(++made);
}

// A fault that the packet queue does by itself, on `edge`.
class QueueFault : public ActiveFault {
 public:
  // `change` sets in the action what a ramp changes in the fault.
  using Changer = void (*)(const Fault& fault, PacketAction& action);
  QueueFault(std::string edge, PacketAction action, Changer change, QueuedEdges* queued)
      : edge_(std::move(edge)), action_(std::move(action)), change_(change), queued_(queued) {}

  absl::Status Inject() override {
    if (queued_ == nullptr) return absl::FailedPreconditionError(absl::StrCat("the packets of edge ", edge_, " cannot be had"));
    return queued_->Set(key_, edge_, QueuedEdges::Reach::kEverything, action_);
  }
  absl::Status Change(const Fault& fault) override {
    if (queued_ == nullptr) return ActiveFault::Change(fault);
    return queued_->Change(key_, [&](PacketAction& action) { change_(fault, action); });
  }
  absl::Status Heal(HealFor) override { return queued_ == nullptr ? absl::OkStatus() : queued_->Clear(key_); }
  Evidence Seen() override { return queued_ == nullptr ? Evidence() : queued_->EvidenceOf(key_); }

  // What duplicate, reorder and corrupt have in common.
  template <typename Packets>
  static PacketAction ActionOf(PacketAction::What what, const Packets& fault, uint64_t seed) {
    PacketAction action;
    action.what = what;
    action.on_request = fault.direction() != DIRECTION_RESPONSE;
    action.on_response = fault.direction() != DIRECTION_REQUEST;
    action.percent = fault.percent();
    action.correlation = fault.correlation();
    action.seed = seed;
    return action;
  }

 private:
  const std::string key_ = NextQueueKey();
  const std::string edge_;
  const PacketAction action_;
  const Changer change_;
  QueuedEdges* const queued_;
};

}  // namespace squall
