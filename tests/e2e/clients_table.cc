#include "tests/e2e/clients_table.h"

#include <regex>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"

namespace squall {
namespace {

// Seconds that a busy machine may take beyond what the fault does.
constexpr double kSlack = 4;

Sees Answer() { return {Sees::kAnswer, "0", "", 0, kSlack}; }
Sees Slow(double at_least) { return {Sees::kAnswer, "0", "", at_least, at_least + kSlack}; }
// Lost packets are sent again, each time after twice as long.
Sees Eventual() { return {Sees::kAnswer, "0", "", 0, 20}; }
Sees Says(int exit, const std::string& text, double at_least = 0) {
  return {Sees::kSays, absl::StrCat(exit), text, at_least, at_least + kSlack};
}
// The same of a client that stays and may go on after it.
Sees Told(const std::string& text) { return {Sees::kSays, "", text, 0, kSlack}; }
Sees Waits() { return {Sees::kWaits, "none", "", 0, 10}; }
Sees Damaged() { return {Sees::kDamaged, "", "", 0, 20}; }
Sees None(const std::string& why) { return {Sees::kNotApplicable, "", why, 0, 0}; }

// wrk's figures.
const char kSomeRequests[] = "[1-9][0-9]* requests in";
Sees Figures(const std::string& text) { return {Sees::kSays, "0", text, 0, 2 + kSlack}; }
const Sees kNoFigures = Figures("\n  0 requests in");
// Of 1,263 connects in a row one was once seen to fail, on a machine with much else to do.
const Sees kReset = Figures("Socket errors: connect [01], (read [1-9]|read 0, write [1-9])");

const char kNoHttp[] = "speaks no HTTP";
const char kNoGrpc[] = "speaks no gRPC";
const char kLooksAtNoBytes[] = "does not look at what it reads";

constexpr bool kRoot = true, kAnybody = true, kNotSo = false;

std::vector<Row> MakeNetworkRows() {
  // psql cannot wait for less than two seconds, and its clock for that has whole seconds.
  const Sees psql_gives_up = Says(2, "timeout expired", 0.9);
  const Sees grpc_gives_up = Says(4, "DEADLINE_EXCEEDED", 1.4);
  const Sees kept_grpc_gives_up = Told("DEADLINE_EXCEEDED");
  std::vector<Row> rows;

  rows.push_back({"latency", "latency: {edge: EDGE, delay: 800ms}", kRoot, kAnybody, Size::kSmall, 6,
                  Slow(0.8), Figures("Latency +([89][0-9][0-9]\\.[0-9]+ms|1\\.[0-9]+s)"), Slow(0.8), Slow(1.6), Slow(0.8),
                  Slow(0.8), Slow(0.8), Slow(0.8)});
  rows.push_back({"bandwidth", "bandwidth: {edge: EDGE, rate: 64KiB/s}", kRoot, kAnybody, Size::kBig, 6,
                  Slow(0.9), Figures("Transfer/sec: +[456][0-9]\\.[0-9]+KB"), Slow(0.9), Slow(0.9), Slow(0.9),
                  Slow(0.9), Slow(0.9), Slow(0.9)});
  rows.push_back({"slice", "slice: {edge: EDGE, size: 2KiB, delay: 25ms}", kRoot, kAnybody, Size::kBig, 6,
                  Slow(0.7), Figures(kSomeRequests), Slow(0.7), Slow(0.7), Slow(0.7),
                  Slow(0.7), Slow(0.7), Slow(0.7)});
  rows.push_back({"limit_data", "limit_data: {edge: EDGE, bytes: 1000B}", kRoot, kAnybody, Size::kBig, 1.5,
                  Says(18, "transfer closed with [0-9]+ bytes remaining to read"), Figures("read [1-9]"),
                  Says(1, "Error: Server closed the connection"), Says(2, "server closed the connection unexpectedly"),
                  Says(14, "UNAVAILABLE: .*Socket closed"),
                  Told("Error: Server closed the connection"), Told("server closed the connection unexpectedly"),
                  Told("UNAVAILABLE: .*Socket closed")});
  rows.push_back({"reset", "reset: {edge: EDGE}", kRoot, kAnybody, Size::kSmall, 1.5,
                  // The RST comes right after the accept: a client that does not block in its connect may be told by that.
                  {Sees::kSays, "7|55|56", "Connection reset by peer|errno 107", 0, kSlack}, kReset,
                  Says(1, "(Error|Could not connect to Redis at .*): (Connection reset by peer|Broken pipe)"),
                  Says(2, "Connection reset by peer|server closed the connection unexpectedly"),
                  Says(14, "UNAVAILABLE: .*(Connection reset by peer|Broken pipe)"),
                  Told("Error: (Connection reset by peer|Broken pipe)"),
                  Told("Connection reset by peer|server closed the connection unexpectedly|connection to server was lost"),
                  Told("UNAVAILABLE: .*")});
  rows.push_back({"reset in mid-stream", "reset: {edge: EDGE, after_bytes: 20000B}", kRoot, kAnybody, Size::kBig, 1.5,
                  Says(56, "Connection reset by peer"), kReset, Says(1, "Error: Connection reset by peer"),
                  Says(2, "Connection reset by peer|server closed the connection unexpectedly"),
                  Says(14, "UNAVAILABLE: .*Connection reset by peer"),
                  // Only what the dependency sends from now on counts, and it comes in the answer.
                  Told("Error: Connection reset by peer"), Told("Connection reset by peer|server closed the connection unexpectedly"),
                  Told("UNAVAILABLE: .*Connection reset by peer")});
  rows.push_back({"refuse", "refuse: {edge: EDGE}", kRoot, kAnybody, Size::kSmall, 1.5,
                  Says(7, "(connect to .* failed|Immediate connect fail for .*): Connection refused"), Says(1, "unable to connect to .* Connection refused"),
                  Says(1, "Could not connect to Redis at .*: Connection refused"), Says(2, "failed: Connection refused"),
                  Says(14, "UNAVAILABLE: .*Connection refused"), Answer(), Answer(), Answer()});
  rows.push_back({"accept, then silence", "stall: {edge: EDGE}", kRoot, kAnybody, Size::kSmall, 1.5,
                  Says(28, "Operation timed out after [0-9]+ milliseconds with 0 bytes received", 1.4), kNoFigures, Waits(),
                  psql_gives_up, grpc_gives_up, Waits(), Waits(), kept_grpc_gives_up});
  rows.push_back({"stall in mid-stream", "stall: {edge: EDGE, after_bytes: 20000B}", kRoot, kAnybody, Size::kBig, 1.5,
                  Says(28, "Operation timed out after [0-9]+ milliseconds with 1[0-9]+ out of 65536 bytes received", 1.4),
                  kNoFigures, Waits(), Waits(), grpc_gives_up, Waits(), Waits(), kept_grpc_gives_up});
  const Row gone = {"blackhole", "blackhole: {edge: EDGE}", kRoot, kNotSo, Size::kSmall, 1.5,
                    Says(28, "Connection timeout after|Connection timed out after", 1.4), Waits(), Waits(), psql_gives_up,
                    grpc_gives_up, Waits(), Waits(), kept_grpc_gives_up};
  rows.push_back(gone);
  rows.push_back({"blackhole, unprivileged", "blackhole: {edge: EDGE}", kNotSo, kAnybody, Size::kSmall, 1.5,
                  Says(28, "Operation timed out after [0-9]+ milliseconds with 0 bytes received", 1.4), kNoFigures, Waits(),
                  psql_gives_up, grpc_gives_up, Waits(), Waits(), kept_grpc_gives_up});
  rows.push_back(gone);
  rows.back().name = "partition";
  rows.back().fault = "partition: {edge: EDGE}";
  rows.push_back(gone);
  rows.back().name = "partition of requests";
  rows.back().fault = "partition: {edge: EDGE, direction: request}";
  rows.push_back(gone);
  rows.back().name = "partition of responses";
  rows.back().fault = "partition: {edge: EDGE, direction: response}";
  rows.push_back(gone);
  rows.back().name = "partition of new connections";
  rows.back().fault = "partition: {edge: EDGE, connections: new}";
  rows.back().kept_redis = rows.back().kept_psql = rows.back().kept_grpc = Answer();
  rows.push_back({"partition of established connections", "partition: {edge: EDGE, connections: established}", kRoot, kNotSo,
                  Size::kSmall, 1.5, Answer(), Figures(kSomeRequests), Answer(), Answer(), Answer(), Waits(), Waits(),
                  kept_grpc_gives_up});
  rows.push_back({"partition that rejects", "partition: {edge: EDGE, answer: reject}", kRoot, kNotSo, Size::kSmall, 1.5,
                  Says(7, "(connect to .* failed|Immediate connect fail for .*): Connection refused"), Says(1, "unable to connect to .* Connection refused"),
                  Says(1, "Could not connect to Redis at .*: Connection refused"), Says(2, "failed: Connection refused"),
                  Says(14, "UNAVAILABLE: .*Connection refused"),
                  Told("Error: (Connection reset by peer|Software caused connection abort|Broken pipe)"),
                  Told("could not receive data|server closed the connection unexpectedly|connection to server was lost"),
                  Told("UNAVAILABLE: .*")});
  rows.push_back({"loss", "loss: {edge: EDGE, percent: 10%}", kRoot, kNotSo, Size::kBig, 20,
                  Eventual(), Figures(kSomeRequests), Eventual(), Eventual(), Eventual(), Eventual(), Eventual(), Eventual()});
  rows.push_back(rows.back());
  rows.back().name = "duplicate";
  rows.back().fault = "duplicate: {edge: EDGE, percent: 50%}";
  rows.push_back(rows.back());
  rows.back().name = "reorder";
  rows.back().fault = "reorder: {edge: EDGE, percent: 30%, delay: 5ms}";
  rows.push_back(rows.back());
  rows.back().name = "corrupt";
  rows.back().fault = "corrupt: {edge: EDGE, percent: 10%}";
  rows.push_back({"corrupt, checksum right", "corrupt: {edge: EDGE, percent: 100%, direction: response, checksum: right}", kRoot,
                  kNotSo, Size::kBig, 1.5, Damaged(), None(kLooksAtNoBytes), Damaged(), Damaged(), Damaged(),
                  Damaged(), Damaged(), Damaged()});
  rows.push_back({"http status", "http: {edge: EDGE, status: 503, body: no more today}", kRoot, kAnybody, Size::kSmall, 1.5,
                  Says(0, "^no more today[^]*< HTTP/1.1 503"),
                  Figures("Non-2xx or 3xx responses: [1-9]"), None(kNoHttp), None(kNoHttp), Says(14, "UNAVAILABLE: .*"),
                  None(kNoHttp), None(kNoHttp), Told("UNAVAILABLE: .*")});
  rows.push_back({"http delay", "http: {edge: EDGE, delay: 800ms}", kRoot, kAnybody, Size::kSmall, 6,
                  Slow(0.8), Figures("Latency +([89][0-9][0-9]\\.[0-9]+ms|1\\.[0-9]+s)"), None(kNoHttp), None(kNoHttp), Slow(0.8),
                  None(kNoHttp), None(kNoHttp), Slow(0.8)});
  rows.push_back({"grpc status", "grpc: {edge: EDGE, code: resource_exhausted, message: no more today}", kRoot, kAnybody,
                  Size::kSmall, 1.5, None(kNoGrpc), None(kNoGrpc), None(kNoGrpc), None(kNoGrpc),
                  Says(8, "RESOURCE_EXHAUSTED: no more today"), None(kNoGrpc), None(kNoGrpc), Told("RESOURCE_EXHAUSTED: no more today")});
  rows.push_back({"grpc delay", "grpc: {edge: EDGE, delay: 800ms}", kRoot, kAnybody, Size::kSmall, 6, None(kNoGrpc), None(kNoGrpc),
                  None(kNoGrpc), None(kNoGrpc), Slow(0.8), None(kNoGrpc), None(kNoGrpc), Slow(0.8)});
  return rows;
}

// wrk checks no certificate: it goes on where the others refuse, and the peer hangs up.
std::vector<Row> MakeTlsRows() {
  const Sees psql = None("asks in its own protocol first whether TLS may begin");
  const char kCa[] = ", ca_cert: CACERT, ca_key: CAKEY}";
  std::vector<Row> rows;
  const auto add = [&](const std::string& how, const char* more, const Sees& curl, const std::string& redis, const std::string& grpc) {
    Row row;
    row.name = absl::StrCat("tls ", how);
    row.fault = absl::StrCat("tls: {edge: EDGE, how: ", how, more);
    row.curl = curl;
    row.wrk = Figures("\n  0 requests in");
    row.redis = Says(1, redis);
    row.psql = psql;
    row.grpc = Says(14, grpc);
    rows.push_back(row);
  };
  const std::string redis = "Could not connect to Redis at .*: SSL_connect failed:";
  add("alert", "}", Says(35, "alert handshake failure"), redis + ".*alert handshake failure",
      "UNAVAILABLE: .*alert handshake failure");
  add("expired", kCa, Says(60, "certificate has expired"), redis + ".*certificate verify failed",
      "UNAVAILABLE: .*certificate verify failed");
  // redis-cli checks no names: it goes on, and then the peer hangs up.
  add("wrong_name", kCa, Says(60, "no alternative certificate subject name matches|does not match"),
      "Error: (Server closed the connection|Connection reset by peer)", "UNAVAILABLE: .*is not in peer certificate");
  add("untrusted", "}", Says(60, "unable to get local issuer certificate|self-signed certificate"),
      redis + ".*certificate verify failed", "UNAVAILABLE: .*certificate verify failed");
  // OpenSSL 3 would speak TLS 1.1, but not with the SHA-1 signatures that it has.
  add("old_version", kCa, Says(35, "unsupported protocol|legacy sigalg disallowed"),
      redis + ".*(unsupported protocol|legacy sigalg disallowed)", "UNAVAILABLE: .*protocol version");
  add("cut", "}", Says(35, "unexpected eof|SSL_ERROR_SYSCALL|Connection reset"), redis,
      "UNAVAILABLE: .*(Socket closed|Connection reset by peer)");
  return rows;
}

std::vector<Row> MakeDnsRows() {
  std::vector<Row> rows;
  const auto fails = [&](const std::string& name, const std::string& fault, const char* redis, const char* psql) {
    Row row;
    row.name = name;
    row.fault = fault;
    row.curl = Says(6, "Could not resolve host: server.test");
    row.wrk = Says(1, "unable to resolve server.test:");
    row.redis = Says(1, redis);
    row.psql = Says(2, psql);
    row.grpc = Says(14, "UNAVAILABLE: DNS resolution failed for server.test");
    rows.push_back(row);
  };
  fails("dns nxdomain", "dns: {service: clients, names: [server.test], answer: nxdomain}", "Name or service not known",
        "Name or service not known");
  fails("dns empty", "dns: {service: clients, names: [server.test], answer: empty}",
        "No address associated with hostname|Name or service not known",
        "No address associated with hostname|Name or service not known");
  fails("dns servfail", "dns: {service: clients, names: [server.test], answer: servfail}", "Temporary failure in name resolution",
        "Temporary failure in name resolution");
  Row silent;
  silent.name = "dns timeout";
  silent.fault = "dns: {service: clients, names: [server.test], answer: timeout}";
  silent.curl = Says(28, "Resolving timed out after", 1.4);
  silent.wrk = silent.redis = silent.psql = Waits();
  silent.grpc = Says(4, "DEADLINE_EXCEEDED", 1.4);
  rows.push_back(silent);
  Row late;
  late.name = "dns delayed";
  late.fault = "dns: {service: clients, names: [server.test], answer: delayed, delay: 800ms}";
  late.patience = 6;
  late.curl = late.redis = late.psql = late.grpc = Slow(0.8);
  late.wrk = Figures(kSomeRequests);
  rows.push_back(late);
  Row wrong;
  wrong.name = "dns wrong_address";
  wrong.fault = "dns: {service: clients, names: [server.test], answer: wrong_address, addresses: [127.0.0.3]}";
  wrong.curl = Says(7, "connect to 127.0.0.3 .* failed: Connection refused");
  wrong.wrk = Says(1, "unable to connect to .* Connection refused");
  wrong.redis = Says(1, "Could not connect to Redis at server.test:.*: Connection refused");
  wrong.psql = Says(2, "\\(127.0.0.3\\), port .* failed: Connection refused");
  wrong.grpc = Says(14, "UNAVAILABLE: .*127.0.0.3.*Connection refused");
  rows.push_back(wrong);
  return rows;
}

bool Contains(const std::string& text, const std::string& pattern) { return std::regex_search(text, std::regex(pattern)); }

}  // namespace

const Sees& Row::For(Client client) const {
  switch (client) {
    case Client::kCurl:
    case Client::kCurl6:
    case Client::kCurlTls:
      return curl;
    case Client::kWrk:
    case Client::kWrkTls:
      return wrk;
    case Client::kRedis:
    case Client::kRedisTls:
      return redis;
    case Client::kPsql:
      return psql;
    case Client::kGrpc:
    case Client::kGrpcTls:
      return grpc;
  }
  return curl;
}

const Sees& Row::Kept(Client client) const {
  static const Sees nothing;
  switch (client) {
    case Client::kRedis:
      return kept_redis;
    case Client::kPsql:
      return kept_psql;
    case Client::kGrpc:
      return kept_grpc;
    default:
      return nothing;
  }
}

const std::vector<Row>& NetworkRows() {
  static const auto* const rows = new std::vector<Row>(MakeNetworkRows());
  return *rows;
}
const std::vector<Row>& TlsRows() {
  static const auto* const rows = new std::vector<Row>(MakeTlsRows());
  return *rows;
}
const std::vector<Row>& DnsRows() {
  static const auto* const rows = new std::vector<Row>(MakeDnsRows());
  return *rows;
}

std::string Difference(const Sees& expected, const Ran& ran, const std::string& right) {
  const double took = absl::ToDoubleSeconds(ran.took);
  const bool is_right = right.empty() ? Contains(ran.out, kSomeRequests) && !absl::StrContains(ran.out, "Socket errors") &&
                                            !absl::StrContains(ran.out, "Non-2xx")
                                      : ran.out == right;
  switch (expected.what) {
    case Sees::kNotApplicable:
      return "";
    case Sees::kAnswer:
      if (!is_right) return "not the right answer";
      break;
    case Sees::kSays:
      if (!Contains(ran.out + ran.err, expected.text)) return absl::StrCat("it does not say \"", expected.text, "\"");
      if (!expected.exit.empty() && !Contains(ran.exit, absl::StrCat("^(", expected.exit, ")$"))) {
        return absl::StrCat("its exit code is not ", expected.exit);
      }
      break;
    case Sees::kWaits:
      if (ran.exit != "none" || !ran.out.empty()) return "it does not wait in silence";
      return "";
    case Sees::kDamaged:
      return is_right ? "the right answer" : "";
  }
  if (took < expected.at_least) return absl::StrCat("it took ", took, " s, which is less than ", expected.at_least, " s");
  if (took > expected.at_most) return absl::StrCat("it took ", took, " s, which is more than ", expected.at_most, " s");
  return "";
}

}  // namespace squall
