#include "agent/net/request_faults.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "base/durations.h"

namespace squall {
namespace {

// SplitMix64 (Steele, Lea, Flood 2014): its output for consecutive numbers is as good as random.
uint64_t Mix(uint64_t x) {
  x += 0x9e3779b97f4a7c15u;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
  return x ^ (x >> 31);
}

absl::string_view WithoutQuery(absl::string_view path) { return path.substr(0, path.find('?')); }

// "http://host/path", as a request to a proxy writes it: the path.
absl::string_view PathOf(absl::string_view target) {
  if (!absl::StartsWith(target, "/")) {
    const size_t scheme = target.find("://");
    if (scheme != absl::string_view::npos) {
      const size_t path = target.find('/', scheme + 3);
      target = path == absl::string_view::npos ? absl::string_view("/") : target.substr(path);
    }
  }
  return WithoutQuery(target);
}

// A pattern that ends with '*' is a prefix.
bool CutStar(std::string& pattern) {
  if (!absl::EndsWith(pattern, "*")) return false;
  pattern.pop_back();
  return true;
}

}  // namespace

bool HitByChance(uint64_t seed, int64_t number, double percent) {
  const uint64_t drawn = Mix(Mix(seed) ^ Mix(static_cast<uint64_t>(number)));
  return static_cast<double>(drawn >> 11) * 0x1p-53 * 100 < percent;
}

void RequestFaults::Begin(Kind kind, Rule rule, uint64_t seed, double percent) {
  rule.prefix = CutStar(rule.path);
  rule.active = true;
  rule.generation = rules_[kind].generation + 1;
  rule.seed = seed;
  rule.percent = percent;
  rules_[kind] = std::move(rule);
}

void RequestFaults::Set(const HttpFault& fault, uint64_t seed) {
  Rule rule;
  rule.method = fault.method();
  rule.path = fault.path();
  for (const auto& [name, value] : fault.headers()) rule.headers.emplace_back(absl::AsciiStrToLower(name), value);
  rule.delay_ns = absl::ToInt64Nanoseconds(ToDuration(fault.delay()));
  if (fault.status() != 0) {
    rule.answer = std::make_shared<const OwnAnswer>(OwnAnswer{fault.status(), fault.body(), std::nullopt, ""});
  }
  Begin(kHttp, std::move(rule), seed, fault.percent());
}

void RequestFaults::Set(const GrpcFault& fault, uint64_t seed) {
  Rule rule;
  rule.path = fault.method();
  for (const auto& [name, value] : fault.metadata()) rule.headers.emplace_back(absl::AsciiStrToLower(name), value);
  rule.delay_ns = absl::ToInt64Nanoseconds(ToDuration(fault.delay()));
  if (fault.code() != GrpcFault::CODE_UNSPECIFIED) {
    rule.answer =
        std::make_shared<const OwnAnswer>(OwnAnswer{200, "", static_cast<int>(fault.code()), fault.message()});
  }
  Begin(kGrpc, std::move(rule), seed, fault.percent());
}

bool RequestFaults::Change(Kind kind, const google::protobuf::Duration& delay, double percent) {
  Rule& rule = rules_[kind];
  if (!rule.active) return false;
  rule.delay_ns = absl::ToInt64Nanoseconds(ToDuration(delay));
  rule.percent = percent;
  rule.achieved.Changed();
  rule.lately.Changed(rule.matched, rule.hit);
  return true;
}

bool RequestFaults::Matches(const Rule& rule, Kind kind, const RequestView& request) {
  if (kind == kGrpc && !request.grpc) return false;
  if (!rule.method.empty() && rule.method != request.method) return false;
  if (!rule.path.empty() || rule.prefix) {
    const absl::string_view path = PathOf(request.path);
    if (rule.prefix ? !absl::StartsWith(path, rule.path) : path != rule.path) return false;
  }
  return std::all_of(rule.headers.begin(), rule.headers.end(), [&](const auto& wanted) {
    return std::any_of(request.headers.begin(), request.headers.end(), [&](const auto& header) {
      return header.first == wanted.first && header.second == wanted.second;
    });
  });
}

RequestFaults::Decision RequestFaults::Decide(const RequestView& request, Touched& connection) {
  Decision decision;
  for (const Kind kind : {kHttp, kGrpc}) {
    Rule& rule = rules_[kind];
    if (!rule.active || !Matches(rule, kind, request)) continue;
    if (!HitByChance(rule.seed, rule.matched++, rule.percent)) continue;
    ++rule.hit;
    if (connection.by[kind] != rule.generation) ++rule.connections;
    connection.by[kind] = rule.generation;
    decision.hit[kind] = true;
    decision.delay_ns[kind] = rule.delay_ns;
    decision.answer[kind] = rule.answer;
    decision.asked[kind] = rule.achieved.asked();
    if (rule.answer != nullptr) break;
  }
  return decision;
}

void RequestFaults::NoteHeld(const Decision& decision, int64_t held_ns) {
  for (const Kind kind : {kHttp, kGrpc}) {
    if (decision.delay_ns[kind] == 0) continue;
    rules_[kind].achieved.Add(decision.asked[kind], held_ns - (decision.DelayNs() - decision.delay_ns[kind]));
  }
}

Evidence RequestFaults::EvidenceOf(Kind kind) const {
  const Rule& rule = rules_[kind];
  Evidence evidence;
  evidence.set_connections(rule.connections);
  evidence.set_calls(rule.hit);
  evidence.set_requested_ns(rule.delay_ns);
  evidence.set_achieved_p50_ns(rule.achieved.Quantile(0.5));
  evidence.set_achieved_p99_ns(rule.achieved.Quantile(0.99));
  evidence.set_requested_percent(rule.percent);
  if (rule.matched > 0) evidence.set_achieved_percent(rule.lately.Percent(rule.matched, rule.hit));
  return evidence;
}

}  // namespace squall
