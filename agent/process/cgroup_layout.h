#pragma once

#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

// Where a host keeps its cgroups. Hosts differ: v1 has a hierarchy per controller, v2 one for all, and hybrid hosts have
// controllers on v1 beside a v2 without them. Pure functions of what /proc says.
namespace squall {

// One mounted hierarchy.
struct CgroupMount {
  int version = 0;                   // 1 or 2
  std::string folder;                // where it is mounted
  std::string root;                  // the cgroup that is seen at `folder`; "/": all of the hierarchy
  std::vector<std::string> options;  // of v1: its controllers among others. v2 tells its controllers in files
};

// From the text of /proc/PID/mountinfo, in its order.
std::vector<CgroupMount> ParseCgroupMounts(absl::string_view mountinfo);

// The hierarchy of a controller: the v1 one that has it, else v2, which may or may not have it. Nothing: neither is mounted.
std::optional<CgroupMount> HierarchyOf(const std::vector<CgroupMount>& mounts, absl::string_view controller);

// The folder of the cgroup in which a process is, from the text of its /proc/PID/cgroup. NOT_FOUND when the process is
// gone (no text), not in a cgroup of `controller`, or in one that is not seen under this mount.
absl::StatusOr<std::string> CgroupFolder(const CgroupMount& mount, absl::string_view controller,
                                         absl::string_view proc_cgroup);

}  // namespace squall
