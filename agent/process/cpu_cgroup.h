#pragma once

#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "agent/process/cpu_limit.h"
#include "agent/process/limit_cgroup.h"

// The cfs quota of cgroups with the cpu controller. Thread-safe: nothing is kept.
namespace squall {

// NOT_FOUND: the cgroup is gone or, on v2, has no cpu controller.
absl::StatusOr<CpuLimit> ReadLimit(const LimitCgroup& cgroup);
// Confirmed by reading it back.
absl::Status WriteLimit(const LimitCgroup& cgroup, const CpuLimit& limit);
// The limits of the cgroup and of those above it, up to where the hierarchy is mounted; those without one left out.
std::vector<CpuLimit> LimitsOver(const LimitCgroup& cgroup);
// For how long its tasks had to wait for the next period, since it was made and summed over cores.
absl::StatusOr<int64_t> ThrottledNs(const LimitCgroup& cgroup);

}  // namespace squall
