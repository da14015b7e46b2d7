#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "agent/net/address.h"
#include "agent/net/netns.h"

namespace squall {

// A cgroup v2 as nft rules name it.
struct CgroupMatch {
  uint64_t id = 0;     // the inode of its folder
  uint32_t level = 0;  // folders below the mount
};
// NOT_FOUND when `folder` is no cgroup v2.
absl::StatusOr<CgroupMatch> MatchCgroup(const std::string& folder);

// One rule: which packets, and what becomes of them.
struct NftRule {
  bool outgoing = true;  // packets to `remote`, as they leave a socket here; else packets from it, as they arrive at one
  int protocol = 0;      // IPPROTO_TCP or IPPROTO_UDP
  Address remote;        // an address of zeroes (::) stands for any, of IPv4 too
  std::optional<Address> local;        // only those of this address and port here
  std::optional<CgroupMatch> cgroup;  // only those of sockets that were made in this cgroup or below it
  enum class Verdict {
    kQueue,  // to whoever reads the packet queue; nobody does: the packet passes
    kReset,  // dropped, and its sender gets a RST
  };
  Verdict verdict = Verdict::kQueue;
};

// An nftables table of the agent's own, in one network namespace. It belongs to the netlink socket that made it (flags owner):
// whatever closes that, kill -9 too, takes the table away, and nobody else can change it. Thread-safe.
//
// Found on Linux 6.18: kernels without CONFIG_NFT_QUEUE have no `queue` expression (ENOENT), but take the NFQUEUE target of
// iptables (revision 3, with bypass) as the expression `target` of CONFIG_NFT_COMPAT, in a table of the family inet and with
// an owner too; it vanishes on kill -9 of the owner all the same. The first is tried, then the second; neither needs a program.
//
// Packets are seen with the addresses that the socket sees: when they leave, before the host's own address translation; when
// they arrive, after it. Packets with the mark kMark are left alone.
class NftTable {
 public:
  // Of copies that squall sends itself.
  static constexpr uint32_t kMark = 0x5351554c;

  // Makes the table with two chains and no rule. UNIMPLEMENTED when the kernel is too old (flags owner: Linux 5.12),
  // PERMISSION_DENIED without CAP_NET_ADMIN. `queue`: the number of the packet queue, for the rules that queue.
  static absl::StatusOr<std::unique_ptr<NftTable>> Make(const NetNamespace& ns, uint16_t queue);
  // Takes the table away.
  ~NftTable();

  // Replaces all rules at once, or none.
  absl::Status SetRules(const std::vector<NftRule>& rules);
  // Packets that each of the rules matched, in their order.
  absl::StatusOr<std::vector<int64_t>> Matched();
  // Takes the table away, and looks whether it is gone. Idempotent.
  absl::Status Remove();

  const std::string& name() const { return name_; }
  // The tables of squall's agents in a namespace: none, when nobody injects.
  static absl::StatusOr<std::vector<std::string>> Names(const NetNamespace& ns);

 private:
  class Link;
  NftTable(std::unique_ptr<Link> link, std::string name, uint16_t queue);
  absl::Status SetRulesWith(const std::vector<NftRule>& rules, bool native);

  const std::string name_;
  const uint16_t queue_;
  absl::Mutex mutex_;
  std::unique_ptr<Link> link_ ABSL_GUARDED_BY(mutex_);
  std::vector<size_t> listed_ ABSL_GUARDED_BY(mutex_);  // the rules as the kernel lists them: chain by chain
};

}  // namespace squall
