#include <sys/epoll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "agent/net/relay_loop.h"
#include "agent/net/tcp_counters.h"
#include "base/clock.h"

namespace squall {
namespace {

constexpr int kTurnsInARow = 1024;  // before other edges and new bytes are looked at
constexpr size_t kMostUpstreams = 1024;  // of an edge
constexpr size_t kMostLooks = 64;        // at once: one takes some microseconds, and connections wait meanwhile

absl::StatusOr<Listener> Listen(const NetNamespace& ns, const Address& at) {
  absl::StatusOr<Fd> fd = ns.Socket(at.Family(), SOCK_STREAM | SOCK_NONBLOCK);
  if (!fd.ok()) return fd.status();
  const int one = 1;
  setsockopt(fd->get(), SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
  if (at.Family() == AF_INET6) setsockopt(fd->get(), IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof(one));
  sockaddr_storage storage;
  socklen_t length = at.ToSockaddr(storage);
  if (bind(fd->get(), reinterpret_cast<sockaddr*>(&storage), length) != 0 || listen(fd->get(), RelayLoop::kBacklog) != 0) {
    return absl::ErrnoToStatus(errno, absl::StrCat("the relay cannot listen on ", at.ToString()));
  }
  length = sizeof(storage);
  getsockname(fd->get(), reinterpret_cast<sockaddr*>(&storage), &length);
  return Listener{*std::move(fd), FromSockaddr(storage)};
}

Address Loopback(int family) {
  Address address;
  if (family == AF_INET) {
    address.ip.s6_addr[10] = address.ip.s6_addr[11] = 0xff;
    address.ip.s6_addr[12] = 127;
    address.ip.s6_addr[15] = 1;
  } else {
    address.ip.s6_addr[15] = 1;
  }
  return address;
}

std::string EdgeOf(const Fault& fault) {
  switch (fault.kind_case()) {
    case Fault::kLatency:
      return fault.latency().edge();
    case Fault::kBandwidth:
      return fault.bandwidth().edge();
    case Fault::kSlice:
      return fault.slice().edge();
    case Fault::kBlackhole:
      return fault.blackhole().edge();
    case Fault::kStall:
      return fault.stall().edge();
    case Fault::kLimitData:
      return fault.limit_data().edge();
    case Fault::kReset:
      return fault.reset().edge();
    case Fault::kRefuse:
      return fault.refuse().edge();
    case Fault::kHttp:
      return fault.http().edge();
    case Fault::kGrpc:
      return fault.grpc().edge();
    default:
      return "";
  }
}

void AddRefused(const std::map<uint32_t, int64_t>& refused, EdgeStats& stats) {
  for (const auto& [process, count] : refused) {
    stats.set_refused(stats.refused() + count);
    if (process != 0) (*stats.mutable_refused_by())[process] += count;
  }
}

// The faults on requests, which the conversations do; the others are the shaper's.
std::optional<RequestFaults::Kind> RequestKindOf(Fault::KindCase kind) {
  if (kind == Fault::kHttp) return RequestFaults::kHttp;
  if (kind == Fault::kGrpc) return RequestFaults::kGrpc;
  return std::nullopt;
}

}  // namespace

absl::Status RelayLoop::Open(const Relay::EdgeOptions& options, const NetNamespace& ns) {
  RelayEdge& edge = edges_[options.name];
  CloseListeners(edge);
  for (const uint64_t id : ConnectionsOf(edge)) End(id, STILL_OPEN, /*orderly=*/false);
  if (edge.intercept != nullptr && !edge.relay_at) {
    while (!edge.upstreams.empty()) DropUpstream(edge, edge.upstreams.back());
    for (const uint16_t port : edge.any_ports) {
      AddRefused(edge.intercept->Refused(AnyAddress(port)), edge.stats);
      edge.intercept->Leave(AnyAddress(port));
    }
  }
  edge.upstreams.clear();
  edge.any_ports.clear();
  edge.name = options.name;
  edge.stats.set_edge(options.name);
  edge.parse_http = options.parse_http;
  edge.deadline_header = absl::AsciiStrToLower(options.deadline_header);
  edge.relay_at = options.relay_at;
  edge.intercept = options.intercept;
  edge.ns = &ns;
  const absl::Status status = OpenListeners(edge);
  return status.ok() ? SetAddresses(edge.name, options.to) : status;
}

absl::Status RelayLoop::OpenListeners(RelayEdge& edge) {
  if (edge.relay_at) return OpenListener(edge, *edge.relay_at);
  const absl::Status v4 = OpenListener(edge, Loopback(AF_INET));
  if (!v4.ok()) return v4;
  edge.port4 = edge.listeners.back().at.port;
  // A namespace without IPv6 has no connects over it either.
  edge.port6 = OpenListener(edge, Loopback(AF_INET6)).ok() ? edge.listeners.back().at.port : 0;
  return absl::OkStatus();
}

absl::Status RelayLoop::SetAddresses(const std::string& name, const std::vector<Address>& to) {
  RelayEdge* edge = FindEdge(name);
  if (edge == nullptr) return absl::NotFoundError(absl::StrCat("edge ", name, " has no relay"));
  if (closing_) return absl::OkStatus();
  if (edge->relay_at) {
    // The relay stands in for the service's own choice: what is no longer the dependency's is not called.
    const bool has_v4 = std::any_of(to.begin(), to.end(), [](const Address& address) { return address.IsV4(); });
    std::vector<std::shared_ptr<EdgeUpstream>> after;
    for (const Address& address : to) {
      absl::StatusOr<std::shared_ptr<EdgeUpstream>> upstream = FindUpstream(*edge, address);
      if (*upstream == nullptr) upstream = MakeUpstream(*edge, address);
      if (!upstream.ok() && !address.IsV4() && has_v4) continue;  // no IPv6 here: nobody would connect there
      if (!upstream.ok()) return upstream.status();
      after.push_back(*std::move(upstream));
    }
    edge->upstreams = std::move(after);
  }
  for (const Address& address : to) {
    if (edge->relay_at || FindUpstream(*edge, address) != nullptr) continue;
    if (address.IsAny()) {
      std::vector<uint16_t>& ports = edge->any_ports;
      if (std::find(ports.begin(), ports.end(), address.port) != ports.end()) continue;
      ports.push_back(address.port);
      const absl::Status redirected = edge->intercept->Redirect(address, edge->port4, edge->port6);
      if (!redirected.ok()) return redirected;
      continue;
    }
    if (!address.IsV4() && edge->port6 == 0) {
      const bool has_v4 = std::any_of(to.begin(), to.end(), [](const Address& other) { return other.IsV4(); });
      if (has_v4) continue;  // nobody can connect there
      return absl::FailedPreconditionError(
          absl::StrCat("the service's network namespace has no IPv6, and so nothing that leads to ", address.ToString()));
    }
    const absl::Status added = AddUpstream(*edge, address);
    if (!added.ok()) return added;
  }
  LookAtUpstreams(*edge);
  return absl::OkStatus();
}

std::shared_ptr<EdgeUpstream> RelayLoop::FindUpstream(const RelayEdge& edge, const Address& to) const {
  for (const std::shared_ptr<EdgeUpstream>& upstream : edge.upstreams) {
    if (upstream->watch.address() == to) return upstream;
  }
  return nullptr;
}

absl::StatusOr<std::shared_ptr<EdgeUpstream>> RelayLoop::MakeUpstream(const RelayEdge& edge, const Address& to) {
  const auto local = std::find_if(edge.upstreams.begin(), edge.upstreams.end(),
                                  [](const auto& upstream) { return upstream->watch.IsLocal(); });
  absl::StatusOr<Upstream> watch =
      Upstream::Watch(*edge.ns, to, local == edge.upstreams.end() ? nullptr : &(*local)->watch);
  if (!watch.ok()) return watch.status();
  return std::make_shared<EdgeUpstream>(EdgeUpstream{*std::move(watch), false, BootNanos()});
}

absl::Status RelayLoop::AddUpstream(RelayEdge& edge, const Address& to) {
  absl::StatusOr<std::shared_ptr<EdgeUpstream>> upstream = MakeUpstream(edge, to);
  if (!upstream.ok()) return upstream.status();
  if (!edge.relay_at) {
    // It was one of any address of another edge until now.
    for (auto& [name, other] : edges_) {
      if (&other == &edge || other.intercept != edge.intercept || other.any_ports.empty()) continue;
      if (const auto taken = FindUpstream(other, to)) DropUpstream(other, taken);
    }
    if (edge.upstreams.size() >= kMostUpstreams) {
      DropUpstream(edge, *std::min_element(edge.upstreams.begin(), edge.upstreams.end(), [](const auto& a, const auto& b) {
        return a->used_ns < b->used_ns;
      }));
    }
    const absl::Status redirected = edge.intercept->Redirect(to, edge.port4, edge.port6);
    if (!redirected.ok()) return redirected;
  }
  edge.upstreams.push_back(*std::move(upstream));
  return absl::OkStatus();
}

void RelayLoop::DropUpstream(RelayEdge& edge, const std::shared_ptr<EdgeUpstream>& upstream) {
  const std::shared_ptr<EdgeUpstream> kept = upstream;
  const Address to = kept->watch.address();
  AddRefused(edge.intercept->Refused(to), edge.stats);
  edge.intercept->Leave(to);
  edge.upstreams.erase(std::find(edge.upstreams.begin(), edge.upstreams.end(), kept));
}

std::shared_ptr<EdgeUpstream> RelayLoop::UpstreamFor(RelayEdge& edge, const Address& to) {
  if (auto known = FindUpstream(edge, to)) return known;
  if (std::find(edge.any_ports.begin(), edge.any_ports.end(), to.port) == edge.any_ports.end()) return nullptr;
  return AddUpstream(edge, to).ok() ? edge.upstreams.back() : nullptr;
}

std::shared_ptr<EdgeUpstream> RelayLoop::FirstThatAccepts(const RelayEdge& edge) {
  for (const std::shared_ptr<EdgeUpstream>& upstream : edge.upstreams) {
    if (upstream->watch.Accepted()) return upstream;
  }
  return edge.upstreams.empty() ? nullptr : edge.upstreams.front();
}

std::vector<Address> RelayLoop::Listeners(const std::string& name) const {
  std::vector<Address> listeners;
  const auto found = edges_.find(name);
  if (found == edges_.end()) return listeners;
  for (const Listener& listener : found->second.listeners) listeners.push_back(listener.at);
  return listeners;
}

absl::Status RelayLoop::SetFault(const Fault& fault, uint64_t seed) {
  const std::optional<Stage> stage = StageOf(fault.kind_case());
  if (!stage && !fault.has_refuse() && !RequestKindOf(fault.kind_case())) return absl::UnimplementedError("the relay does not do this kind of fault");
  const std::string name = EdgeOf(fault);
  RelayEdge* edge = FindEdge(name);
  if (edge == nullptr) return absl::NotFoundError(absl::StrCat("edge ", name, " has no relay"));
  if (fault.has_http() || fault.has_grpc()) {
    if (!edge->parse_http) {
      return absl::FailedPreconditionError(absl::StrCat("requests of edge ", name, " are not read: it has protocol: tcp"));
    }
    if (fault.has_http()) edge->requests.Set(fault.http(), seed);
    if (fault.has_grpc()) edge->requests.Set(fault.grpc(), seed);
    return absl::OkStatus();
  }
  if (fault.has_refuse()) {
    if (!edge->relay_at) return edge->intercept->SetFaultRefusing(edge->port4, true);
    AcceptAll(*edge);  // whoever is connected already goes on
    edge->shape.counts[Fault::kRefuse] = FaultCount();
    edge->refuse = true;
    edge->failed_before = FailedConnects();
    Mirror(*edge);
    return absl::OkStatus();
  }
  const int64_t now = BootNanos();
  edge->shape.Set(fault, seed, now);
  const std::vector<uint64_t> ids = ConnectionsOf(*edge);
  for (const uint64_t id : ids) connections_.at(id)->shape.Enroll(*stage, /*existing=*/true, now);
  for (const uint64_t id : ids) Move(id);
  if (fault.has_blackhole()) Mirror(*edge);
  return absl::OkStatus();
}

absl::Status RelayLoop::ChangeFault(const Fault& fault) {
  RelayEdge* edge = FindEdge(EdgeOf(fault));
  if (edge != nullptr && fault.has_http() && edge->requests.Change(fault.http())) return absl::OkStatus();
  if (edge != nullptr && fault.has_grpc() && edge->requests.Change(fault.grpc())) return absl::OkStatus();
  const std::optional<Stage> stage = StageOf(fault.kind_case());
  if (edge == nullptr || !stage || edge->shape.Get(*stage) == nullptr) {
    return absl::NotFoundError(absl::StrCat("edge ", EdgeOf(fault), " has no such fault to change"));
  }
  edge->shape.Change(fault, BootNanos());
  return absl::OkStatus();
}

absl::Status RelayLoop::ClearFault(const std::string& name, Fault::KindCase kind) {
  RelayEdge* edge = FindEdge(name);
  if (edge == nullptr) return absl::OkStatus();
  if (kind == Fault::kRefuse && !edge->relay_at) {
    return closing_ ? absl::OkStatus() : edge->intercept->SetFaultRefusing(edge->port4, false);
  }
  if (kind == Fault::kRefuse && edge->refuse) {
    edge->refuse = false;
    edge->shape.counts[Fault::kRefuse].seen.set_refused(FailedConnects() - edge->failed_before);
    Mirror(*edge);
    const bool mirrored = std::all_of(edge->upstreams.begin(), edge->upstreams.end(),
                                      [](const auto& upstream) { return upstream->refusing; });
    if (edge->listeners.empty() && !mirrored && !closing_) return OpenListener(*edge, *edge->relay_at);
    return absl::OkStatus();
  }
  if (const auto requests = RequestKindOf(kind); requests) {
    edge->requests.Clear(*requests);
    const int64_t now = BootNanos();
    for (const uint64_t id : ConnectionsOf(*edge)) {
      connections_.at(id)->conversation.Forget(*requests, now);
      Move(id);
    }
    for (const uint64_t id : ConnectionsOf(*edge)) {
      if (connections_.at(id)->conversation.HoldsFor(*requests)) {
        return absl::FailedPreconditionError("requests are still held back");
      }
    }
    return absl::OkStatus();
  }
  const std::optional<Stage> stage = StageOf(kind);
  if (!stage || edge->shape.Get(*stage) == nullptr) return absl::OkStatus();
  edge->shape.Clear(*stage);
  if (kind == Fault::kBlackhole) Mirror(*edge);
  for (const uint64_t id : ConnectionsOf(*edge)) {
    RelayConnection& connection = *connections_.at(id);
    if (kind == Fault::kLatency) connection.shape.ReleaseLatency();
    if (kind == Fault::kBlackhole && !connection.connected && !connection.dependency) {
      StartConnect(connection);
    } else {
      Move(id);
    }
  }
  for (const uint64_t id : ConnectionsOf(*edge)) {
    if (kind == Fault::kLatency && connections_.at(id)->shape.HeldByLatency()) {
      return absl::FailedPreconditionError("bytes are still held back");
    }
  }
  return absl::OkStatus();
}

Evidence RelayLoop::FaultEvidence(const std::string& name, Fault::KindCase kind) {
  RelayEdge* edge = FindEdge(name);
  if (edge == nullptr) return {};
  if (const auto requests = RequestKindOf(kind); requests) return edge->requests.EvidenceOf(*requests);
  const FaultCount& count = edge->shape.counts[kind];
  Evidence evidence = count.seen;
  if (kind == Fault::kRefuse && edge->relay_at) {
    if (edge->refuse) evidence.set_refused(FailedConnects() - edge->failed_before);
    evidence.set_refused_of_all(true);
  } else if (kind == Fault::kRefuse) {
    evidence.set_refused(edge->intercept->FaultRefused(edge->port4));
  }
  evidence.set_achieved_p50_ns(count.achieved.Quantile(0.5));
  evidence.set_achieved_p99_ns(count.achieved.Quantile(0.99));
  return evidence;
}

absl::Status RelayLoop::HandOver(const std::string& name, Relay::Taker taker) {
  RelayEdge* edge = FindEdge(name);
  if (edge == nullptr) return absl::NotFoundError(absl::StrCat("edge ", name, " has no relay"));
  edge->taker = std::move(taker);
  return absl::OkStatus();
}

int64_t RelayLoop::ResetConnections(const std::string& name) {
  RelayEdge* edge = FindEdge(name);
  if (edge == nullptr) return 0;
  const std::vector<uint64_t> ids = ConnectionsOf(*edge);
  for (const uint64_t id : ids) End(id, PEER_LEFT, /*orderly=*/false);
  return static_cast<int64_t>(ids.size());
}

EdgeStats RelayLoop::Stats(const std::string& name) {
  RelayEdge* edge = FindEdge(name);
  if (edge == nullptr) return {};
  EdgeStats stats = edge->stats;
  stats.set_at_ns(BootNanos());
  stats.set_open_connections(static_cast<int64_t>(ConnectionsOf(*edge).size()));
  if (edge->intercept != nullptr) {
    for (const auto& upstream : edge->upstreams) AddRefused(edge->intercept->Refused(upstream->watch.address()), stats);
    for (const uint16_t port : edge->any_ports) AddRefused(edge->intercept->Refused(AnyAddress(port)), stats);
    if (!edge->relay_at) {
      for (const auto& [process, count] : edge->intercept->Attempts(edge->port4)) {
        stats.set_attempts(stats.attempts() + count);
        if (process != 0) (*stats.mutable_attempts_by())[process] += count;
      }
    }
  }
  return stats;
}

void RelayLoop::StopListening() {
  for (auto& [name, edge] : edges_) {
    AcceptAll(edge);  // closing a listener resets those who wait there
    CloseListeners(edge);
  }
  closing_ = true;
}

RelayEdge* RelayLoop::FindEdge(const std::string& name) {
  const auto found = edges_.find(name);
  return found == edges_.end() ? nullptr : &found->second;
}

std::vector<uint64_t> RelayLoop::ConnectionsOf(const RelayEdge& edge) const {
  std::vector<uint64_t> ids;
  for (const auto& [id, connection] : connections_) {
    if (connection->edge == &edge) ids.push_back(id);
  }
  std::sort(ids.begin(), ids.end());  // as they were accepted
  return ids;
}

absl::Status RelayLoop::OpenListener(RelayEdge& edge, const Address& at) {
  absl::StatusOr<Listener> listener = Listen(*edge.ns, at);
  if (!listener.ok()) return listener.status();
  const int fd = listener->fd.get();
  listening_[fd] = &edge;
  Watch(fd, EPOLLIN, Pack(Tag::kListener, static_cast<uint64_t>(fd)), EPOLL_CTL_ADD);
  edge.listeners.push_back(*std::move(listener));
  return absl::OkStatus();
}

void RelayLoop::CloseListeners(RelayEdge& edge) {
  for (const Listener& listener : edge.listeners) listening_.erase(listener.fd.get());
  edge.listeners.clear();
}

void RelayLoop::AcceptAll(RelayEdge& edge) {
  std::vector<int> listening;
  for (const Listener& listener : edge.listeners) listening.push_back(listener.fd.get());
  for (const int fd : listening) {
    for (int i = 0; i < kBacklog / kAcceptsInARow && listening_.count(fd) > 0; ++i) Accept(edge, fd);
  }
}

void RelayLoop::PauseListener(RelayEdge& edge, int fd) {
  for (Listener& listener : edge.listeners) {
    if (listener.fd.get() != fd) continue;
    listener.paused = true;
    Watch(fd, 0, Pack(Tag::kListener, static_cast<uint64_t>(fd)), EPOLL_CTL_MOD);
  }
}

void RelayLoop::LookAtUpstreams(RelayEdge& edge) {
  const size_t looks = std::min(edge.upstreams.size(), kMostLooks);
  for (size_t i = 0; i < looks; ++i) {
    edge.next_look = (edge.next_look + 1) % edge.upstreams.size();
    edge.upstreams[edge.next_look]->watch.Accepts();
  }
  for (Listener& listener : edge.listeners) {
    if (!listener.paused) continue;
    listener.paused = false;
    Watch(listener.fd.get(), EPOLLIN, Pack(Tag::kListener, static_cast<uint64_t>(listener.fd.get())), EPOLL_CTL_MOD);
  }
  Mirror(edge);
}

void RelayLoop::Mirror(RelayEdge& edge) {
  if (closing_) return;
  bool any_accepts = false;
  for (const std::shared_ptr<EdgeUpstream>& upstream : edge.upstreams) {
    const bool refuses = !upstream->watch.Accepted();
    any_accepts |= !refuses;
    if (refuses == upstream->refusing) continue;
    upstream->refusing = refuses;
    if (edge.intercept != nullptr && !edge.relay_at) {
      edge.intercept->SetRefusing(upstream->watch.address(), refuses).IgnoreError();
    }
  }
  if (!edge.relay_at) return;
  // Of a peer that is gone without a word nobody hears that it refuses.
  any_accepts |= edge.shape.Get(Stage::kBlackhole) != nullptr;
  any_accepts &= !edge.refuse;
  if (!any_accepts && !edge.listeners.empty()) {
    CloseListeners(edge);
  } else if (any_accepts && edge.listeners.empty()) {
    OpenListener(edge, *edge.relay_at).IgnoreError();  // tried again at the next look
  }
}

void RelayLoop::ServeLines(RelayEdge& edge) {
  for (const Way way : kBothWays) {
    Bucket* bucket = edge.shape.BucketOf(way);
    if (bucket == nullptr) continue;
    // Each turn takes bytes out of the bucket or somebody out of the line.
    for (int i = 0; i < kTurnsInARow; ++i) {
      const uint64_t id = bucket->Turn(BootNanos());
      if (id == 0) break;
      Move(id);
    }
  }
}

}  // namespace squall
