#pragma once

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "agent/process/cpu_cgroup.h"
#include "agent/process/proc.h"
#include "base/fd.h"

namespace squall {

// A small process beside the agent that undoes what would outlive it: when the agent is gone, however it died, it ends the
// services that the agent started, removes their cgroups and takes CPU quotas away. It is forked before the agent has threads, holds nothing but
// one end of a pipe, and does nothing while the agent lives. Thread-safe.
class Guardian {
 public:
  // REQUIRES: the calling process has one thread.
  static absl::StatusOr<Guardian> Fork();

  // The service's process group, named by its leader, and its cgroup (empty: none) are ended when the agent dies.
  void Watch(const ProcessId& leader, const std::string& cgroup) const;
  // The service is gone: forget it.
  void Forget(const ProcessId& leader) const;

  // Undone when the agent dies. Told before what is to be undone is done.
  void Watch(const CpuUndo& undo) const;
  // It is undone: forget it.
  void Forget(const CpuUndo& undo) const;

  pid_t pid() const { return pid_; }

 private:
  Fd pipe_;
  pid_t pid_ = 0;
};

// Sends `signal` to the process group of `leader` unless the number now belongs to another process.
void SignalGroup(const ProcessId& leader, int signal);

}  // namespace squall
