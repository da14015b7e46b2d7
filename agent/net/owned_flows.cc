#include "agent/net/owned_flows.h"

#include <netinet/in.h>

#include <cstring>
#include <optional>
#include <set>

#include "base/clock.h"

namespace squall {
namespace {

constexpr int64_t kKnownForNs = 1'000'000'000;
constexpr size_t kMostKnown = 65536;

int Compare(const Address& a, const Address& b) {
  const int ip = memcmp(&a.ip, &b.ip, sizeof(a.ip));
  return ip != 0 ? ip : static_cast<int>(a.port) - static_cast<int>(b.port);
}

bool IsAny(const Address& address) {
  static constexpr unsigned char kAny4[16] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0, 0, 0, 0};
  return address.IsAny() || memcmp(&address.ip, kAny4, sizeof(kAny4)) == 0;
}

// A datagram socket may be bound to no address, and need not be connected.
bool Carries(const LiveSocket& socket, const Flow& flow) {
  if (socket.protocol != flow.protocol || socket.local.port != flow.local.port) return false;
  if (flow.protocol == IPPROTO_TCP) return socket.local == flow.local && socket.remote == flow.remote;
  return (socket.local == flow.local || IsAny(socket.local)) && (socket.remote.port == 0 || socket.remote == flow.remote);
}

}  // namespace

bool operator<(const Flow& a, const Flow& b) {
  if (a.protocol != b.protocol) return a.protocol < b.protocol;
  const int local = Compare(a.local, b.local);
  return local != 0 ? local < 0 : Compare(a.remote, b.remote) < 0;
}

void OwnedFlows::SetProcesses(std::vector<ProcessId> processes) {
  absl::MutexLock lock(&mutex_);
  if (processes == processes_) return;
  processes_ = std::move(processes);
  looked_ns_ = 0;  // sockets are inherited
}

bool OwnedFlows::Owns(const Flow& flow, bool opens) {
  absl::MutexLock lock(&mutex_);
  const int64_t now = BootNanos();
  const auto found = known_.find(flow);
  if (found != known_.end() && !opens && found->second.until_ns > now) return found->second.owned;
  if (known_.size() >= kMostKnown) known_.clear();
  const int64_t until = now + kKnownForNs;
  const bool owned = Look(flow, until);
  known_[flow] = {owned, until};
  return owned;
}

bool OwnedFlows::Look(const Flow& flow, int64_t until_ns) {
  SocketFilter filter;
  filter.tcp = flow.protocol == IPPROTO_TCP;
  filter.udp = !filter.tcp;
  if (filter.tcp) filter.remotes = {flow.remote};  // a datagram socket need not be connected
  const absl::StatusOr<std::vector<LiveSocket>> sockets = diag_.List(filter);
  if (!sockets.ok()) return false;
  bool owned = false;
  for (const LiveSocket& socket : *sockets) {
    if (socket.inode == 0) continue;
    std::optional<bool> theirs = Seen(socket);
    if (Carries(socket, flow)) {
      if (!theirs) {
        LookAtDescriptors();
        theirs = Seen(socket);
      }
      owned |= theirs.value_or(false);
    } else if (filter.tcp && theirs) {
      const auto known = known_.find({flow.protocol, socket.local, socket.remote});
      if (known != known_.end()) known->second = {*theirs, until_ns};
    }
  }
  return owned;
}

std::optional<bool> OwnedFlows::Seen(const LiveSocket& socket) {
  if (inodes_.count(socket.inode) > 0) return true;
  if (first_seen_ns_.size() >= kMostKnown) first_seen_ns_.clear();
  const int64_t now = BootNanos();
  const int64_t first = first_seen_ns_.emplace(socket.cookie, now).first->second;
  // One that is being accepted is in no table of descriptors yet: who is somebody else's is looked at again.
  if (looked_ns_ > first && looked_ns_ + kKnownForNs > now) return false;
  return std::nullopt;
}

void OwnedFlows::LookAtDescriptors() {
  absl::StatusOr<std::set<uint64_t>> inodes = SocketInodes(processes_);
  if (!inodes.ok()) return;
  inodes_ = *std::move(inodes);
  looked_ns_ = BootNanos();
}

}  // namespace squall
