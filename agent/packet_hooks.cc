#include "agent/packet_hooks.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "agent/net/intercept.h"
#include "agent/process/cgroup.h"

namespace squall {
namespace {

// The edge whose packets the fault drops; empty: none. An edge with relay_at is left to the relay.
std::string EdgeOfPackets(const Fault& fault) {
  if (fault.has_loss()) return fault.loss().edge();
  if (fault.has_blackhole()) return fault.blackhole().edge();
  return fault.has_partition() ? fault.partition().edge() : "";
}

bool NeedsPackets(const Scenario& scenario, const std::string& service) {
  const auto is_about = [&](const Fault& fault) {
    if (fault.has_partition() && fault.partition().isolate() == service) return true;
    const std::string name = EdgeOfPackets(fault);
    return !name.empty() && std::any_of(scenario.edges().begin(), scenario.edges().end(), [&](const Edge& edge) {
      return edge.name() == name && edge.from() == service && edge.relay_at().empty();
    });
  };
  return std::any_of(scenario.faults().begin(), scenario.faults().end(), is_about);
}

}  // namespace

absl::Status PacketHooks::Prepare(const Scenario& scenario) {
  for (const Service& service : scenario.services()) {
    if (!NeedsPackets(scenario, service.name())) continue;
    const std::string why_not = Intercept::WhyNot(service.has_attach());
    if (!why_not.empty()) {
      return absl::FailedPreconditionError(
          absl::StrCat("service ", service.name(), ": its packets cannot be dropped: ", why_not));
    }
  }
  return absl::OkStatus();
}

absl::Status PacketHooks::Open(const Scenario& scenario, const Services& services, Relay* relay) {
  absl::MutexLock lock(&mutex_);
  relay_ = relay;
  for (const Service& spec : scenario.services()) {
    if (!NeedsPackets(scenario, spec.name())) continue;
    RunningService& service = *services.at(spec.name());
    const auto failed = [&](const absl::Status& status) {
      return absl::Status(status.code(), absl::StrCat("service ", spec.name(), ": ", status.message()));
    };
    const absl::StatusOr<std::string> folder = service.IsRun() ? service.CgroupFolder() : CgroupV2Mount();
    if (!folder.ok()) return failed(folder.status());
    absl::StatusOr<std::unique_ptr<Packets>> packets = Packets::Attach(*folder, /*by_process=*/!service.IsRun());
    if (!packets.ok()) return failed(packets.status());
    places_.of_service[spec.name()] = packets->get();
    packets_[spec.name()] = *std::move(packets);
    if (service.IsRun()) continue;
    attached_[spec.name()] = &service;
    const absl::Status marked = packets_[spec.name()]->SetProcesses(service.Processes());
    if (!marked.ok()) return failed(marked);
  }
  for (const auto& [name, known] : edges_) {
    const absl::Status status = Tell(known);
    if (!status.ok()) return absl::Status(status.code(), absl::StrCat("edge ", name, ": ", status.message()));
    const auto packets = packets_.find(known.edge.from());
    if (packets != packets_.end() && known.edge.relay_at().empty()) places_.of_edge[name] = packets->second.get();
  }
  return absl::OkStatus();
}

absl::Status PacketHooks::SetAddresses(const Edge& edge, const std::vector<Address>& to) {
  absl::MutexLock lock(&mutex_);
  Known& known = edges_[edge.name()];
  known = {edge, to};
  return Tell(known);
}

// A connection that is redirected has its packets go to the relay, and one from before to the dependency: both are the edge's.
absl::Status PacketHooks::Tell(const Known& known) {
  const auto packets = packets_.find(known.edge.from());
  if (packets == packets_.end() || !known.edge.relay_at().empty()) return absl::OkStatus();
  Packets::Edge edge = {known.edge.protocol() == Edge::PROTOCOL_UDP, known.to};
  if (!edge.udp) {
    for (const Address& listener : relay_->Listeners(known.edge.name())) edge.remotes.push_back(listener);
  }
  return packets->second->SetEdge(known.edge.name(), edge);
}

void PacketHooks::FollowProcesses() {
  absl::MutexLock lock(&mutex_);
  for (const auto& [name, service] : attached_) packets_.at(name)->SetProcesses(service->Processes()).IgnoreError();
}

void PacketHooks::Close() {
  absl::MutexLock lock(&mutex_);
  for (auto& [name, packets] : packets_) packets->Detach();
}

void PacketHooks::Release() {
  absl::MutexLock lock(&mutex_);
  attached_.clear();
  packets_.clear();
}

}  // namespace squall
