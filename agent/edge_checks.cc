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
#include "base/messages.h"

namespace squall {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;

// The field of the fault's kind with this name, a string; empty: it has none.
std::string StringOfKind(const Fault& fault, const char* field_name) {
  const FieldDescriptor* kind = KindField(fault);
  if (kind == nullptr) return "";
  const Message& message = fault.GetReflection()->GetMessage(fault, kind);
  const FieldDescriptor* field = message.GetDescriptor()->FindFieldByName(field_name);
  return field == nullptr ? "" : message.GetReflection()->GetString(message, field);
}

// The service on which the fault acts, or whose traffic it touches.
const Service* TargetOf(const Scenario& scenario, const Fault& fault) {
  const std::string edge_name = EdgeOfFault(fault);
  for (const Edge& edge : scenario.edges()) {
    if (!edge_name.empty() && edge.name() == edge_name) return FindNamed(scenario.services(), edge.from());
  }
  const std::string isolate = StringOfKind(fault, "isolate");
  return FindNamed(scenario.services(), isolate.empty() ? StringOfKind(fault, "service") : isolate);
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
  return address.IsAny() || IN6_ARE_ADDR_EQUAL(&address.ip, &mapped_any);
}

bool IsOfThisHost(const NetNamespace& ns, const Address& address) {
  const absl::StatusOr<Fd> fd = ns.Socket(address.Family(), SOCK_DGRAM);
  Address any_port = address;
  any_port.port = 0;
  sockaddr_storage storage;
  const socklen_t length = any_port.ToSockaddr(storage);
  return fd.ok() && bind(fd->get(), reinterpret_cast<sockaddr*>(&storage), length) == 0;
}

absl::Status CheckEdge(const Edge& edge, const NetNamespace& ns, const std::vector<Address>& own_listeners) {
  const std::vector<Address> to = WrittenAddressesOf(edge);
  for (const Address& address : to) {
    const absl::Status status = CheckNotOwn(edge, ns, address, own_listeners);
    if (!status.ok()) return status;
  }
  // Where names lead is known once the service's name server can be asked.
  if (to.size() < static_cast<size_t>(edge.to_size())) return absl::OkStatus();
  std::vector<std::string> why;
  for (const Address& address : to) {
    const int error = address.IsAny() ? 0 : TryRoute(ns, address);
    if (error == 0) return absl::OkStatus();  // one address that can be reached is good enough
    why.push_back(absl::StrCat(address.ToString(), ": ", strerror(error)));
  }
  return absl::FailedPreconditionError(absl::StrCat("edge ", edge.name(), ": ", edge.from(), " has no route to ",
                                                    absl::StrJoin(why, "; "),
                                                    "; check the address, and the routes of the service's host"));
}

}  // namespace

std::string EdgeOfFault(const Fault& fault) { return StringOfKind(fault, "edge"); }

std::string KindOfFault(const Fault& fault) {
  const FieldDescriptor* kind = KindField(fault);
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

bool EntersNamespace(const Service& service) {
  return std::any_of(service.run().begin(), service.run().end(), [](const std::string& argument) {
    const std::string name = argument.substr(argument.rfind('/') + 1);
    for (const char* known : {"netns", "nsenter", "unshare", "bwrap", "firejail", "docker", "podman", "systemd-nspawn"}) {
      if (name == known) return true;
    }
    return false;
  });
}

absl::Status CheckTargets(const Scenario& scenario) {
  const auto check = [](const Service* service, const std::string& what) -> absl::Status {
    if (service == nullptr || !service->has_attach()) return absl::OkStatus();
    const absl::StatusOr<ProcessId> target = FindTarget(service->attach());
    if (absl::IsNotFound(target.status())) return absl::OkStatus();  // is told when the services are claimed
    const absl::Status in_reach = target.ok() ? CheckInReach(*target) : target.status();
    if (in_reach.ok()) return in_reach;
    return absl::FailedPreconditionError(
        absl::StrCat(what, " must not act on service ", service->name(), ": ", in_reach.message()));
  };
  for (const Fault& fault : scenario.faults()) {
    const absl::Status status = check(TargetOf(scenario, fault), absl::StrCat("fault ", fault.name()));
    if (!status.ok()) return status;
  }
  for (const Edge& edge : scenario.edges()) {
    if (edge.existing() != Edge::EXISTING_RESET) continue;
    const absl::Status status =
        check(FindNamed(scenario.services(), edge.from()), absl::StrCat("edge ", edge.name(), ": existing: reset"));
    if (!status.ok()) return status;
  }
  return absl::OkStatus();
}

std::vector<Address> OwnListeners() {
  SocketFilter filter;
  filter.udp = false;
  filter.listening = true;
  std::vector<Address> listeners;
  const absl::StatusOr<NetNamespace> own = NetNamespace::Own();
  const absl::StatusOr<ProcStat> self = ReadStat(getpid());
  if (!own.ok() || !self.ok()) return listeners;
  const absl::StatusOr<std::vector<LiveSocket>> sockets = SocketsOf({self->id}, *own, filter);
  if (!sockets.ok()) return listeners;
  for (const LiveSocket& socket : *sockets) {
    if (socket.remote.port == 0) listeners.push_back(socket.local);
  }
  return listeners;
}

absl::Status CheckNotOwn(const Edge& edge, const NetNamespace& ns, const Address& address, const std::vector<Address>& own_listeners) {
  for (const Address& own : own_listeners) {
    if (!ns.IsOwn() || own.port != address.port) continue;
    if (!address.IsAny() && !(own == address) && !(IsAnyIp(own) && IsOfThisHost(ns, address))) continue;
    return absl::FailedPreconditionError(
        absl::StrCat("edge ", edge.name(), ": ", address.IsAny() ? absl::StrCat("port ", own.port) : address.ToString(),
                     " is where this agent serves its controllers: faults must not act on that; name the dependency's own address"));
  }
  return absl::OkStatus();
}

absl::Status CheckEdgesLead(const Scenario& scenario) {
  const absl::StatusOr<NetNamespace> own = NetNamespace::Own();
  if (!own.ok()) return own.status();
  const std::vector<Address> own_listeners = OwnListeners();
  for (const Edge& edge : scenario.edges()) {
    const Service* from = FindNamed(scenario.services(), edge.from());
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
