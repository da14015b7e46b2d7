#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "agent/process/cgroup_layout.h"
#include "agent/process/cpu_limit.h"
#include "agent/process/proc.h"

// Cgroups with the cpu controller, on v1, hybrid and v2 hosts. Thread-safe: nothing is kept, all is looked up anew.
namespace squall {

struct CpuCgroup {
  int version = 0;     // 1 or 2
  std::string folder;
};

// The hierarchy of the cpu controller. NOT_FOUND: this host has none.
absl::StatusOr<CgroupMount> CpuMount();

// The cgroup of the cpu hierarchy in which a process is.
absl::StatusOr<CpuCgroup> CpuCgroupOf(pid_t pid);

// NOT_FOUND: the cgroup is gone or, on v2, has no cpu controller.
absl::StatusOr<CpuLimit> ReadLimit(const CpuCgroup& cgroup);
// Confirmed by reading it back.
absl::Status WriteLimit(const CpuCgroup& cgroup, const CpuLimit& limit);
// The limits of the cgroup and of those above it, up to where the hierarchy is mounted; those without one left out.
std::vector<CpuLimit> LimitsOver(const CpuCgroup& cgroup);
// For how long its tasks had to wait for the next period, since it was made and summed over cores.
absl::StatusOr<int64_t> ThrottledNs(const CpuCgroup& cgroup);

// Everything that is in the cgroup itself and alive.
std::vector<ProcessId> ProcessesIn(const CpuCgroup& cgroup);

// A cgroup of squall's below `home`: HOME/squall-cpu-PID-START/NAME, where PID-START is this agent. What is in it belongs
// to `home`, so that anybody can put it back who knows but the path: it is never killed, as what is in a Cgroup is.
// PERMISSION_DENIED where this user may not, FAILED_PRECONDITION where v2 gives `home`'s children no cpu controller.
absl::StatusOr<CpuCgroup> MakeBelow(const CpuCgroup& home, const std::string& name);
// The same without doing it; changes nothing.
absl::Status MayMakeBelow(const CpuCgroup& home);

// Gives the cpu controller to the cgroups beside `folder`, a v2 cgroup of a service that squall runs (see Cgroup).
absl::StatusOr<CpuCgroup> WithCpuController(const std::string& folder);
absl::Status MayHaveCpuController();

// Moves every process of `from` into `to`. INTERNAL when one will not go.
absl::Status MoveInto(const CpuCgroup& to, const std::vector<ProcessId>& processes);

// Where a quota on running processes acts.
struct CpuPlace {
  CpuCgroup cgroup;  // where they are
  bool own = false;  // nothing else is in it: the quota can be set there. Otherwise they have to be moved
};
// FAILED_PRECONDITION, with the reason and what to do, where neither can be done. Changes nothing.
absl::StatusOr<CpuPlace> PlaceOf(const std::vector<ProcessId>& processes);

// How a quota is taken away again: data, so that the guardian can do it too.
struct CpuUndo {
  CpuCgroup cgroup;
  bool made = false;  // by MakeBelow: its processes go back to where they were and it is removed
  CpuLimit before;    // otherwise this is its limit again
};
// Confirmed by looking. Idempotent; a cgroup that is gone needs no undoing.
absl::Status Undo(const CpuUndo& undo);

// Undoes what agents that are dead left behind in cgroups of MakeBelow. Called when an agent starts.
void SweepCpuCgroups();

}  // namespace squall
