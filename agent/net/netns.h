#pragma once

#include <sys/types.h>

#include <cstdint>
#include <functional>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/fd.h"

namespace squall {

// The network namespace of a process, kept alive while this lives. Sockets that are opened inside stay inside, whichever
// thread uses them. Thread-safe.
class NetNamespace {
 public:
  // The agent's own.
  static absl::StatusOr<NetNamespace> Own();
  // NOT_FOUND when the process is gone.
  static absl::StatusOr<NetNamespace> Of(pid_t pid);

  // Calls `open` inside, on a thread of its own when the namespace is not the agent's. PERMISSION_DENIED without
  // CAP_SYS_ADMIN.
  absl::Status Inside(const std::function<absl::Status()>& open) const;
  // socket(2) inside, close-on-exec.
  absl::StatusOr<Fd> Socket(int family, int type, int protocol = 0) const;

  // What BPF programs tell network namespaces apart by. UNIMPLEMENTED before Linux 5.14.
  absl::StatusOr<uint64_t> Cookie() const;

  uint64_t inode() const { return inode_; }
  bool IsOwn() const { return is_own_; }

 private:
  static absl::StatusOr<NetNamespace> Open(const char* path);
  Fd fd_;
  uint64_t inode_ = 0;
  bool is_own_ = false;
};

}  // namespace squall
