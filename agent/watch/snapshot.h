#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "agent/process/proc.h"
#include "proto/timeline.pb.h"

namespace squall {

// What the processes of a service hold now, as /proc tells it: counts, descriptors and threads. `called`: what a peer's address
// stands for, as what the service calls may be redirected.
ProcessSnapshot LookAtProcesses(const std::string& service, const std::vector<ProcessId>& processes, const std::optional<ProcessId>& leader,
                                const std::function<std::string(const std::string& peer)>& called);

}  // namespace squall
