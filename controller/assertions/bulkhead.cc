#include "controller/assertions/bulkhead.h"

#include <algorithm>
#include <cmath>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/text.h"
#include "controller/assertions/attempts.h"
#include "controller/assertions/durations.h"
#include "controller/assertions/fault_scene.h"
#include "controller/assertions/gates.h"
#include "controller/assertions/promise.h"
#include "controller/assertions/verdicts.h"
#include "controller/assertions/words.h"
#include "controller/network_faults.h"

namespace squall {
namespace {

// A call that its caller gives up is seen to end a little later than the caller goes on: the next may have begun.
constexpr int64_t kHandOverNs = 20'000'000;
constexpr int64_t kRequestsToTell = 20;
constexpr int64_t kSamplesToTell = 100;  // so that one alone is not their p99
constexpr double kRounding = 1e-9;

// Calls over the edge while the dependency hangs.
struct Waiting {
  int64_t calls = 0;
  int64_t most = 0;  // in flight at the same time
  int64_t most_at_ns = 0;
  int64_t over_limit_ns = 0;  // when there were first more than may be; 0: never
  double mean_ns = 0;         // for how long a call waited
  double wanted = 0;          // calls per second that the requests would have made, as at baseline
  // By Little's law: what would have waited at the same time if nothing held it back.
  double Offered() const { return wanted * mean_ns / 1e9; }
};

double CallsPerRequest(const std::vector<Call>& calls, const FaultScene& scene) {
  const auto count = std::count_if(calls.begin(), calls.end(), [&](const Call& call) {
    return IsCall(call.result) && call.start_ns >= scene.baseline.begin_ns && call.start_ns < scene.baseline.end_ns;
  });
  const auto requests = IntendedWithin(scene.requests, scene.baseline.begin_ns, scene.baseline.end_ns).size();
  return requests == 0 ? 0 : static_cast<double>(count) / static_cast<double>(requests);
}

// Over an edge of plain TCP every connection is a call. A pool's are used again and again, so that the requests tell what would have
// waited: each needs a connection for as long as it takes, unless it was turned away.
void TellByRequests(const FaultScene& scene, Waiting& seen) {
  double waited_ns = 0;
  int64_t served = 0;
  for (const Request& request : scene.During()) {
    if (request.outcome == REJECTED) continue;
    waited_ns += static_cast<double>(request.end_ns - request.intended_ns);
    ++served;
  }
  seen.wanted = static_cast<double>(scene.During().size()) / scene.Seconds();
  seen.mean_ns = served == 0 ? 0 : waited_ns / static_cast<double>(served);
}

Waiting Observe(const std::vector<Call>& calls, bool by_connections, const FaultScene& scene, int64_t may_wait, const Stalls& stalls) {
  Waiting seen;
  seen.wanted = CallsPerRequest(calls, scene) * static_cast<double>(scene.During().size()) / scene.Seconds();
  std::vector<std::pair<int64_t, int>> changes;
  double waited_ns = 0;
  for (const Call& call : calls) {
    if (!IsCall(call.result) && !(by_connections && call.result == CONNECTION)) continue;
    if (call.start_ns >= scene.over_ns || call.end_ns <= scene.begin_ns) continue;
    const int64_t given_up_ns = call.result == CALLER_LEFT ? kHandOverNs : 0;
    // A pool's connection may have been there long before.
    changes.emplace_back(call.result == CONNECTION ? std::max(call.start_ns, scene.begin_ns) : call.start_ns, 1);
    changes.emplace_back(std::max(call.end_ns - given_up_ns, call.start_ns + 1), -1);
    if (call.start_ns < scene.begin_ns) continue;
    ++seen.calls;
    waited_ns += static_cast<double>(call.end_ns - call.start_ns);
  }
  if (seen.calls > 0) seen.mean_ns = waited_ns / static_cast<double>(seen.calls);
  // An end comes before the start that it made room for.
  std::sort(changes.begin(), changes.end());
  int64_t level = 0;
  for (const auto& [at_ns, change] : changes) {
    level += change;
    // When the machine stood still, ends may have been seen after starts that they made room for.
    if (at_ns >= scene.over_ns || stalls.Touch(at_ns, at_ns)) continue;
    if (level > may_wait && seen.over_limit_ns == 0) seen.over_limit_ns = std::max(at_ns, scene.begin_ns);
    if (level <= seen.most || at_ns < scene.begin_ns) continue;
    seen.most = level;
    seen.most_at_ns = at_ns;
  }
  if (by_connections && !changes.empty()) TellByRequests(scene, seen);
  return seen;
}

Promise CheckInFlight(const Bulkhead& spec, const FaultScene& scene, const Waiting& seen, int64_t may_wait) {
  Promise promise;
  promise.name = "in flight";
  const int64_t limit = may_wait - 1;
  promise.measured = Grouped(seen.most);
  promise.limit = absl::StrCat("at most ", Grouped(may_wait));
  promise.margin = Grouped(may_wait - seen.most);
  const std::string most =
      absl::StrCat("at most ", Counted(seen.most, "call"), " over edge ", spec.edge(), " waited at the same time");
  const std::string allowed = absl::StrCat(
      "(limit ", Grouped(spec.limit()), spec.instances() > 1 ? absl::StrCat(" for each of ", spec.instances(), " instances") : "",
      ", and one that comes or goes)");
  if (seen.most > may_wait) {
    promise.result = Verdict::FAIL;
    promise.text = absl::StrCat(Counted(seen.most, "call"), " over edge ", spec.edge(), " waited at the same time, ",
                                Tenths(seen.most_at_ns - scene.begin_ns), " after the injection ", allowed);
    promise.first_broken_ns = seen.over_limit_ns;
    return promise;
  }
  if (seen.Offered() > static_cast<double>(limit)) {
    promise.text = absl::StrCat(most, " ", allowed, ", where ", Grouped(std::llround(seen.Offered())), " would have");
    return promise;
  }
  const double needed_ns = static_cast<double>(limit) / std::max(seen.wanted, 1e-9) * 1e9;
  promise.Open(
      {absl::StrCat("the limit was never reached: ", most, " ", allowed, "; at ", HumanRate(seen.wanted), ", which wait ",
                    Tenths(std::llround(seen.mean_ns)), " each, no more than ", Grouped(std::llround(seen.Offered())), " would"),
       absl::StrCat("raise `rate`, or hold calls up for longer than ", HumanNanos(static_cast<int64_t>(std::min(needed_ns, 1e15))),
                    " each: raise the fault's `delay`, and the service's own deadline if that is shorter")});
  return promise;
}

// How another load's requests fared in a span.
struct Fared {
  int64_t all = 0;
  int64_t left_out = 0;
  std::vector<const Request*> lost;
  std::vector<const Request*> answered;
  std::vector<int64_t> latencies_ns;

  double Percent() const { return all == 0 ? 0 : 100 * static_cast<double>(lost.size()) / static_cast<double>(all); }
};

Fared FaredIn(absl::Span<const Request> requests, const Stalls& stalls) {
  Fared fared;
  for (const Request& request : requests) {
    if (request.outcome == ABANDONED) continue;
    const bool lost = request.outcome != OK;
    if (lost && stalls.Touch(request.intended_ns, request.end_ns)) {
      ++fared.left_out;
      continue;
    }
    ++fared.all;
    if (lost) fared.lost.push_back(&request);
    if (!Waited(request.outcome)) continue;
    fared.answered.push_back(&request);
    fared.latencies_ns.push_back(OwnLatencyNs(request, stalls));
  }
  return fared;
}

Promise CheckOther(const Bulkhead& spec, const std::string& name, const Timeline& timeline, const Stalls& stalls, bool* complete) {
  Promise promise;
  promise.name = absl::StrCat("load ", name);
  FaultScene scene;
  if (auto obstacle = SetScene(name, spec.fault(), timeline, stalls, scene)) {
    *complete = false;
    promise.Open(*obstacle);
    return promise;
  }
  *complete = scene.complete_ns > scene.over_ns;
  promise.load = scene.load;
  Fared before = FaredIn(BaselineRequests(timeline, *scene.load, scene.baseline), scene.baseline.stalls);
  Fared during = FaredIn(scene.During(), stalls);
  if (auto obstacle = StallGate(during.left_out, during.all + during.left_out, "request", stalls)) {
    promise.Open(*obstacle);
    return promise;
  }
  const auto answers = static_cast<int64_t>(std::min(before.latencies_ns.size(), during.latencies_ns.size()));
  if (during.all < kSamplesToTell || before.all < kSamplesToTell) {
    promise.Open({absl::StrCat("load ", name, " sent ", Counted(during.all, "request"), " while ", scene.time.Names(),
                               " acted, and ", Grouped(before.all), " before; ", kSamplesToTell, " are needed"),
                  absl::StrCat("raise the rate of load ", name, ", or the fault's `for`")});
    return promise;
  }
  const double points = during.Percent() - before.Percent();
  promise.text = absl::StrCat("load ", name, " lost ", Grouped(static_cast<int64_t>(during.lost.size())), " of ",
                              Counted(during.all, "request"), " (", HumanPercent(before.Percent()), " before, ",
                              HumanPercent(spec.others_lose()), " more may be)");
  // One request alone tells nothing.
  if (points > spec.others_lose() + kRounding && during.lost.size() > 1) {
    promise.result = Verdict::FAIL;
    promise.measured = absl::StrCat(HumanPercent(points), " more");
    promise.limit = absl::StrCat("at most ", HumanPercent(spec.others_lose()), " more");
    promise.margin = HumanPercent(spec.others_lose() - points);
    promise.first_broken_ns = during.lost.front()->intended_ns;
    promise.examples = during.lost;
    return promise;
  }
  if (answers == 0) return promise;
  const std::vector<int64_t> latencies_ns = during.latencies_ns;
  const int64_t p99_ns = Percentile(during.latencies_ns, 99);
  const double before_ns = static_cast<double>(Percentile(before.latencies_ns, 99));
  const auto limit_ns = static_cast<int64_t>(spec.others_factor() * before_ns) + Nanos(spec.others_slack());
  absl::StrAppend(&promise.text, ", with a p99 of ", Tenths(p99_ns), " (limit ", Tenths(limit_ns), ")");
  if (p99_ns <= limit_ns) return promise;
  promise.result = Verdict::FAIL;
  promise.measured = Tenths(p99_ns);
  promise.limit = absl::StrCat("at most ", Tenths(limit_ns));
  promise.margin = Tenths(limit_ns - p99_ns);
  for (size_t i = 0; i < latencies_ns.size(); ++i) {
    if (latencies_ns[i] <= limit_ns) continue;
    if (promise.examples.empty()) promise.first_broken_ns = during.answered[i]->intended_ns;
    promise.examples.push_back(during.answered[i]);
  }
  return promise;
}

// Why the calls that wait cannot be counted.
std::optional<Obstacle> CallsGate(const Bulkhead& spec, const FaultScene& scene, const Waiting& seen) {
  for (const FaultTime::Part& part : scene.time.parts) {
    if (!HidesCalls(*part.fault)) continue;
    return Obstacle{
        absl::StrCat("under fault ", part.span->name, " no call arrives, so that none is seen to wait over edge ", spec.edge()),
        "let the dependency hang instead: use `latency` with a long `delay`, or `pause` the service that is called, and name it as `fault`"};
  }
  if (seen.wanted * scene.Seconds() >= static_cast<double>(kRequestsToTell)) return std::nullopt;
  if (seen.wanted * scene.Seconds() < 1) {
    return Obstacle{absl::StrCat("load ", scene.load->name(), " makes no calls over edge ", spec.edge(), " at baseline"),
                    "check the edge's address, and that these requests need it; a cache hides calls too"};
  }
  return Obstacle{absl::StrCat("only ", Counted(std::llround(seen.wanted * scene.Seconds()), "call"), " over edge ", spec.edge(),
                               " would have been made while ", scene.time.Names(), " acted; ", kRequestsToTell, " are needed"),
                  "raise `rate` or the fault's `for`"};
}

}  // namespace

Judgement JudgeBulkhead(const Bulkhead& spec, const Timeline& timeline, const Stalls& stalls) {
  FaultScene scene;
  if (auto obstacle = SetScene(spec.load(), spec.fault(), timeline, stalls, scene)) return Obstructed(*obstacle);
  const auto found = timeline.calls.find(spec.edge());
  static const std::vector<Call> kNone;
  const std::vector<Call>& calls = found == timeline.calls.end() ? kNone : found->second;
  const int64_t may_wait = int64_t{spec.limit()} * std::max(spec.instances(), 1) + 1;
  const auto& edges = timeline.header.scenario().edges();
  const bool by_connections = std::any_of(edges.begin(), edges.end(), [&](const Edge& edge) {
    return edge.name() == spec.edge() && edge.protocol() == Edge::PROTOCOL_TCP;
  });
  const Waiting seen = Observe(calls, by_connections, scene, may_wait, stalls);
  bool complete = scene.complete_ns > scene.over_ns;
  if (const auto obstacle = CallsGate(spec, scene, seen)) return {Obstructed(*obstacle).verdict, complete};

  Verdict verdict;
  verdict.set_samples(seen.calls);
  AddDetail(verdict, "calls during the fault",
            absl::StrCat(Grouped(seen.calls), ", each waiting for ", Tenths(std::llround(seen.mean_ns))));
  const int64_t length_ms = (scene.over_ns - scene.begin_ns) / 1'000'000;
  if (auto obstacle = StallGate(stalls.Within(scene.begin_ns, scene.over_ns) / 1'000'000, length_ms, "millisecond", stalls)) {
    return Obstructed(*obstacle, verdict);
  }
  std::vector<Promise> promises = {CheckInFlight(spec, scene, seen, may_wait)};
  for (const std::string& other : spec.others()) {
    bool other_complete = true;
    promises.push_back(CheckOther(spec, other, timeline, stalls, &other_complete));
    complete = complete && other_complete;
  }
  return {Conclude(promises, std::move(verdict), timeline), complete};
}

}  // namespace squall
