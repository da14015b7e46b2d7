#pragma once

#include <set>
#include <string>
#include <vector>

#include "agent/host_digest.h"
#include "agent/process/proc.h"
#include "proto/timeline.pb.h"
#include "proto/undo.pb.h"

// What is not as it was. Pure functions.
namespace squall {

// What one agent had to do with during a run: what is different there is its doing.
struct Touched {
  ProcessId agent;
  std::set<std::string> cgroups;   // folders, and files in them
  std::set<std::string> files;     // that it made
  std::set<ProcessId> processes;   // that were stopped, or whose limits were lowered
  std::set<ProcessId> services;    // whose lock files it held
};

// What the undo would take back.
void AddTo(Touched& touched, const Undo& undo);

// Where the two differ, squall's own changes first. A change is squall's when it is in something that bears this agent's name or that
// it holds, or that it touched. What other agents that are alive make is no change, since several may run on one host; everything
// else is somebody else's. Processes are compared where they were alive both times.
std::vector<HostChange> Compare(const HostState& before, const HostState& after, const Touched& touched);

// "cgroup /sys/fs/cgroup/squall-1-2/shop: it was not there, and is; run: rmdir ...".
std::string ToText(const HostChange& change);

}  // namespace squall
