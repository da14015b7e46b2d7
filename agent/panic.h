#pragma once

#include "absl/status/statusor.h"
#include "agent/leftovers.h"

namespace squall {

// The panic button: everything that squall does on this host is undone, without a controller, and whether or not an agent still works.
// Agents of this user that answer end their runs; those that do not (stopped, hung) are killed; then what is left of those that are
// gone is taken back. Within ten seconds or so, whatever they do.
struct PanicResult {
  int ended_runs = 0;
  int killed_agents = 0;
  Recovered recovered;
};
absl::StatusOr<PanicResult> HealHost();

}  // namespace squall
