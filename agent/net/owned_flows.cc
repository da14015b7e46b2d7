#include "agent/net/owned_flows.h"

#include <netinet/in.h>

#include <cstring>
#include <string>

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
  return IN6_IS_ADDR_UNSPECIFIED(&address.ip) || memcmp(&address.ip, kAny4, sizeof(kAny4)) == 0;
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
  processes_ = std::move(processes);
}

bool OwnedFlows::Owns(const Flow& flow, bool opens) {
  absl::MutexLock lock(&mutex_);
  const int64_t now = BootNanos();
  const auto found = known_.find(flow);
  if (found != known_.end() && !opens && found->second.until_ns > now) return found->second.owned;
  if (known_.size() >= kMostKnown) known_.clear();
  const bool owned = Look(flow);
  known_[flow] = {owned, now + kKnownForNs};
  return owned;
}

bool OwnedFlows::Look(const Flow& flow) {
  SocketFilter filter;
  filter.tcp = flow.protocol == IPPROTO_TCP;
  filter.udp = !filter.tcp;
  if (filter.tcp) filter.remotes = {flow.remote};  // a datagram socket need not be connected
  const absl::StatusOr<std::vector<LiveSocket>> sockets = diag_.List(filter);
  if (!sockets.ok()) return false;
  for (const LiveSocket& socket : *sockets) {
    if (socket.inode == 0 || !Carries(socket, flow)) continue;
    if (inodes_.count(socket.inode) > 0) return true;
    absl::StatusOr<std::set<uint64_t>> inodes = SocketInodes(processes_);
    if (inodes.ok()) inodes_ = *std::move(inodes);
    if (inodes_.count(socket.inode) > 0) return true;
  }
  return false;
}

}  // namespace squall
