#include "controller/load_checks.h"

#include <set>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "base/durations.h"
#include "base/text.h"
#include "controller/scalars.h"
#include "controller/schema.h"
#include "controller/wording.h"

namespace squall {
namespace {

// What squall sets itself.
const std::set<std::string>& OwnHeaders() {
  static const auto& names = *new std::set<std::string>{"traceparent", "x-squall-run", "content-length", "transfer-encoding"};
  return names;
}
// What HTTP/2 has no use for (RFC 9113, 8.2.2).
const std::set<std::string>& OfConnections() {
  static const auto& names = *new std::set<std::string>{"connection", "keep-alive", "proxy-connection", "upgrade"};
  return names;
}
const std::set<std::string>& OfGrpc() {
  static const auto& names = *new std::set<std::string>{"content-type", "te", "grpc-timeout", "grpc-encoding", "grpc-accept-encoding", "host"};
  return names;
}

template <typename Headers>
void CheckHeaders(const Headers& headers, const std::set<std::string>& forbidden, absl::string_view why, const std::string& path, Reading& reading) {
  for (const auto& [name, value] : headers) {
    if (forbidden.count(absl::AsciiStrToLower(name)) == 0) continue;
    reading.Report(absl::StrCat(path, ".", name), absl::StrCat(Quoted(name), " ", why, "; leave it out"));
  }
}

void CheckTls(const ClientTls& tls, const std::string& path, Reading& reading) {
  if (tls.cert().empty() == tls.key().empty()) return;
  reading.Report(path + (tls.cert().empty() ? ".key" : ".cert"), "a client's certificate and its key go together; write both cert and key");
}

void CheckMatch(const Match& match, const Load& load, const std::string& path, Reading& reading) {
  if (!match.grpc_status().empty() && !load.has_grpc()) {
    reading.Report(path + ".grpc_status", "grpc_status is told by gRPC calls only; write status, or make it a grpc load");
  }
  if (!match.status().empty() && !load.has_http()) {
    reading.Report(path + ".status", absl::StrCat("status is told by HTTP answers only; write ", load.has_grpc() ? "grpc_status" : "body"));
  }
  if (!match.headers().empty() && load.has_tcp()) {
    reading.Report(path + ".headers", "bytes over TCP have no headers; write body");
  }
}

void CheckHttp(const Http& http, const std::string& path, Reading& reading) {
  const bool https = absl::StartsWithIgnoreCase(http.url(), "https://");
  if (http.has_tls() && !https) {
    reading.Report(path + ".tls", "tls goes with an https:// URL; write one, or leave tls out");
  }
  CheckTls(http.tls(), path + ".tls", reading);
  const auto check = [&](const auto& headers, const std::string& at) {
    CheckHeaders(headers, OwnHeaders(), "is set by squall itself", at, reading);
    if (http.version() == Http::VERSION_HTTP2) CheckHeaders(headers, OfConnections(), "has no place in HTTP/2", at, reading);
  };
  check(http.headers(), path + ".headers");
  for (int i = 0; i < http.requests_size(); ++i) {
    const WeightedHttp& request = http.requests(i);
    const std::string at = ItemPath(path + ".requests", i);
    check(request.headers(), at + ".headers");
    if (!request.path().empty() && (request.path()[0] != '/' || absl::StrContains(request.path(), ' '))) {
      reading.Report(at + ".path", absl::StrCat(Quoted(request.path()), " is no path; write for example /order?sku=7"));
    }
    const std::string& method = request.method().empty() ? http.method() : request.method();
    if (method == "HEAD" && !(request.body().empty() ? http.body() : request.body()).empty()) {
      reading.Report(at + (request.method().empty() ? ".body" : ".method"), "a HEAD request has no body; leave one of them out");
    }
  }
  if (http.method() == "HEAD" && !http.body().empty()) reading.Report(path + ".body", "a HEAD request has no body; leave one of them out");
}

bool IsGrpcMethod(const std::string& method) {
  const size_t slash = method.find('/');
  return slash != std::string::npos && slash > 0 && slash + 1 < method.size() && method.find('/', slash + 1) == std::string::npos;
}

void CheckGrpc(const Grpc& grpc, const Load& load, const std::string& path, Reading& reading) {
  CheckTls(grpc.tls(), path + ".tls", reading);
  CheckHeaders(grpc.headers(), OwnHeaders(), "is set by squall itself", path + ".headers", reading);
  CheckHeaders(grpc.headers(), OfGrpc(), "is set by gRPC itself", path + ".headers", reading);
  const auto check = [&](const std::string& method, const std::string& at, const std::string& parent) {
    if (IsGrpcMethod(method)) return;
    reading.ReportAt(at, reading.Given(at) ? reading.At(at) : reading.At(parent),
                     method.empty() ? "method is missing; write for example method: shop.Orders/Place"
                                    : absl::StrCat(Quoted(method), " is no method; write package.Service/Method"));
  };
  if (grpc.requests().empty() || !grpc.method().empty()) check(grpc.method(), path + ".method", path);
  for (int i = 0; i < grpc.requests_size(); ++i) {
    const std::string at = ItemPath(path + ".requests", i);
    const std::string& own = grpc.requests(i).method();
    if (own.empty() && !grpc.method().empty()) continue;
    check(own, at + ".method", at);
  }
  if (grpc.has_deadline() && ToDuration(grpc.deadline()) > ToDuration(load.give_up_after())) {
    reading.Report(path + ".deadline", absl::StrCat("clients give up after ", HumanDuration(ToDuration(load.give_up_after())),
                                                    ", before the deadline that the server is told; write less, or a longer give_up_after"));
  }
}

void CheckTcp(const Tcp& tcp, const std::string& path, Reading& reading) {
  CheckTls(tcp.tls(), path + ".tls", reading);
  if (tcp.until().empty()) {
    reading.Report(path + ".until", "until is empty, which every answer contains; write what its end looks like, for example \"+PONG\"");
  }
}

}  // namespace

void CheckLoad(const Load& load, const std::string& path, Reading& reading) {
  if (!reading.Sound(path)) return;
  for (const auto& [match, key] : {std::pair{&load.ok_when(), ".ok_when"}, {&load.rejected_when(), ".rejected_when"}, {&load.degraded_when(), ".degraded_when"}}) {
    if (reading.Given(path + key)) CheckMatch(*match, load, path + key, reading);
  }
  switch (load.kind_case()) {
    case Load::kHttp:
      return CheckHttp(load.http(), path + ".http", reading);
    case Load::kGrpc:
      return CheckGrpc(load.grpc(), load, path + ".grpc", reading);
    case Load::kTcp:
      return CheckTcp(load.tcp(), path + ".tcp", reading);
    case Load::KIND_NOT_SET:
      return;
  }
}

}  // namespace squall
