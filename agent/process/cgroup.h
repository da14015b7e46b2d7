#pragma once

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "agent/process/proc.h"

namespace squall {

// Where cgroup v2 is mounted: at /sys/fs/cgroup, or beside v1 on a hybrid host. NOT_FOUND when it is not.
absl::StatusOr<std::string> CgroupV2Mount();

// The folder of the cgroup v2 in which a process is.
absl::StatusOr<std::string> CgroupV2Of(pid_t pid);

// A cgroup v2 made for one service of this agent: MOUNT/squall-PID-START/NAME. Not thread-safe.
class Cgroup {
 public:
  // PERMISSION_DENIED without root.
  static absl::StatusOr<Cgroup> Make(const std::string& name);
  const std::string& path() const { return path_; }
  std::vector<ProcessId> Processes() const;
  // Kills what is left in it and removes it. Idempotent.
  absl::Status Remove();

 private:
  std::string path_;
};

// Kills everything in the cgroup at `path` and removes it, and its parent when that is empty. Idempotent.
absl::Status KillAndRemoveCgroup(const std::string& path);

// Removes what agents that are dead left behind. Called when an agent starts.
void SweepCgroups();

}  // namespace squall
