#pragma once

#include <cstdint>
#include <initializer_list>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "agent/process/proc.h"

namespace squall {

// How often the kernel refused something to processes for want of descriptors or of space: system calls that returned EMFILE, ENFILE,
// ENOSPC or EDQUOT to them. A BPF program at the end of system calls, which costs every system call of the host a tenth of a
// microsecond while this object lives (see refusals_bench.cc); it is gone with the process that holds it. What io_uring refuses is not
// seen. Not thread-safe.
class Refusals {
 public:
  // `cgroup`: a cgroup v2 folder, everything in which is watched from the start, or empty. PERMISSION_DENIED without root,
  // UNIMPLEMENTED where the kernel cannot, or where the agent is in a pid namespace, in which it cannot name processes.
  static absl::StatusOr<std::unique_ptr<Refusals>> Start(const std::string& cgroup = "");
  virtual ~Refusals() = default;

  // Which processes, instead of those of the call before. What they have forked is not watched before it is named here, except in
  // the cgroup.
  virtual absl::Status Watch(const std::vector<ProcessId>& processes) = 0;
  // Since the start, of one of these errors.
  virtual int64_t Seen(std::initializer_list<int> errors) const = 0;
};

}  // namespace squall
