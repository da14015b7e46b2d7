#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <tuple>
#include <vector>

#include "absl/synchronization/mutex.h"
#include "agent/net/live_sockets.h"
#include "agent/net/netns.h"
#include "agent/net/packet.h"
#include "agent/process/proc.h"

namespace squall {

// A packet's flow as the socket here sees it.
struct Flow {
  int protocol = 0;
  Address local;
  Address remote;
  friend bool operator<(const Flow& a, const Flow& b);
};

// Tells the packets of some processes from those of their neighbours, by the sockets that the processes hold. Thread-safe.
class OwnedFlows {
 public:
  explicit OwnedFlows(SocketDiag diag) : diag_(std::move(diag)) {}

  void SetProcesses(std::vector<ProcessId> processes);
  // Whether a socket of the processes sends and receives these packets. Asks the kernel where it has not for a second, for all
  // connections to that remote at once, or where the packet opens a connection (`opens`): some 100 us. The descriptors of the
  // processes are looked at once a second, and for a socket that was never seen: that takes longer where they have many.
  bool Owns(const Flow& flow, bool opens);

 private:
  struct Known {
    bool owned = false;
    int64_t until_ns = 0;
  };
  bool Look(const Flow& flow, int64_t until_ns) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // By what was seen of their descriptors; nothing: not enough.
  std::optional<bool> Seen(const LiveSocket& socket) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void LookAtDescriptors() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  absl::Mutex mutex_;
  SocketDiag diag_ ABSL_GUARDED_BY(mutex_);
  std::vector<ProcessId> processes_ ABSL_GUARDED_BY(mutex_);
  std::set<uint64_t> inodes_ ABSL_GUARDED_BY(mutex_);  // of the sockets that they hold
  int64_t looked_ns_ ABSL_GUARDED_BY(mutex_) = 0;
  std::map<uint64_t, int64_t> first_seen_ns_ ABSL_GUARDED_BY(mutex_);  // sockets that were asked about, by cookie
  std::map<Flow, Known> known_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace squall
