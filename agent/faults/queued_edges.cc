#include "agent/faults/queued_edges.h"

#include <netinet/in.h>

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "agent/net/live_reject.h"
#include "base/messages.h"

namespace squall {
namespace {

// The edge whose packets the fault takes out; empty: it takes out none.
std::string QueuedEdgeOf(const Fault& fault) {
  if (fault.has_duplicate()) return fault.duplicate().edge();
  if (fault.has_reorder()) return fault.reorder().edge();
  if (fault.has_corrupt()) return fault.corrupt().edge();
  return fault.has_latency() ? fault.latency().edge() : "";
}

bool IsUdp(const Edge& edge) { return edge.protocol() == Edge::PROTOCOL_UDP; }

// The edge on which the fault resets connections from before the run; empty: on none.
std::string RejectedEdgeOf(const Fault& fault) {
  if (fault.has_reset() && fault.reset().existing()) return fault.reset().edge();
  const Partition& partition = fault.partition();
  const bool rejects = partition.answer() == Partition::ANSWER_REJECT && partition.connections() != Partition::CONNECTIONS_NEW;
  return fault.has_partition() && rejects ? partition.edge() : "";
}

// Connections from before the run stay: latency reaches them by their packets.
bool KeepsDirect(const Scenario& scenario, const Edge& edge) {
  const Service* service = FindNamed(scenario.services(), edge.from());
  return service != nullptr && service->has_attach() && edge.relay_at().empty() && edge.existing() != Edge::EXISTING_RESET;
}

}  // namespace

absl::Status QueuedEdges::Prepare(const Scenario& scenario, PrepareReply& reply) {
  std::string why_not;
  bool asked = false;
  for (const Fault& fault : scenario.faults()) {
    const Edge* edge = FindNamed(scenario.edges(), QueuedEdgeOf(fault));
    if (edge == nullptr) continue;
    const bool must = !fault.has_latency() || IsUdp(*edge);
    if (!must && !KeepsDirect(scenario, *edge)) continue;
    if (!asked) why_not = PacketQueue::WhyNot();
    asked = true;
    if (why_not.empty()) continue;
    if (must) return absl::FailedPreconditionError(absl::StrCat("fault ", fault.name(), ": ", why_not));
    reply.add_notes(absl::StrCat("Connections of ", edge->from(), " over ", edge->name(),
                                 " from before the run are not slowed: ", why_not));
  }
  for (const Fault& fault : scenario.faults()) {
    const Edge* edge = FindNamed(scenario.edges(), RejectedEdgeOf(fault));
    if (edge == nullptr || IsUdp(*edge) || !KeepsDirect(scenario, *edge)) continue;
    const std::string cannot = LiveReject::WhyNot();
    if (cannot.empty()) break;
    return absl::FailedPreconditionError(absl::StrCat(
        "fault ", fault.name(), ": connections of ", edge->from(), " from before the run cannot be reset: ", cannot, "; write ",
        fault.has_reset() ? "existing: false" : "answer: drop"));
  }
  return absl::OkStatus();
}

absl::Status QueuedEdges::SetAddresses(const Edge& edge, const std::vector<Address>& to) {
  absl::MutexLock lock(&mutex_);
  Place& place = places_[edge.name()];
  place.edge = edge;
  place.to = to;
  absl::Status status;
  for (const auto& [key, acting] : acting_) {
    if (acting.edge == edge.name()) status.Update(acting.queue->SetRemotes(key, Remotes(place, acting.reach)));
  }
  return status;
}

void QueuedEdges::FollowProcesses() {
  std::vector<std::pair<const RunningService*, std::shared_ptr<OwnedFlows>>> followed;
  {
    absl::MutexLock lock(&mutex_);
    for (const auto& [name, queues] : queues_) {
      if (queues.back().flows != nullptr) followed.emplace_back(services_->at(name).get(), queues.back().flows);
    }
  }
  for (const auto& [service, flows] : followed) flows->SetProcesses(service->Processes());
}

bool QueuedEdges::HasDirect(const std::string& edge) const {
  absl::MutexLock lock(&mutex_);
  const auto place = places_.find(edge);
  if (place == places_.end()) return false;
  const Edge& spec = place->second.edge;
  if (IsUdp(spec)) return true;
  // With `existing: reset` they were ended when the run began.
  return spec.relay_at().empty() && spec.existing() != Edge::EXISTING_RESET && !services_->at(spec.from())->IsRun();
}

std::vector<Address> QueuedEdges::Remotes(const Place& place, Reach reach) const {
  std::vector<Address> remotes = place.to;
  if (reach == Reach::kEverything && !IsUdp(place.edge)) {
    const std::vector<Address> listeners = relay_->Listeners(place.edge.name());
    remotes.insert(remotes.end(), listeners.begin(), listeners.end());
  }
  return remotes;
}

absl::StatusOr<PacketQueue*> QueuedEdges::QueueOf(RunningService& service) {
  absl::StatusOr<NetNamespace> ns = service.Namespace();
  if (!ns.ok()) return ns.status();
  const auto known = queues_.find(service.name());
  if (known != queues_.end() && known->second.back().ns->inode() == ns->inode()) return known->second.back().queue.get();
  Queue made;
  made.ns = std::make_unique<NetNamespace>(*std::move(ns));
  PacketQueue::Target target;
  if (service.IsRun()) {
    const absl::StatusOr<std::string> folder = service.CgroupFolder();
    if (!folder.ok()) return folder.status();
    const absl::StatusOr<CgroupMatch> cgroup = MatchCgroup(*folder);
    if (!cgroup.ok()) return cgroup.status();
    target.cgroup = *cgroup;
  } else {
    absl::StatusOr<SocketDiag> diag = SocketDiag::Open(*made.ns);
    if (!diag.ok()) return diag.status();
    made.flows = target.flows = std::make_shared<OwnedFlows>(*std::move(diag));
    made.flows->SetProcesses(service.Processes());
  }
  made.queue = std::make_unique<PacketQueue>(*made.ns, std::move(target));
  std::vector<Queue>& queues = queues_[service.name()];  // which is never empty
  queues.push_back(std::move(made));
  return queues.back().queue.get();
}

absl::Status QueuedEdges::Set(const std::string& key, const std::string& edge, Reach reach, PacketAction action) {
  absl::MutexLock lock(&mutex_);
  const auto place = places_.find(edge);
  if (place == places_.end()) return absl::NotFoundError(absl::StrCat("it is not known where edge ", edge, " leads"));
  const absl::StatusOr<PacketQueue*> queue = QueueOf(*services_->at(place->second.edge.from()));
  if (!queue.ok()) return queue.status();
  action.to = Remotes(place->second, reach);
  action.protocol = IsUdp(place->second.edge) ? IPPROTO_UDP : IPPROTO_TCP;
  const absl::Status status = (*queue)->Set(key, std::move(action));
  if (status.ok()) acting_[key] = {edge, reach, *queue};
  return status;
}

absl::Status QueuedEdges::Change(const std::string& key, const std::function<void(PacketAction&)>& change) {
  absl::MutexLock lock(&mutex_);
  const auto acting = acting_.find(key);
  if (acting == acting_.end()) return absl::NotFoundError("no such fault acts on packets");
  return acting->second.queue->Change(key, change);
}

absl::Status QueuedEdges::Clear(const std::string& key) {
  absl::MutexLock lock(&mutex_);
  const auto acting = acting_.find(key);
  return acting == acting_.end() ? absl::OkStatus() : acting->second.queue->Clear(key);
}

Evidence QueuedEdges::EvidenceOf(const std::string& key) {
  absl::MutexLock lock(&mutex_);
  const auto acting = acting_.find(key);
  return acting == acting_.end() ? Evidence() : acting->second.queue->EvidenceOf(key);
}

absl::StatusOr<QueuedEdges::Direct> QueuedEdges::DirectConnections(const std::string& edge, bool bytes) {
  Place place;
  {
    absl::MutexLock lock(&mutex_);
    const auto found = places_.find(edge);
    if (found == places_.end()) return absl::NotFoundError(absl::StrCat("it is not known where edge ", edge, " leads"));
    place = found->second;
  }
  const RunningService& service = *services_->at(place.edge.from());
  absl::StatusOr<NetNamespace> ns = service.Namespace();
  if (!ns.ok()) return ns.status();
  Direct direct;
  direct.ns = std::make_unique<NetNamespace>(*std::move(ns));
  SocketFilter filter;
  filter.udp = false;
  filter.bytes = bytes;
  filter.remotes = place.to;
  absl::StatusOr<std::vector<LiveSocket>> connections = SocketsOf(service.Processes(), *direct.ns, filter);
  if (!connections.ok()) return connections.status();
  direct.connections = *std::move(connections);
  return direct;
}

}  // namespace squall
