#pragma once

#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "agent/process/proc.h"
#include "base/fd.h"

namespace squall {

struct SpawnOptions {
  std::vector<std::string> argv;            // argv[0] is looked up in PATH unless it has a '/'
  std::map<std::string, std::string> env;   // on top of PATH, HOME, LANG, TMPDIR and USER
  std::string folder;                       // working directory
  std::string user;                         // empty: the agent's
  std::vector<std::string> cgroups;         // folders of the cgroups to start in, one of a hierarchy; else the agent's
};

struct Spawned {
  ProcessId id;
  Fd output;  // read end of standard output and standard error
};

// Starts a program without a shell, in a process group of its own, with /dev/null as its input, killed by the kernel when
// the agent dies. NOT_FOUND or PERMISSION_DENIED when it cannot be executed; then no process is left.
// REQUIRES: called on the main thread (see MainThread).
absl::StatusOr<Spawned> Spawn(const SpawnOptions& options);

// Says whether `user` exists on this host and can be switched to; OK for an empty name.
absl::Status CheckUser(const std::string& user);

}  // namespace squall
