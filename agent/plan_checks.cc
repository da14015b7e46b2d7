#include "agent/plan_checks.h"

#include "absl/strings/str_cat.h"
#include "agent/edge_checks.h"
#include "agent/faults/fault.h"
#include "agent/faults/queued_edges.h"
#include "agent/live_edges.h"
#include "agent/net/intercept.h"
#include "agent/packet_hooks.h"
#include "agent/process/spawn.h"
#include "agent/resolvers.h"
#include "agent/watch/watches.h"
#include "base/messages.h"
#include "base/version.h"

namespace squall {
namespace {

constexpr char kRedirected[] = "connects redirected by cgroup BPF";
constexpr char kDatagrams[] = "datagrams, not redirected: faults act on packets";

absl::Status CheckEdges(const Scenario& scenario) {
  for (const Edge& edge : scenario.edges()) {
    if (!edge.relay_at().empty()) continue;
    const Service* from = FindNamed(scenario.services(), edge.from());
    const std::string why_not = Intercept::WhyNot(from != nullptr && from->has_attach());
    if (!why_not.empty()) {
      return absl::FailedPreconditionError(
          absl::StrCat("edge ", edge.name(), ": ", why_not, "; without, write relay_at: \"HOST:PORT\" on the edge and let ",
                       edge.from(), " call that address"));
    }
  }
  return absl::OkStatus();
}

// Of faults on a service by itself. Those on edges and names are checked where these are.
absl::Status CheckFault(const Fault& fault, const Scenario& scenario, const std::string& folder) {
  const auto with = [&](const std::string& name, auto check) {
    const Service* service = FindNamed(scenario.services(), name);
    return service == nullptr ? absl::OkStatus() : check(*service);
  };
  switch (fault.kind_case()) {
    case Fault::kCpu:
      return with(fault.cpu().service(), [&](const Service& service) { return CheckCpu(fault.cpu(), service); });
    case Fault::kPause:
      return with(fault.pause().service(), [&](const Service& service) { return CheckPause(fault.pause(), service); });
    case Fault::kMemory:
      return with(fault.memory().service(), [&](const Service& service) { return CheckMemory(fault.memory(), service); });
    case Fault::kDisk:
      return CheckDisk(fault.disk(), folder);
    case Fault::kFds:
      return with(fault.fds().service(), [&](const Service& service) { return CheckFds(fault.fds(), service); });
    case Fault::kPids:
      return with(fault.pids().service(), [&](const Service& service) { return CheckPids(fault.pids(), service); });
    case Fault::kKill:
    case Fault::kAbandon:
    case Fault::kSurge:
    case Fault::kDns:
    case Fault::kLatency:
    case Fault::kBandwidth:
    case Fault::kStall:
    case Fault::kSlice:
    case Fault::kLimitData:
    case Fault::kReset:
    case Fault::kRefuse:
    case Fault::kBlackhole:
    case Fault::kPartition:
    case Fault::kLoss:
    case Fault::kDuplicate:
    case Fault::kReorder:
    case Fault::kCorrupt:
    case Fault::kHttp:
    case Fault::kGrpc:
    case Fault::kTls:
    case Fault::KIND_NOT_SET:
      break;
  }
  return absl::OkStatus();
}

// Everything that can be known to be impossible before anything is touched.
absl::Status CheckPlaces(const Scenario& scenario, const std::string& folder) {
  for (const Service& service : scenario.services()) {
    const absl::Status user = CheckUser(service.user());
    if (!user.ok()) return user;
  }
  absl::Status status = CheckEdges(scenario);
  if (status.ok()) status = CheckTargets(scenario);
  if (status.ok()) status = CheckEdgesLead(scenario);
  if (!status.ok()) return status;
  for (const Fault& fault : scenario.faults()) {
    if (fault.kind_case() == Fault::KIND_NOT_SET) {
      return absl::UnimplementedError(absl::StrCat("fault ", fault.name(), " is of a kind that this agent, squall ", kVersion,
                                                   ", does not know; install the controller's version on its host"));
    }
    const absl::Status can = CheckFault(fault, scenario, folder);
    if (!can.ok()) return absl::Status(can.code(), absl::StrCat("fault ", fault.name(), ": ", can.message()));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<PrepareReply> CheckPlan(const Scenario& scenario, const std::string& folder) {
  PrepareReply reply;
  absl::Status status = CheckPlaces(scenario, folder);
  if (status.ok()) status = Resolvers::Prepare(scenario, reply);
  if (status.ok()) status = PacketHooks::Prepare(scenario);
  if (status.ok()) status = QueuedEdges::Prepare(scenario, reply);
  if (status.ok()) status = LiveEdges::Prepare(scenario, reply);
  if (status.ok()) status = Watches::Prepare(scenario, folder, reply);
  if (!status.ok()) return status;
  for (const Edge& edge : scenario.edges()) {
    (*reply.mutable_edge_mechanisms())[edge.name()] =
        edge.protocol() == Edge::PROTOCOL_UDP ? kDatagrams
        : edge.relay_at().empty()             ? kRedirected
                                              : absl::StrCat("relay at ", edge.relay_at());
  }
  return reply;
}

}  // namespace squall
