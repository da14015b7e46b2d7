#include "agent/edge_peers.h"

#include <netinet/in.h>

#include <algorithm>
#include <utility>

namespace squall {
namespace {

constexpr int64_t kLookAgainNs = 5'000'000'000;

bool IsLoopback(const Address& address) {
  return address.IsV4() ? address.ip.s6_addr[12] == 127 : IN6_IS_ADDR_LOOPBACK(&address.ip) != 0;
}

std::vector<ProcessId> Listening(const std::vector<int>& ports) {
  std::vector<ProcessId> found;
  for (const int port : ports) {
    for (const pid_t pid : PidsListeningOn(port)) {
      const absl::StatusOr<ProcStat> stat = ReadStat(pid);
      if (stat.ok() && std::find(found.begin(), found.end(), stat->id) == found.end()) found.push_back(stat->id);
    }
  }
  return found;
}

}  // namespace

void EdgePeers::SetAddresses(const std::string& edge, const NetNamespace& ns, const std::vector<Address>& to) {
  std::vector<int> ports;
  for (const Address& address : to) {
    if (ns.IsOwn() && IsLoopback(address)) ports.push_back(address.port);
  }
  absl::MutexLock lock(&mutex_);
  Edge& known = edges_[edge];
  if (known.ports == ports) return;
  known = {std::move(ports), {}, 0};
}

std::map<std::string, std::vector<ProcessId>> EdgePeers::Look(int64_t now_ns) {
  std::map<std::string, std::vector<ProcessId>> peers;
  absl::MutexLock lock(&mutex_);
  for (auto& [name, edge] : edges_) {
    std::erase_if(edge.peers, [](const ProcessId& process) { return !IsAlive(process); });
    if (edge.peers.empty() && !edge.ports.empty() && now_ns >= edge.next_ns) {
      edge.next_ns = now_ns + kLookAgainNs;
      edge.peers = Listening(edge.ports);
    }
    if (!edge.peers.empty()) peers[name] = edge.peers;
  }
  return peers;
}

}  // namespace squall
