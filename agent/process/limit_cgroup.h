#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "agent/process/cgroup_layout.h"
#include "agent/process/proc.h"

// Cgroups with a controller whose limit can be set (cpu, memory, pids, freezer), on v1, hybrid and v2 hosts. On v2 freezing belongs to
// every cgroup and needs no controller. Thread-safe: nothing is kept, all is looked up anew.
namespace squall {

struct LimitCgroup {
  std::string controller;
  int version = 0;  // 1 or 2
  std::string folder;
};

// The hierarchy of the controller. NOT_FOUND: this host has none.
absl::StatusOr<CgroupMount> MountOf(const std::string& controller);

// The cgroup of the controller's hierarchy in which a process is.
absl::StatusOr<LimitCgroup> CgroupOf(const std::string& controller, pid_t pid);

// Everything that is in the cgroup itself and alive.
std::vector<ProcessId> ProcessesIn(const LimitCgroup& cgroup);
// A file of the cgroup, as "FOLDER/cpu.max".
std::string FileOf(const LimitCgroup& cgroup, const std::string& name);
absl::Status WriteCgroupFile(const std::string& path, absl::string_view text);
absl::StatusOr<int64_t> ReadCgroupNumber(const std::string& path);
// The number after `key` in a file of lines "KEY NUMBER", as memory.events. NOT_FOUND when it is not there.
absl::StatusOr<int64_t> ReadCgroupKey(const std::string& path, absl::string_view key);
bool IsCgroupThere(const std::string& folder);

// A cgroup of squall's below `home`: HOME/squall-CONTROLLER-PID-START/NAME, where PID-START is this agent. What is in it belongs
// to `home`, so that anybody can put it back who knows but the path: it is never killed, as what is in a Cgroup is.
// The folder that MakeBelow makes, so that it can be written down before.
absl::StatusOr<LimitCgroup> BelowOf(const LimitCgroup& home, const std::string& name);
// PERMISSION_DENIED where this user may not, FAILED_PRECONDITION where v2 gives `home`'s children no such controller.
absl::StatusOr<LimitCgroup> MakeBelow(const LimitCgroup& home, const std::string& name);
// The same without doing it; changes nothing.
absl::Status MayMakeBelow(const LimitCgroup& home);
// Puts everything in a cgroup of MakeBelow back to where it was and removes it. Idempotent.
absl::Status PutBack(const std::string& folder);

// Gives the controller to the cgroups beside `folder`, a v2 cgroup of a service that squall runs (see Cgroup).
absl::StatusOr<LimitCgroup> WithController(const std::string& controller, const std::string& folder);
absl::Status MayHaveController(const std::string& controller);

// Moves into `to` what `processes` says, again and again until all of it is there: what is moved takes along what it forks from
// then on, and what it forked just before is found the next time. INTERNAL when one will not go, DEADLINE_EXCEEDED when it forks faster.
absl::Status MoveAllInto(const LimitCgroup& to, const std::function<std::vector<ProcessId>()>& processes);

// Where a limit on running processes acts.
struct LimitPlace {
  LimitCgroup cgroup;  // where they are
  bool own = false;    // nothing else is in it: the limit can be set there. Otherwise they have to be moved
};
// FAILED_PRECONDITION, with the reason and what to do, where
// neither can be done. Changes nothing.
absl::StatusOr<LimitPlace> PlaceOf(const std::string& controller, const std::vector<ProcessId>& processes);

// The file that holds the cgroup's limit: cpu.max, memory.max, pids.max, cgroup.freeze, or their v1 names.
std::string LimitFile(const LimitCgroup& cgroup);

// Undoes what agents that are dead left behind in cgroups of MakeBelow. Called when an agent starts.
void SweepMadeCgroups();

}  // namespace squall
