#include "controller/assertions/network_evidence.h"

#include <algorithm>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/direct_reach.h"
#include "base/text.h"
#include "controller/assertions/words.h"
#include "controller/network_faults.h"

namespace squall {
namespace {

int64_t Packets(const Evidence& evidence) { return evidence.packets_to_dependency() + evidence.packets_to_service(); }
int64_t Hit(const Evidence& evidence) { return evidence.hit_to_dependency() + evidence.hit_to_service(); }

std::string Touched(const Evidence& evidence, absl::string_view how) {
  return evidence.calls() > 0 ? absl::StrCat(Counted(evidence.calls(), "call"), " on ",
                                             Counted(evidence.connections(), "connection"), " ", how)
                              : absl::StrCat(Counted(evidence.connections(), "connection"), " ", how);
}

std::string AchievedDelay(const Evidence& evidence) {
  if (evidence.achieved_p50_ns() <= 0) return "";
  return absl::StrCat("; achieved p50 ", Tenths(evidence.achieved_p50_ns()), ", p99 ", Tenths(evidence.achieved_p99_ns()),
                      " of ", HumanNanos(evidence.requested_ns()), " asked");
}

std::string AchievedShare(const Evidence& evidence) {
  if (evidence.requested_percent() <= 0) return "";
  return absl::StrCat("; ", HumanPercent(evidence.achieved_percent()), " of ", HumanPercent(evidence.requested_percent()), " asked");
}

std::string PacketsSeen(const Evidence& evidence, absl::string_view how) {
  const std::string seen = absl::StrCat(Grouped(Hit(evidence)), " of ", Counted(Packets(evidence), "packet"), " ", how, " (",
                                  Grouped(evidence.hit_to_dependency()), " to the dependency, ",
                                  Grouped(evidence.hit_to_service()), " to the service)");
  return seen + AchievedShare(evidence);
}

std::string HandshakesSeen(const Evidence& evidence) {
  std::vector<std::string> parts;
  for (const auto& [answer, count] : evidence.handshakes()) parts.push_back(absl::StrCat(Grouped(count), " ", answer));
  std::sort(parts.begin(), parts.end());
  return absl::StrJoin(parts, ", ");
}

std::string Acted(const Fault& fault, const Evidence& evidence) {
  switch (fault.kind_case()) {
    case Fault::kLatency:
      if (Hit(evidence) > 0 && evidence.connections() == 0) {
        return absl::StrCat(PacketsSeen(evidence, "held back"), AchievedDelay(evidence));
      }
      return absl::StrCat(Touched(evidence, "held back"), AchievedDelay(evidence));
    case Fault::kBandwidth:
      return absl::StrCat(HumanBytes(evidence.bytes()), " on ", Counted(evidence.connections(), "connection"), " held back",
                          evidence.achieved_rate() > 0
                              ? absl::StrCat("; ", HumanBytes(evidence.achieved_rate()), "/s of ",
                                             HumanBytes(evidence.requested_rate()), "/s asked")
                              : "");
    case Fault::kStall:
      return Touched(evidence, "stalled");
    case Fault::kSlice:
      return absl::StrCat(Counted(evidence.pieces(), "piece"), " on ", Counted(evidence.connections(), "connection"));
    case Fault::kLimitData:
      return absl::StrCat(Counted(evidence.cut(), "connection"), " closed");
    case Fault::kReset:
      return absl::StrCat(Counted(evidence.cut(), "connection"), " reset");
    case Fault::kRefuse:
      return evidence.refused_of_all() ? absl::StrCat("up to ", Counted(evidence.refused(), "connect"),
                                                      " refused (of all processes of the network namespace)")
                                       : absl::StrCat(Counted(evidence.refused(), "connect"), " refused");
    case Fault::kBlackhole:
      return Packets(evidence) > 0 ? PacketsSeen(evidence, "dropped") : Touched(evidence, "left without an answer");
    case Fault::kPartition: {
      std::vector<std::string> parts;
      if (Packets(evidence) > 0) parts.push_back(PacketsSeen(evidence, "dropped"));
      if (evidence.refused() > 0) parts.push_back(absl::StrCat(Counted(evidence.refused(), "connect"), " rejected"));
      if (evidence.cut() > 0) parts.push_back(absl::StrCat(Counted(evidence.cut(), "connection"), " reset"));
      return absl::StrJoin(parts, "; ");
    }
    case Fault::kLoss:
      return PacketsSeen(evidence, "lost");
    case Fault::kDuplicate:
      return PacketsSeen(evidence, "doubled");
    case Fault::kReorder:
      return PacketsSeen(evidence, "held back");
    case Fault::kCorrupt:
      return PacketsSeen(evidence, "damaged");
    case Fault::kHttp:
    case Fault::kGrpc:
      return absl::StrCat(Counted(evidence.calls(), "call"), " hit", AchievedShare(evidence), AchievedDelay(evidence));
    case Fault::kTls:
      return absl::StrCat(Counted(evidence.connections(), "handshake"), " spoiled: ", HandshakesSeen(evidence));
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
  return "";
}

// How much of what it was to touch it did touch; 0: nothing.
int64_t Amount(const Fault& fault, const Evidence& evidence) {
  switch (MeansOf(fault)) {
    case Means::kPackets:
    case Means::kPacketQueue:
      return Hit(evidence) + evidence.refused() + evidence.cut() + evidence.connections();
    case Means::kHook:
      return evidence.refused();
    case Means::kRelay:
    case Means::kRelayAndQueue:
      break;
  }
  if (fault.has_limit_data() || fault.has_reset()) return evidence.cut();
  if (fault.has_http() || fault.has_grpc()) return evidence.calls();
  return evidence.calls() + evidence.connections() + Hit(evidence);
}

}  // namespace

std::string NetworkSeen(const Fault& fault, const Evidence& evidence) {
  std::string seen = Amount(fault, evidence) > 0 ? Acted(fault, evidence) : "touched no traffic";
  if (evidence.direct_unreached() > 0) {
    absl::StrAppend(&seen, "; did not reach ", Counted(evidence.direct_unreached(), "connection"), " from before the run");
  }
  return seen;
}

std::optional<Obstacle> NetworkGate(const Fault& fault, const Evidence& evidence) {
  if (Amount(fault, evidence) > 0) return std::nullopt;
  const std::string edge = EdgeOfFault(fault);
  const std::string where = edge.empty() ? absl::StrCat("service ", fault.partition().isolate()) : absl::StrCat("edge ", edge);
  const std::string direct = evidence.direct_unreached() > 0
                                 ? absl::StrCat(" but on ", Counted(evidence.direct_unreached(), "connection"),
                                                " from before the run, which the fault cannot reach")
                                 : "";
  if (fault.has_tls() && !evidence.handshakes().empty()) {
    return Obstacle{absl::StrCat("fault ", fault.name(), " spoiled no handshake: the connections over ", where,
                                 " came to none (", HandshakesSeen(evidence), ")"),
                    "let the service speak TLS over the edge from the first byte on"};
  }
  if (DirectReachOf(fault) == DirectReach::kOnlyNew) {
    return Obstacle{absl::StrCat("fault ", fault.name(), " touched no traffic: it is about new connections, and none was made over ", where,
                                 " while it acted"),
                    absl::StrCat("the service keeps its connections: end them by a short `reset` of ", where, fault.has_refuse()
                                     ? " at the same time"
                                     : " just before")};
  }
  return Obstacle{absl::StrCat("fault ", fault.name(), " touched no traffic: nothing that it acts on crossed ", where,
                               " while it acted", direct),
                  "raise `rate` or `for`, and check the edge's address: the service may not call it for these requests, or "
                  "keep connections open that it made before squall attached (write `existing: reset` on the edge to have "
                  "them come back through the relay)"};
}

}  // namespace squall
