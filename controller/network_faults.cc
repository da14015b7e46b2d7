#include "controller/network_faults.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "base/durations.h"
#include "base/messages.h"
#include "base/ramp.h"
#include "base/text.h"

namespace squall {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;

std::string Human(const google::protobuf::Duration& duration) { return HumanDuration(ToDuration(duration)); }

bool IsAttached(const Scenario& scenario, const std::string& name) {
  return std::any_of(scenario.services().begin(), scenario.services().end(),
                     [&](const Service& service) { return service.name() == name && service.has_attach(); });
}

// "on every response".
std::string OnEvery(Direction direction) {
  switch (direction) {
    case DIRECTION_REQUEST:
      return "on every request";
    case DIRECTION_BOTH:
      return "on every request and every response";
    default:
      return "on every response";
  }
}

// "of requests".
std::string OfWhich(Direction direction) {
  switch (direction) {
    case DIRECTION_REQUEST:
      return "of requests";
    case DIRECTION_RESPONSE:
      return "of responses";
    default:
      return "each way";
  }
}

std::string OfShare(double percent) {
  return percent >= 100 ? "" : absl::StrCat(", on ", HumanPercent(percent), " of the connections");
}

std::string DescribeLatency(const Latency& latency) {
  std::string varies;
  if (ToDuration(latency.jitter()) > absl::ZeroDuration()) {
    switch (latency.distribution()) {
      case Latency::DISTRIBUTION_NORMAL:
        varies = absl::StrCat(" +/- ", Human(latency.jitter()), " (normal)");
        break;
      case Latency::DISTRIBUTION_PARETO:
        varies = absl::StrCat(" + ", Human(latency.jitter()), " (Pareto)");
        break;
      default:
        varies = absl::StrCat(" +/- ", Human(latency.jitter()));
    }
  }
  return absl::StrCat(Human(latency.delay()), varies, " ", OnEvery(latency.direction()), " over ", latency.edge(),
                      latency.share() > 0 ? OfShare(latency.share()) : "");
}

template <typename PacketFault>
std::string DescribePackets(absl::string_view what, const PacketFault& fault) {
  return absl::StrCat(HumanPercent(fault.percent()), " of the packets of ", fault.edge(), " ", what, ", ",
                      OfWhich(fault.direction()));
}

std::string DescribePartition(const Partition& partition) {
  std::string what = partition.isolate().empty() ? absl::StrCat(partition.edge(), " is cut")
                                                 : absl::StrCat(partition.isolate(), " is cut from everybody");
  if (partition.direction() != DIRECTION_BOTH) absl::StrAppend(&what, " one way, ", OfWhich(partition.direction()));
  if (partition.connections() == Partition::CONNECTIONS_NEW) what += ", for new connections";
  if (partition.connections() == Partition::CONNECTIONS_ESTABLISHED) what += ", for the connections that are there";
  absl::StrAppend(&what, partition.answer() == Partition::ANSWER_REJECT ? "; what is tried is rejected" : "; packets vanish");
  return what;
}

std::string DescribeTls(const TlsFault& tls) {
  switch (tls.how()) {
    case TlsFault::HOW_ALERT:
      return absl::StrCat("TLS handshakes over ", tls.edge(), " end with an alert");
    case TlsFault::HOW_EXPIRED:
      return absl::StrCat("an expired certificate over ", tls.edge());
    case TlsFault::HOW_WRONG_NAME:
      return absl::StrCat("a certificate for another name over ", tls.edge());
    case TlsFault::HOW_UNTRUSTED:
      return absl::StrCat("a certificate of an unknown CA over ", tls.edge());
    case TlsFault::HOW_OLD_VERSION:
      return absl::StrCat("TLS 1.1 only over ", tls.edge());
    case TlsFault::HOW_CUT:
      return absl::StrCat("TLS handshakes over ", tls.edge(), " are cut in the middle");
    default:
      return "a TLS fault";
  }
}

// "503 to 10 % of GET /api/* over recommend, 200 ms late".
std::string DescribeRequests(const std::string& answer, double percent, const std::string& which, const std::string& edge,
                             const google::protobuf::Duration& delay) {
  const bool late = ToDuration(delay) > absl::ZeroDuration();
  std::string what;
  if (!answer.empty()) {
    what = absl::StrCat(answer, " to ", percent < 100 ? absl::StrCat(HumanPercent(percent), " of ") : "", which, " over ", edge);
    return late ? absl::StrCat(what, ", ", Human(delay), " late") : what;
  }
  return absl::StrCat(percent < 100 ? absl::StrCat(HumanPercent(percent), " of ") : "", which, " over ", edge, " held back for ",
                      Human(delay));
}

std::string DescribeHttp(const HttpFault& http) {
  std::string which = http.method().empty() ? "requests" : absl::StrCat(http.method(), " requests");
  if (!http.path().empty()) absl::StrAppend(&which, " for ", http.path());
  return DescribeRequests(http.status() > 0 ? absl::StrCat(http.status()) : "", http.percent(), which,
                          http.edge(), http.delay());
}

std::string DescribeGrpc(const GrpcFault& grpc) {
  const std::string which = grpc.method().empty() ? "gRPC calls" : absl::StrCat("calls of ", grpc.method());
  std::string code;
  if (grpc.code() != GrpcFault::CODE_UNSPECIFIED) {
    code = absl::StrReplaceAll(GrpcFault::Code_Name(grpc.code()), {{"CODE_", ""}});
  }
  return DescribeRequests(code, grpc.percent(), which, grpc.edge(), grpc.delay());
}

// Whom a fault on the edge touches. `edge` null: it is not in the scenario.
std::string EdgeScope(const std::string& name, const Edge* edge) {
  if (edge == nullptr) return absl::StrCat("edge ", name);
  return edge->relay_at().empty()
             ? absl::StrCat("edge: calls of ", edge->from(), " to ", EdgeAddress(*edge), ", of no other process")
             : absl::StrCat("edge: calls that ", edge->from(), " or others send to ", edge->relay_at());
}

constexpr char kPacketQueue[] =
    "a packet queue that lets everything by when nobody reads it (NFQUEUE with bypass), filled by an nft table of the agent's "
    "own; needs root";
constexpr char kTableGoes[] = "the packets go untouched; the table belongs to the agent's socket and vanishes with it";

// What it does to a connection that begins meanwhile.
std::string OnConnect(const Fault& fault, const Edge* edge) {
  switch (fault.kind_case()) {
    case Fault::kRefuse:
      return "connect gets ECONNREFUSED";
    case Fault::kBlackhole:
      return IsUnprivileged(edge) ? "connect succeeds, then silence" : "connect waits until it gives up (ETIMEDOUT)";
    case Fault::kPartition:
      if (fault.partition().connections() == Partition::CONNECTIONS_ESTABLISHED) return "connect as before";
      return fault.partition().answer() == Partition::ANSWER_REJECT ? "connect gets ECONNREFUSED"
                                                                    : "connect waits until it gives up (ETIMEDOUT)";
    case Fault::kLoss:
      return "connect may take a second longer for each SYN that is lost";
    case Fault::kReset:
      return "connect succeeds, then ECONNRESET";
    case Fault::kStall:
      return "connect succeeds, then silence";
    default:
      return "connect as before";
  }
}

}  // namespace

Means MeansOf(const Fault& fault) {
  switch (fault.kind_case()) {
    case Fault::kLatency:
      return Means::kRelayAndQueue;
    case Fault::kRefuse:
      return Means::kHook;
    case Fault::kBlackhole:
    case Fault::kPartition:
    case Fault::kLoss:
      return Means::kPackets;
    case Fault::kDuplicate:
    case Fault::kReorder:
    case Fault::kCorrupt:
      return Means::kPacketQueue;
    case Fault::kBandwidth:
    case Fault::kStall:
    case Fault::kSlice:
    case Fault::kLimitData:
    case Fault::kReset:
    case Fault::kHttp:
    case Fault::kGrpc:
    case Fault::kTls:
    case Fault::kKill:
    case Fault::kDns:
    case Fault::kCpu:
    case Fault::kPause:
    case Fault::kMemory:
    case Fault::kDisk:
    case Fault::kFds:
    case Fault::kPids:
    case Fault::kAbandon:
    case Fault::kSurge:
    case Fault::KIND_NOT_SET:
      break;
  }
  return Means::kRelay;
}

bool IsUnprivileged(const Edge* edge) { return edge != nullptr && !edge->relay_at().empty(); }

bool IsUdp(const Edge* edge) { return edge != nullptr && edge->protocol() == Edge::PROTOCOL_UDP; }

std::string EdgeOfFault(const Fault& fault) {
  const FieldDescriptor* kind = KindField(fault);
  if (kind == nullptr) return "";
  const Message& message = fault.GetReflection()->GetMessage(fault, kind);
  const FieldDescriptor* edge = message.GetDescriptor()->FindFieldByName("edge");
  return edge == nullptr ? "" : message.GetReflection()->GetString(message, edge);
}

std::string EdgeAddress(const Edge& edge) { return absl::StrJoin(edge.to(), ", "); }

std::string DescribeNetworkFault(const Fault& fault) {
  switch (fault.kind_case()) {
    case Fault::kLatency:
      return DescribeLatency(fault.latency());
    case Fault::kBandwidth:
      return absl::StrCat(HumanBytes(fault.bandwidth().rate()), "/s ", OfWhich(fault.bandwidth().direction()), " over ",
                          fault.bandwidth().edge());
    case Fault::kStall:
      return absl::StrCat("silence over ", fault.stall().edge(),
                          fault.stall().after_bytes() > 0 ? absl::StrCat(" after ", HumanBytes(fault.stall().after_bytes())) : "", ", ",
                          OfWhich(fault.stall().direction()), OfShare(fault.stall().share()));
    case Fault::kSlice:
      return absl::StrCat("pieces of ", HumanBytes(fault.slice().size()), " every ", Human(fault.slice().delay()), " over ",
                          fault.slice().edge(), ", ", OfWhich(fault.slice().direction()));
    case Fault::kLimitData:
      return absl::StrCat("connections over ", fault.limit_data().edge(), " are closed after ",
                          HumanBytes(fault.limit_data().bytes()));
    case Fault::kReset:
      return absl::StrCat("connections over ", fault.reset().edge(), " are reset",
                          ToDuration(fault.reset().after()) > absl::ZeroDuration()
                              ? absl::StrCat(" after ", Human(fault.reset().after()))
                              : "",
                          fault.reset().after_bytes() > 0
                              ? absl::StrCat(" once ", HumanBytes(fault.reset().after_bytes()), " were answered")
                              : "",
                          OfShare(fault.reset().share()));
    case Fault::kRefuse:
      return absl::StrCat("new connections over ", fault.refuse().edge(), " are refused");
    case Fault::kBlackhole:
      return absl::StrCat("every packet over ", fault.blackhole().edge(), " vanishes");
    case Fault::kPartition:
      return DescribePartition(fault.partition());
    case Fault::kLoss:
      return DescribePackets("lost", fault.loss());
    case Fault::kDuplicate:
      return DescribePackets("doubled", fault.duplicate());
    case Fault::kReorder:
      return absl::StrCat(DescribePackets("overtaken", fault.reorder()), ", held back for ", Human(fault.reorder().delay()));
    case Fault::kCorrupt:
      return DescribePackets(
          fault.corrupt().checksum() == Corrupt::CHECKSUM_RIGHT ? "damaged under a right checksum" : "damaged",
          fault.corrupt());
    case Fault::kHttp:
      return DescribeHttp(fault.http());
    case Fault::kGrpc:
      return DescribeGrpc(fault.grpc());
    case Fault::kTls:
      return DescribeTls(fault.tls());
    case Fault::kKill:
    case Fault::kDns:
    case Fault::kCpu:
    case Fault::kPause:
    case Fault::kMemory:
    case Fault::kDisk:
    case Fault::kFds:
    case Fault::kPids:
    case Fault::kAbandon:
    case Fault::kSurge:
    case Fault::KIND_NOT_SET:
      break;
  }
  return "nothing";
}

std::string EdgeMechanism(const Edge& edge) {
  if (edge.protocol() == Edge::PROTOCOL_UDP) return absl::StrCat("datagrams of ", edge.from(), ", by packet (needs root)");
  return edge.relay_at().empty()
             ? absl::StrCat("connects of ", edge.from(), " redirected to a relay (cgroup BPF; needs root)")
             : absl::StrCat("relay at ", edge.relay_at(), ", no privileges");
}

Mechanism NetworkMechanism(const Scenario& scenario, const Fault& fault) {
  const std::string name = EdgeOfFault(fault);
  const Edge* edge = FindNamed(scenario.edges(), name);
  Mechanism mechanism;
  mechanism.scope = EdgeScope(name, edge);
  const std::string relay = edge == nullptr ? "a relay" : EdgeMechanism(*edge);
  const std::string relay_goes = IsUnprivileged(edge)
                                     ? "the relay passes on as before; it lives in the agent and dies with it"
                                     : "the relay passes on as before; redirection is a BPF link that dies with the agent";
  switch (MeansOf(fault)) {
    case Means::kRelay:
      mechanism.through = relay;
      if (fault.has_reset() && fault.reset().existing() && edge != nullptr && IsAttached(scenario, edge->from())) {
        absl::StrAppend(&mechanism.through, "; connections from before by an nftables table, which dies with the agent");
      }
      mechanism.undone_by = relay_goes;
      break;
    case Means::kRelayAndQueue:
      mechanism.through = IsUdp(edge) ? std::string(kPacketQueue) : relay;
      mechanism.undone_by = IsUdp(edge) ? std::string(kTableGoes) : relay_goes;
      break;
    case Means::kHook:
      mechanism.through = IsUnprivileged(edge) ? absl::StrCat(relay, ": its listener is closed")
                                               : "the connect hook of cgroup BPF answers (needs root)";
      mechanism.undone_by = IsUnprivileged(edge) ? "the relay listens again" : "the hook lets connects by; it dies with the agent";
      break;
    case Means::kPackets:
      if (fault.has_blackhole() && IsUnprivileged(edge)) {
        mechanism.through = absl::StrCat(relay, ", which says nothing");
        mechanism.undone_by = relay_goes;
        break;
      }
      if (fault.has_partition() && !fault.partition().isolate().empty()) {
        mechanism.scope = absl::StrCat("process: all packets of ", fault.partition().isolate(),
                                       " but those to itself over loopback, of no other process");
      }
      mechanism.through = "a cgroup BPF hook on packets of the service's sockets, those from before included (needs root)";
      mechanism.undone_by = "the hook lets packets by; it is a BPF link that dies with the agent";
      break;
    case Means::kPacketQueue:
      mechanism.through = kPacketQueue;
      mechanism.undone_by = kTableGoes;
      break;
  }
  absl::StrAppend(&mechanism.scope, "; ", OnConnect(fault, edge));
  return mechanism;
}

absl::Duration LeastWait(const Fault& fault) {
  if (RampedFieldOf(fault).kind != nullptr) {
    Fault first = RampedAt(fault, absl::ZeroDuration()), last = RampedAt(fault, RampLength(fault));
    first.clear_ramp();
    last.clear_ramp();
    return std::max(LeastWait(first), LeastWait(last));
  }
  switch (fault.kind_case()) {
    case Fault::kLatency: {
      const Latency& latency = fault.latency();
      const absl::Duration delay = ToDuration(latency.delay());
      const absl::Duration jitter = ToDuration(latency.jitter());
      const int waits = latency.direction() == DIRECTION_BOTH ? 2 : 1;
      // Four standard deviations below its mean a normal delay is as good as never.
      const absl::Duration least = latency.distribution() == Latency::DISTRIBUTION_PARETO   ? delay
                                   : latency.distribution() == Latency::DISTRIBUTION_NORMAL ? delay - 4 * jitter
                                                                                            : delay - jitter;
      return waits * std::max(least, absl::ZeroDuration());
    }
    case Fault::kDns:
      return fault.dns().answer() == Dns::ANSWER_TIMEOUT ? absl::InfiniteDuration() : ToDuration(fault.dns().delay());
    case Fault::kPause:
      // A call that comes when the stop begins.
      return ToDuration(fault.pause().has_each() ? fault.pause().each() : fault.for_());
    case Fault::kStall:
    case Fault::kBlackhole:
      return absl::InfiniteDuration();
    case Fault::kLoss:
      return fault.loss().percent() >= 100 ? absl::InfiniteDuration() : absl::ZeroDuration();
    case Fault::kPartition:
      return fault.partition().answer() == Partition::ANSWER_DROP ? absl::InfiniteDuration() : absl::ZeroDuration();
    case Fault::kHttp:
      return ToDuration(fault.http().delay());
    case Fault::kGrpc:
      return ToDuration(fault.grpc().delay());
    case Fault::kBandwidth:
    case Fault::kSlice:
    case Fault::kLimitData:
    case Fault::kReset:
    case Fault::kRefuse:
    case Fault::kDuplicate:
    case Fault::kReorder:
    case Fault::kCorrupt:
    case Fault::kTls:
    case Fault::kKill:
    case Fault::kCpu:
    case Fault::kMemory:
    case Fault::kDisk:
    case Fault::kFds:
    case Fault::kPids:
    case Fault::kAbandon:
    case Fault::kSurge:
    case Fault::KIND_NOT_SET:
      break;
  }
  return absl::ZeroDuration();
}

bool HidesCalls(const Fault& fault) {
  if (fault.has_loss()) return fault.loss().percent() >= 50;
  // A connection that ends before it has carried a byte was no call.
  if (fault.has_reset()) return fault.reset().after_bytes() == 0 && ToDuration(fault.reset().after()) == absl::ZeroDuration();
  if (fault.has_limit_data()) return fault.limit_data().bytes() == 0;
  return fault.has_dns() || fault.has_refuse() || fault.has_blackhole() || fault.has_partition() || fault.has_tls();
}

std::string FightOver(const Scenario& scenario, const Fault& a, const Fault& b) {
  const auto isolated = [](const Fault& fault) { return fault.has_partition() ? fault.partition().isolate() : ""; };
  for (const auto& [one, other] : {std::pair(&a, &b), std::pair(&b, &a)}) {
    const std::string service = isolated(*one);
    if (service.empty()) continue;
    const Edge* edge = FindNamed(scenario.edges(), EdgeOfFault(*other));
    if (service == isolated(*other) || (edge != nullptr && edge->from() == service)) {
      return absl::StrCat("act on ", service, " at the same time, and one of them cuts it off");
    }
  }
  const std::string edge = EdgeOfFault(a);
  if (edge.empty() || edge != EdgeOfFault(b)) return "";
  if (a.kind_case() == b.kind_case()) return absl::StrCat(a.has_latency() ? "delay edge " : "act on edge ", edge, " at the same time");
  // `refuse` leaves the connections that are there to the other faults.
  const auto cuts_off = [](const Fault& fault) {
    return fault.has_blackhole() || fault.has_tls() ||
           (fault.has_partition() && fault.partition().direction() == DIRECTION_BOTH);
  };
  if (cuts_off(a) || cuts_off(b)) return absl::StrCat("act on edge ", edge, " at the same time, and one of them cuts it off");
  return "";
}

}  // namespace squall
