#include "agent/live_edges.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/time/clock.h"
#include "agent/edge_checks.h"
#include "agent/process/find.h"
#include "base/clock.h"
#include "base/direct_reach.h"
#include "base/messages.h"

namespace squall {
namespace {

constexpr int64_t kLookEveryNs = 1'000'000'000;
// Looking takes no more than this share of the time.
constexpr int64_t kLeastRest = 100;
constexpr absl::Duration kResetPatience = absl::Seconds(2);
constexpr absl::Duration kResetQuiet = absl::Milliseconds(20);

SocketFilter ConnectionsTo(const std::vector<Address>& to) {
  SocketFilter filter;
  filter.udp = false;
  filter.bytes = true;
  filter.remotes = to;
  return filter;
}

std::string Connections(int64_t count) { return absl::StrCat(count, count == 1 ? " connection" : " connections"); }

// "slow (latency)" of each fault of the edge with this reach.
std::string FaultsWith(const Scenario& scenario, const std::string& edge, DirectReach reach) {
  std::vector<std::string> names;
  for (const Fault& fault : scenario.faults()) {
    if (EdgeOfFault(fault) != edge || DirectReachOf(fault) != reach) continue;
    const std::string kind = KindOfFault(fault);
    names.push_back(fault.name() == kind ? kind : absl::StrCat(fault.name(), " (", kind, ")"));
  }
  return absl::StrJoin(names, ", ");
}

std::string Note(const Scenario& scenario, const Edge& edge, size_t count) {
  std::string note = absl::StrCat("edge ", edge.name(), ": ", edge.from(), " has ",
                                  Connections(static_cast<int64_t>(count)), " open from before the run");
  if (edge.existing() == Edge::EXISTING_RESET) {
    return absl::StrCat(note, ", ended when it begins so that it comes back through the relay");
  }
  const std::string reached = FaultsWith(scenario, edge.name(), DirectReach::kReached);
  const std::string queued = FaultsWith(scenario, edge.name(), DirectReach::kThroughQueue);
  const std::string missed = FaultsWith(scenario, edge.name(), DirectReach::kNotReached);
  if (!reached.empty()) absl::StrAppend(&note, "; reached by ", reached);
  if (!queued.empty()) absl::StrAppend(&note, "; reached through the packet queue by ", queued);
  if (!missed.empty()) {
    absl::StrAppend(&note, "; not reached by ", missed,
                    ": write `existing: reset` on the edge to have them come back through the relay");
  }
  return note;
}

// Edges whose service is attached and redirected: only they have connections beside the relay.
bool MayHaveDirect(const Edge& edge, const Service* from) {
  return from != nullptr && from->has_attach() && edge.relay_at().empty() && edge.protocol() != Edge::PROTOCOL_UDP;
}

}  // namespace

absl::Status LiveEdges::Prepare(const Scenario& scenario, PrepareReply& reply) {
  for (const Edge& edge : scenario.edges()) {
    const Service* from = FindNamed(scenario.services(), edge.from());
    if (!MayHaveDirect(edge, from)) continue;
    const absl::StatusOr<ProcessId> target = FindTarget(from->attach());
    if (!target.ok()) continue;  // is told when the services are claimed
    const absl::StatusOr<NetNamespace> ns = NetNamespace::Of(target->pid);
    if (edge.existing() == Edge::EXISTING_RESET) {
      const absl::Status can = ns.ok() ? SocketDiag::CanDestroy(*ns) : ns.status();
      if (!can.ok()) {
        return absl::FailedPreconditionError(absl::StrCat("edge ", edge.name(), ": existing: reset: ", can.message(),
                                                          "; leave it out, and start ", edge.from(), " anew during the run"));
      }
    }
    const std::vector<Address> to = WrittenAddressesOf(edge);
    if (!ns.ok() || to.empty()) continue;
    SocketFilter filter = ConnectionsTo(to);
    filter.bytes = false;
    const absl::StatusOr<std::vector<LiveSocket>> sockets = SocketsOf(WithDescendants({*target}), *ns, filter);
    if (!sockets.ok()) {
      reply.add_notes(absl::StrCat("edge ", edge.name(), ": cannot tell which connections ", edge.from(),
                                   " has already: ", sockets.status().message()));
    } else if (!sockets->empty()) {
      reply.add_notes(Note(scenario, edge, sockets->size()));
    }
  }
  return absl::OkStatus();
}

absl::Status LiveEdges::Add(const Edge& edge, const std::vector<Address>& to, const NetNamespace& ns,
                            std::function<std::vector<ProcessId>()> processes) {
  absl::StatusOr<SocketDiag> diag = SocketDiag::Open(ns);
  if (!diag.ok()) return diag.status();
  absl::MutexLock lock(&mutex_);
  Place& place = places_[edge.name()];
  place.edge = edge;
  place.to = to;
  place.processes = std::move(processes);
  place.diag = *std::move(diag);
  return LookAt(place).status();
}

void LiveEdges::SetAddresses(const std::string& edge, const std::vector<Address>& to) {
  absl::MutexLock lock(&mutex_);
  const auto place = places_.find(edge);
  if (place == places_.end() || place->second.to == to) return;
  place->second.to = to;
  place->second.looked = false;  // what is there at a new address was there before it was the edge's
}

// Returns the service's.
absl::StatusOr<std::vector<LiveSocket>> LiveEdges::LookAt(Place& place) {
  const int64_t start = BootNanos();
  absl::StatusOr<std::vector<LiveSocket>> sockets = place.diag->List(ConnectionsTo(place.to));
  if (!sockets.ok()) return sockets;
  std::optional<std::set<uint64_t>> inodes;  // looked at only when there is somebody new: it is what costs
  std::map<uint64_t, Connection> now;
  for (const LiveSocket& socket : *sockets) {
    if (socket.inode == 0) continue;
    Connection& connection = now[socket.cookie];
    const auto known = place.connections.find(socket.cookie);
    if (known != place.connections.end()) {
      connection = known->second;
    } else {
      if (!inodes) {
        absl::StatusOr<std::set<uint64_t>> held = SocketInodes(place.processes());
        if (!held.ok()) return held.status();
        inodes = *std::move(held);
      }
      connection.of_service = inodes->count(socket.inode) > 0;
      // One that was made since the run began counts from its first byte.
      if (!place.looked) connection.first_to = socket.bytes_to_remote;
      if (!place.looked) connection.first_from = socket.bytes_from_remote;
    }
    connection.to = socket.bytes_to_remote - connection.first_to;
    connection.from = socket.bytes_from_remote - connection.first_from;
  }
  for (const auto& [cookie, connection] : place.connections) {
    if (now.count(cookie) > 0 || !connection.of_service) continue;
    place.closed_to += connection.to;
    place.closed_from += connection.from;
  }
  place.connections = std::move(now);
  place.looked = true;
  for (auto& [fault, acting] : acting_) {
    if (acting.over || acting.edge != place.edge.name()) continue;
    for (const auto& [cookie, connection] : place.connections) {
      if (connection.of_service) acting.seen.insert(cookie);
    }
  }
  sockets->erase(std::remove_if(sockets->begin(), sockets->end(),
                                [&](const LiveSocket& socket) {
                                  const auto found = place.connections.find(socket.cookie);
                                  return found == place.connections.end() || !found->second.of_service;
                                }),
                 sockets->end());
  const int64_t end = BootNanos();
  place.next_look_ns = start + std::max(kLookEveryNs, (end - start) * kLeastRest);
  return sockets;
}

absl::StatusOr<int64_t> LiveEdges::ResetPlace(Place& place, const std::atomic<bool>& cancelled) {
  std::set<uint64_t> ended;
  const absl::Time deadline = absl::Now() + kResetPatience;
  for (bool quiet = false;; absl::SleepFor(quiet ? kResetQuiet : absl::ZeroDuration())) {
    absl::MutexLock lock(&mutex_);
    const absl::StatusOr<std::vector<LiveSocket>> sockets = LookAt(place);
    if (!sockets.ok()) return sockets.status();
    // None is left when none comes back either, by a socket that was made before the redirection and is not marked.
    if (sockets->empty() && quiet) return static_cast<int64_t>(ended.size());
    quiet = sockets->empty();
    if (!quiet && (absl::Now() > deadline || cancelled)) {
      return absl::DeadlineExceededError(absl::StrCat("existing: reset: ", place.edge.from(), " still has ",
                                                      Connections(static_cast<int64_t>(sockets->size())),
                                                      " that do not go through the relay, after ", ended.size(), " were ended"));
    }
    for (const LiveSocket& socket : *sockets) {
      const absl::Status status = place.diag->Destroy(socket);
      if (!status.ok()) return status;
      ended.insert(socket.cookie);
    }
  }
}

absl::Status LiveEdges::Reset(const std::atomic<bool>& cancelled, std::vector<std::string>& notes) {
  std::vector<Place*> places;
  {
    absl::MutexLock lock(&mutex_);
    for (auto& [name, place] : places_) places.push_back(&place);  // they stay where they are
  }
  for (Place* place : places) {
    if (place->edge.existing() != Edge::EXISTING_RESET) continue;
    const absl::StatusOr<int64_t> ended = ResetPlace(*place, cancelled);
    if (!ended.ok()) {
      return absl::Status(ended.status().code(), absl::StrCat("edge ", place->edge.name(), ": ", ended.status().message()));
    }
    notes.push_back(absl::StrCat("edge ", place->edge.name(), ": ", Connections(*ended), " of ", place->edge.from(),
                                 " from before the run ended (existing: reset)"));
  }
  return absl::OkStatus();
}

void LiveEdges::Look() {
  absl::MutexLock lock(&mutex_);
  const int64_t now = BootNanos();
  for (auto& [name, place] : places_) {
    if (now >= place.next_look_ns) LookAt(place).status().IgnoreError();
  }
}

void LiveEdges::AddTo(EdgeStats& stats) {
  absl::MutexLock lock(&mutex_);
  const auto found = places_.find(stats.edge());
  if (found == places_.end()) return;
  int64_t open = 0, to = found->second.closed_to, from = found->second.closed_from;
  for (const auto& [cookie, connection] : found->second.connections) {
    if (!connection.of_service) continue;
    ++open;
    to += connection.to;
    from += connection.from;
  }
  stats.set_direct_connections(open);
  stats.set_direct_bytes_to_dependency(to);
  stats.set_direct_bytes_to_service(from);
}

void LiveEdges::Begin(const Fault& fault) {
  absl::MutexLock lock(&mutex_);
  const auto place = places_.find(EdgeOfFault(fault));
  if (place == places_.end()) return;
  acting_[fault.name()] = {place->first, {}, false};
  LookAt(place->second).status().IgnoreError();
}

void LiveEdges::End(const std::string& fault) {
  absl::MutexLock lock(&mutex_);
  const auto acting = acting_.find(fault);
  if (acting != acting_.end()) acting->second.over = true;
}

void LiveEdges::AddTo(const Fault& fault, Evidence& evidence) {
  if (evidence.direct_reached() > 0 || evidence.direct_unreached() > 0) return;
  absl::MutexLock lock(&mutex_);
  const auto acting = acting_.find(fault.name());
  if (acting == acting_.end()) return;
  const int64_t count = static_cast<int64_t>(acting->second.seen.size());
  const DirectReach reach = DirectReachOf(fault);
  if (reach == DirectReach::kOnlyNew) return;
  // Whether the packet queue worked is told by what it held back.
  const bool reached = reach == DirectReach::kReached ||
                       (reach == DirectReach::kThroughQueue && evidence.hit_to_dependency() + evidence.hit_to_service() > 0);
  if (reached) {
    evidence.set_direct_reached(count);
  } else {
    evidence.set_direct_unreached(count);
  }
}

}  // namespace squall
