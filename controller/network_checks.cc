#include "controller/network_checks.h"

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "base/durations.h"
#include "base/messages.h"
#include "base/text.h"
#include "controller/network_faults.h"
#include "controller/plan.h"
#include "controller/units.h"
#include "controller/wording.h"

namespace squall {
namespace {

constexpr int64_t kMostBody = 1 << 20;
constexpr int64_t kMostMessage = 4 << 10;

}  // namespace

void CheckNetworkFault(const Scenario& scenario, const Fault& fault, const std::string& path, Reading& reading) {
  if (!reading.Sound(path)) return;
  const Edge* edge = FindNamed(scenario.edges(), EdgeOfFault(fault));
  const Means means = MeansOf(fault);
  const std::string kind = path.substr(path.rfind('.') + 1);
  if (IsUdp(edge) && (means == Means::kRelay || means == Means::kHook)) {
    reading.Report(path + ".edge",
           absl::StrCat(kind, " acts on connections, and ", edge->name(), " has datagrams (protocol: udp); use latency, loss, "
                        "duplicate, reorder, corrupt, blackhole or partition"));
  }
  if (IsUnprivileged(edge) && (means == Means::kPacketQueue || (means == Means::kPackets && !fault.has_blackhole()))) {
    reading.Report(path + ".edge",
           absl::StrCat(kind, " acts on packets of the service, which needs the edge to be redirected; leave out relay_at on ",
                        edge->name()));
  }
  if (fault.has_latency()) {
    const Latency& latency = fault.latency();
    if (ToDuration(latency.delay()) == absl::ZeroDuration() && ToDuration(latency.jitter()) == absl::ZeroDuration() && !fault.has_ramp()) {
      reading.Report(path + ".delay", "this latency fault does nothing; write for example delay: 200ms");
    }
    if (latency.distribution() != Latency::DISTRIBUTION_PARETO && ToDuration(latency.jitter()) > ToDuration(latency.delay())) {
      reading.Report(path + ".jitter",
             absl::StrCat("jitter ", HumanDuration(ToDuration(latency.jitter())), " is more than delay ", HumanDuration(ToDuration(latency.delay())), "; write ",
                          DurationText(ToDuration(latency.delay())), " or less"));
    }
  }
  if (fault.has_slice() && fault.slice().variation() >= fault.slice().size() && fault.slice().variation() > 0) {
    reading.Report(path + ".variation", "variation is as much as size; write less, so that every piece has a byte");
  }
  if (fault.has_http()) {
    const HttpFault& http = fault.http();
    if (http.status() == 0 && ToDuration(http.delay()) == absl::ZeroDuration() && fault.ramp().delay().empty()) {
      reading.Report(path, "this http fault does nothing; write status: 503, or delay: 200ms");
    }
    if (http.status() == 0 && !http.body().empty()) {
      reading.Report(path + ".body", "a body needs a status: write for example status: 503");
    }
    if (!http.body().empty() && (http.status() == 204 || http.status() == 304)) {
      reading.Report(path + ".body", absl::StrCat("an answer with status ", http.status(), " has no body; leave out one of them"));
    }
    if (static_cast<int64_t>(http.body().size()) > kMostBody) {
      reading.Report(path + ".body", absl::StrCat("the body has ", HumanBytes(static_cast<int64_t>(http.body().size())), " and may have ",
                                                  HumanBytes(kMostBody)));
    }
    if (http.method() != absl::AsciiStrToUpper(http.method())) {
      reading.Report(path + ".method", absl::StrCat("methods are case-sensitive (RFC 9110); write ", absl::AsciiStrToUpper(http.method())));
    }
    if (!http.path().empty() && http.path()[0] != '/' && http.path() != "*") {
      reading.Report(path + ".path", absl::StrCat(Quoted(http.path()), " is no path; begin it with '/'"));
    }
  }
  if (fault.has_grpc()) {
    const GrpcFault& grpc = fault.grpc();
    if (grpc.code() == GrpcFault::CODE_UNSPECIFIED && ToDuration(grpc.delay()) == absl::ZeroDuration() && fault.ramp().delay().empty()) {
      reading.Report(path, "this grpc fault does nothing; write code: unavailable, or delay: 200ms");
    }
    if (grpc.code() == GrpcFault::CODE_UNSPECIFIED && !grpc.message().empty()) {
      reading.Report(path + ".message", "a message needs a code: write for example code: unavailable");
    }
    // It travels in a header.
    if (static_cast<int64_t>(grpc.message().size()) > kMostMessage) {
      reading.Report(path + ".message", absl::StrCat("the message has ", HumanBytes(static_cast<int64_t>(grpc.message().size())),
                                                     " and may have ", HumanBytes(kMostMessage)));
    }
    if (!grpc.method().empty() && grpc.method()[0] != '/' && grpc.method() != "*") {
      reading.Report(path + ".method",
             absl::StrCat(Quoted(grpc.method()), " is no method; write for example /shop.Recommend/List"));
    }
  }
  if ((fault.has_http() || fault.has_grpc()) && edge != nullptr && edge->protocol() == Edge::PROTOCOL_TCP) {
    reading.Report(path + ".edge",
           absl::StrCat(kind, " needs requests to be read, and ", edge->name(), " has protocol: tcp; leave that out"));
  }
  if (fault.has_tls()) {
    const TlsFault& tls = fault.tls();
    const bool needs_ca = tls.how() == TlsFault::HOW_EXPIRED || tls.how() == TlsFault::HOW_WRONG_NAME ||
                          tls.how() == TlsFault::HOW_OLD_VERSION;
    if (needs_ca && (tls.ca_cert().empty() || tls.ca_key().empty())) {
      reading.Report(path + ".how",
             "without a CA that the client trusts, it would refuse the certificate for its unknown CA, and show nothing else; "
             "write ca_cert: ca.crt and ca_key: ca.key, or how: untrusted");
    } else if (tls.ca_cert().empty() != tls.ca_key().empty()) {
      const bool no_key = tls.ca_key().empty();
      reading.Report(path + (no_key ? ".ca_cert" : ".ca_key"),
                     absl::StrCat(no_key ? "ca_cert" : "ca_key", " alone signs nothing; write ", no_key ? "ca_key" : "ca_cert",
                                  " too, or neither"));
    }
    if (tls.how() == TlsFault::HOW_WRONG_NAME && !tls.server_name().empty()) {
      reading.Report(path + ".server_name", "with how: wrong_name the certificate is for a name that nobody has; leave out server_name");
    }
  }
  if (fault.has_partition()) {
    const Partition& partition = fault.partition();
    if (!partition.isolate().empty() && reading.Given(path + ".edge")) {
      reading.Report(path + ".isolate", "edge and isolate exclude each other; leave out one of them");
    }
    // What a service is sent is not its to reject.
    if (partition.answer() == Partition::ANSWER_REJECT && partition.direction() == DIRECTION_RESPONSE) {
      reading.Report(path + ".answer", "reject answers what the service sends, and with direction: response only what it is sent vanishes; "
                                       "write answer: drop, or another direction");
    }
    if (partition.answer() == Partition::ANSWER_REJECT && IsUdp(edge)) {
      reading.Report(path + ".answer", absl::StrCat("reject answers connects, and ", edge->name(), " has datagrams; write answer: drop"));
    }
  }
}

void CheckTlsVerified(const Scenario& scenario, const TlsVerified& spec, const std::string& path, Reading& reading) {
  if (!reading.Sound(path)) return;
  for (const Fault& fault : scenario.faults()) {
    if (fault.name() != spec.fault() || fault.kind_case() == Fault::KIND_NOT_SET) continue;
    if (!fault.has_tls()) {
      reading.Report(path + ".fault", absl::StrCat("tls_verified is about a tls fault, and ", Quoted(fault.name()), " is ",
                                                   FaultKind(fault), "; name a tls fault"));
    } else if (fault.tls().how() == TlsFault::HOW_ALERT || fault.tls().how() == TlsFault::HOW_CUT) {
      reading.Report(path + ".fault",
                     absl::StrCat("no client can complete a handshake under ", Quoted(fault.name()),
                                  ", whatever it checks; give it how: expired, wrong_name, untrusted or old_version"));
    }
  }
}

void CheckExisting(const Scenario& scenario, Reading& reading) {
  for (int i = 0; i < scenario.edges_size(); ++i) {
    const Edge& edge = scenario.edges(i);
    const std::string path = absl::StrCat("edges[", i, "].existing");
    if (edge.existing() != Edge::EXISTING_RESET || !reading.Sound(absl::StrCat("edges[", i, "]"))) continue;
    for (const Service& service : scenario.services()) {
      if (service.name() != edge.from() || service.run().empty()) continue;
      reading.Report(path, absl::StrCat("squall starts ", edge.from(),
                                        ", so that it has no connection when the run begins; leave out existing"));
    }
    if (IsUnprivileged(&edge)) {
      reading.Report(path, absl::StrCat("with relay_at every connection goes through the relay; leave out existing, or relay_at "
                                        "to have ", edge.from(), " redirected"));
    } else if (IsUdp(&edge)) {
      reading.Report(path, "datagrams have no connection that could be reset; leave out existing");
    }
  }
}

}  // namespace squall
