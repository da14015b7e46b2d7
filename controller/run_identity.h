#pragma once

#include <cstdint>
#include <string>

#include "absl/time/time.h"

// Who runs what: the words by which runs are known to people and to other runs.
namespace squall {

std::string HostName();
// "root@shop-1": who asks, in the words of this host.
std::string UserAtHost();

// The id of a run or suite called `name`: sorts as it was started, and tells at a glance what it was.
std::string MakeRunId(const std::string& name, absl::Time now, uint64_t random);

// "run ID of root@shop-1 since 12:01:02 until 12:03:04 at the latest": what another run that wants the service is told.
std::string HolderText(const std::string& run_id, absl::Time now, absl::Duration longest);

}  // namespace squall
