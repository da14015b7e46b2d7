#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "agent/net/address.h"
#include "agent/net/netns.h"
#include "agent/process/proc.h"

namespace squall {

// The processes of this host that answer where edges lead, over loopback: a service waits for them as it waits for itself.
// Elsewhere, and in other network namespaces, they are nobody's here. Thread-safe.
class EdgePeers {
 public:
  // The edge leads there from now on, for a service in `ns`.
  void SetAddresses(const std::string& edge, const NetNamespace& ns, const std::vector<Address>& to);
  // Who holds a socket that listens there, by edge; edges without such a process are left out. To find them every descriptor of
  // the host is looked at, so that one who was found is kept while he lives, and who was not is looked for once in five seconds.
  std::map<std::string, std::vector<ProcessId>> Look(int64_t now_ns);

 private:
  struct Edge {
    std::vector<int> ports;
    std::vector<ProcessId> peers;
    int64_t next_ns = 0;
  };
  absl::Mutex mutex_;
  std::map<std::string, Edge> edges_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace squall
