#pragma once

#include <sys/types.h>

#include <cstdint>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "agent/net/netns.h"

// What the kernel has of things that outlive or could outlive a process: read only. All functions are thread-safe and look anew each
// time; PERMISSION_DENIED where this user may not see them.
namespace squall {

struct NftTableName {
  std::string family;  // "inet"
  std::string name;
};
absl::StatusOr<std::vector<NftTableName>> ListNftTables(const NetNamespace& ns);

struct Qdisc {
  std::string interface;
  std::string parent;  // "root", "ingress" or "1:2"
  std::string kind;    // "fq_codel"
  uint32_t handle = 0;
};
absl::StatusOr<std::vector<Qdisc>> ListQdiscs(const NetNamespace& ns);

// Programs and links are told apart by the first, and among themselves by their ids, which are not used again.
using BpfId = std::pair<bool, uint32_t>;  // of a link; else of a program
struct BpfObject {
  BpfId id;
  std::string what;  // "connect4 (cgroup_sock_addr)"
};
absl::StatusOr<std::vector<BpfObject>> ListBpf();
// Those of which the process holds a descriptor; none when that may not be seen.
std::set<BpfId> BpfHeldBy(pid_t pid);

}  // namespace squall
