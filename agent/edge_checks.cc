#include "agent/edge_checks.h"

#include <netinet/in.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <optional>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/strip.h"
#include "agent/net/live_sockets.h"
#include "agent/net/netns.h"
#include "agent/process/find.h"

namespace squall {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;

// The field of the fault's kind with this name, a string; empty: it has none.
std::string StringOfKind(const Fault& fault, const char* field_name) {
  const FieldDescriptor* kind =
      fault.GetReflection()->GetOneofFieldDescriptor(fault, fault.GetDescriptor()->FindOneofByName("kind"));
  if (kind == nullptr) return "";
  const Message& message = fault.GetReflection()->GetMessage(fault, kind);
  const FieldDescriptor* field = message.GetDescriptor()->FindFieldByName(field_name);
  return field == nullptr ? "" : message.GetReflection()->GetString(message, field);
}

// The service on which the fault acts, or whose traffic it touches.
const Service* TargetOf(const Scenario& scenario, const Fault& fault) {
  const std::string edge_name = EdgeOfFault(fault);
  for (const Edge& edge : scenario.edges()) {
    if (!edge_name.empty() && edge.name() == edge_name) return FindService(scenario, edge.from());
  }
  const std::string isolate = StringOfKind(fault, "isolate");
  return FindService(scenario, isolate.empty() ? StringOfKind(fault, "service") : isolate);
}

// A program that puts what it runs into another network namespace: where the edge leads from there is not known yet.
bool EntersNamespace(const Service& service) {
  return std::any_of(service.run().begin(), service.run().end(), [](const std::string& argument) {
    const std::string name = argument.substr(argument.rfind('/') + 1);
    for (const char* known : {"netns", "nsenter", "unshare", "bwrap", "firejail", "docker", "podman", "systemd-nspawn"}) {
      if (name == known) return true;
    }
    return false;
  });
}

// A UDP connect sends nothing and asks the routing table: 0 or errno.
int TryRoute(const NetNamespace& ns, const Address& to) {
  const absl::StatusOr<Fd> fd = ns.Socket(to.Family(), SOCK_DGRAM);
  if (!fd.ok()) return absl::IsPermissionDenied(fd.status()) ? 0 : EAFNOSUPPORT;
  sockaddr_storage storage;
  const socklen_t length = to.ToSockaddr(storage);
  return connect(fd->get(), reinterpret_cast<sockaddr*>(&storage), length) == 0 ? 0 : errno;
}

bool IsAnyIp(const Address& address) {
  in6_addr mapped_any = {};
  mapped_any.s6_addr[10] = mapped_any.s6_addr[11] = 0xff;
  return IN6_IS_ADDR_UNSPECIFIED(&address.ip) || IN6_ARE_ADDR_EQUAL(&address.ip, &mapped_any);
}

bool IsOfThisHost(const NetNamespace& ns, const Address& address) {
  const absl::StatusOr<Fd> fd = ns.Socket(address.Family(), SOCK_DGRAM);
  Address any_port = address;
  any_port.port = 0;
  sockaddr_storage storage;
  const socklen_t length = any_port.ToSockaddr(storage);
  return fd.ok() && bind(fd->get(), reinterpret_cast<sockaddr*>(&storage), length) == 0;
}

// Where this agent serves controllers over TCP: the only listeners that it has before a run begins.
std::vector<Address> OwnListeners(const NetNamespace& own) {
  SocketFilter filter;
  filter.udp = false;
  filter.listening = true;
  const absl::StatusOr<ProcStat> self = ReadStat(getpid());
  const auto sockets = self.ok() ? SocketsOf({self->id}, own, filter) : std::vector<LiveSocket>();
  std::vector<Address> listeners;
  if (!sockets.ok()) return listeners;
  for (const LiveSocket& socket : *sockets) {
    if (socket.remote.port == 0) listeners.push_back(socket.local);
  }
  return listeners;
}

absl::Status CheckEdge(const Edge& edge, const NetNamespace& ns, const std::vector<Address>& own_listeners) {
  const std::vector<Address> to = WrittenAddressesOf(edge);
  for (const Address& address : to) {
    const bool any = IN6_IS_ADDR_UNSPECIFIED(&address.ip);
    for (const Address& own : own_listeners) {
      if (!ns.IsOwn() || own.port != address.port) continue;
      if (any || own == address || (IsAnyIp(own) && IsOfThisHost(ns, address))) {
        return absl::FailedPreconditionError(
            absl::StrCat("edge ", edge.name(), ": ", any ? absl::StrCat("port ", own.port) : address.ToString(),
                         " is where this agent serves its controllers: faults must not act on that; name the dependency's "
                         "own address"));
      }
    }
  }
  // Where names lead is known once the service's name server can be asked.
  if (to.size() < static_cast<size_t>(edge.to_size())) return absl::OkStatus();
  std::vector<std::string> why;
  for (const Address& address : to) {
    const int error = IN6_IS_ADDR_UNSPECIFIED(&address.ip) ? 0 : TryRoute(ns, address);
    if (error == 0) return absl::OkStatus();  // one address that can be reached is good enough
    why.push_back(absl::StrCat(address.ToString(), ": ", strerror(error)));
  }
  return absl::FailedPreconditionError(absl::StrCat("edge ", edge.name(), ": ", edge.from(), " has no route to ",
                                                    absl::StrJoin(why, "; "),
                                                    "; check the address, and the routes of the service's host"));
}

}  // namespace

const Service* FindService(const Scenario& scenario, const std::string& name) {
  for (const Service& service : scenario.services()) {
    if (service.name() == name) return &service;
  }
  return nullptr;
}

std::string EdgeOfFault(const Fault& fault) { return StringOfKind(fault, "edge"); }

std::string KindOfFault(const Fault& fault) {
  const FieldDescriptor* kind =
      fault.GetReflection()->GetOneofFieldDescriptor(fault, fault.GetDescriptor()->FindOneofByName("kind"));
  return kind == nullptr ? "" : kind->name();
}

std::vector<Address> WrittenAddressesOf(const Edge& edge) {
  std::vector<Address> all;
  for (absl::string_view each : edge.to()) {
    int port = 0;
    absl::string_view any = each;
    if (absl::ConsumePrefix(&any, "*:") && absl::SimpleAtoi(any, &port)) {
      all.push_back(Address{in6addr_any, static_cast<uint16_t>(port)});
      continue;
    }
    const absl::StatusOr<Address> literal = ParseAddress(each);
    if (literal.ok()) all.push_back(*literal);
  }
  return all;
}

absl::Status CheckTargets(const Scenario& scenario) {
  for (const Fault& fault : scenario.faults()) {
    const Service* service = TargetOf(scenario, fault);
    if (service == nullptr || !service->has_attach()) continue;
    const absl::StatusOr<ProcessId> target = FindTarget(service->attach());
    if (absl::IsNotFound(target.status())) continue;  // is told when the services are claimed
    const absl::Status in_reach = target.ok() ? CheckInReach(*target) : target.status();
    if (!in_reach.ok()) {
      return absl::FailedPreconditionError(absl::StrCat("fault ", fault.name(), " must not act on service ", service->name(),
                                                        ": ", in_reach.message()));
    }
  }
  return absl::OkStatus();
}

absl::Status CheckEdgesLead(const Scenario& scenario) {
  const absl::StatusOr<NetNamespace> own = NetNamespace::Own();
  if (!own.ok()) return own.status();
  const std::vector<Address> own_listeners = OwnListeners(*own);
  for (const Edge& edge : scenario.edges()) {
    const Service* from = FindService(scenario, edge.from());
    if (from == nullptr || EntersNamespace(*from)) continue;
    std::optional<NetNamespace> theirs;
    if (from->has_attach()) {
      const absl::StatusOr<ProcessId> target = FindTarget(from->attach());
      if (!target.ok()) continue;  // is told when the services are claimed
      absl::StatusOr<NetNamespace> ns = NetNamespace::Of(target->pid);
      if (!ns.ok()) continue;
      theirs = *std::move(ns);
    }
    const absl::Status status = CheckEdge(edge, theirs ? *theirs : *own, own_listeners);
    if (!status.ok()) return status;
  }
  return absl::OkStatus();
}

}  // namespace squall
