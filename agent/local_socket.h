#pragma once

#include <string>

#include "absl/status/statusor.h"

namespace squall {

// Makes the folder of this user's agents, where `squall status` looks for them, removes the sockets of agents that are
// dead, and returns the path at which this one is to listen. FAILED_PRECONDITION when the folder is not this user's alone.
absl::StatusOr<std::string> MakeLocalSocketPath();

}  // namespace squall
