#pragma once

#include <vector>

#include "absl/status/statusor.h"
#include "agent/process/proc.h"
#include "proto/scenario.pb.h"

namespace squall {

// Finds the process that `attach` means. Parents count for their children, so that a master with workers that share its
// port is one match. NOT_FOUND when nothing matches, FAILED_PRECONDITION when several unrelated processes do (each is
// named) or when the match is pid 1, the agent or one of its parents.
absl::StatusOr<ProcessId> FindTarget(const Attach& attach);

// Whether faults may act on the process and all that is below it: FAILED_PRECONDITION when one of these is pid 1, the agent or one
// of its parents, another squall, or sshd, through which somebody may be logged in.
absl::Status CheckInReach(const ProcessId& root);

}  // namespace squall
