// What faults on the load have in common.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "agent/faults/fault.h"
#include "agent/load/load_generator.h"
#include "base/durations.h"

namespace squall {

inline absl::StatusOr<LoadGenerator*> LoadOf(const std::string& name, const FaultContext& context) {
  if (context.loads != nullptr) {
    if (const auto found = context.loads->find(name); found != context.loads->end()) return found->second;
  }
  return absl::FailedPreconditionError(
      absl::StrCat("this agent runs no load '", name, "': the fault acts on a load of a run while that is sent, by the agent that sends it"));
}

}  // namespace squall
