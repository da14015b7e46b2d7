#include "controller/assertions/breaker_scene.h"

#include <algorithm>
#include <limits>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/text.h"
#include "controller/assertions/attempts.h"
#include "controller/assertions/durations.h"
#include "controller/assertions/windows.h"
#include "controller/assertions/words.h"
#include "controller/network_faults.h"

namespace squall {
namespace {

// Below this a quiet span could be chance.
constexpr double kExpectedInOpenTime = 25;
constexpr int64_t kShortestOpenNs = 400'000'000;
// A process with a smaller share of the calls is not judged by itself.
constexpr double kLeastShare = 0.01;
// No more than this share of the calls may be left unjudged.
constexpr double kMostUnseen = 0.05;
constexpr size_t kMostNamed = 4;

bool StartsBefore(const Call& call, int64_t ns) { return call.start_ns < ns; }

// As the requests of a window are: without those of the time in which the machine stood still.
int64_t CallsWithin(int64_t begin_ns, int64_t end_ns, absl::Span<const Call> calls, const Stalls& stalls) {
  const auto first = std::lower_bound(calls.begin(), calls.end(), begin_ns, StartsBefore);
  const auto last = std::lower_bound(first, calls.end(), end_ns, StartsBefore);
  return std::count_if(first, last, [&](const Call& call) { return !stalls.Touch(call.start_ns, call.start_ns); });
}

double CallsPerRequest(const Baseline& baseline, absl::Span<const Call> calls) {
  std::vector<double> shares;
  for (const Window& window : baseline.windows) {
    if (window.left_out || window.empty()) continue;
    const int64_t count = CallsWithin(window.begin_ns, window.begin_ns + baseline.window_ns, calls, baseline.stalls);
    shares.push_back(static_cast<double>(count) / static_cast<double>(window.requests));
  }
  return shares.empty() ? 0 : Median(shares);
}

double MeanPerRequest(const Baseline& baseline, absl::Span<const Call> calls) {
  int64_t requests = 0;
  for (const Window& window : baseline.windows) requests += window.requests;
  const int64_t count = CallsWithin(baseline.begin_ns, baseline.end_ns, calls, baseline.stalls);
  return requests == 0 ? 0 : static_cast<double>(count) / static_cast<double>(requests);
}

int64_t DefaultFailFast(absl::Span<const Request> requests) {
  std::vector<int64_t> answers;
  for (const Request& request : requests) {
    if (Waited(request.outcome)) answers.push_back(request.AnswerNs());
  }
  const int64_t p99_ns = answers.empty() ? 0 : Percentile(answers, 99);
  return std::max<int64_t>(50'000'000, p99_ns + 20'000'000);
}

BreakerScene WholeOf(const CircuitBreaker& spec, const Timeline& timeline, const Load& load, const FaultTime& time,
                     const Baseline& baseline, const Stalls& stalls) {
  BreakerScene scene;
  scene.spec = &spec;
  scene.timeline = &timeline;
  scene.load = &load;
  scene.stalls = &stalls;
  scene.time = time;
  scene.baseline = baseline;
  if (const auto calls = timeline.calls.find(spec.edge()); calls != timeline.calls.end()) {
    const auto counts = [](const Call& call) { return IsCall(call.result); };
    if (std::all_of(calls->second.begin(), calls->second.end(), counts)) {
      scene.calls = calls->second;
    } else {
      std::vector<Call> counted;
      std::copy_if(calls->second.begin(), calls->second.end(), std::back_inserter(counted), counts);
      scene.Hold(std::move(counted));
    }
  }
  scene.calls_per_request = CallsPerRequest(baseline, scene.calls);
  scene.calls_of_all = scene.calls_per_request;
  scene.begin_ns = *time.injected_ns;
  scene.over_ns = *time.over_ns;
  scene.complete_ns = CallsCompleteUntil(timeline, load);
  scene.peer_dead = time.AnyDeath();
  scene.cross_host_ns = CrossHostNs(timeline);
  scene.calls_hidden = std::any_of(time.parts.begin(), time.parts.end(),
                                 [](const FaultTime::Part& part) { return HidesCalls(*part.fault); });
  // Without an address nothing is connected to.
  const bool nameless = std::any_of(time.parts.begin(), time.parts.end(),
                                    [](const FaultTime::Part& part) { return part.fault->has_dns(); });
  scene.by_connects = scene.calls_hidden && !nameless && ConnectsCounted(timeline, spec.edge());

  const int64_t open_ns = Nanos(spec.open_time());
  scene.open_at_least_ns = open_ns - std::max<int64_t>(open_ns / 20, 100'000'000);
  scene.fail_fast_ns = spec.has_fails_fast_within()
                           ? Nanos(spec.fails_fast_within())
                           : DefaultFailFast(BaselineRequests(timeline, load, baseline));
  scene.close_within_ns =
      spec.has_closes_within() ? Nanos(spec.closes_within()) : open_ns * 3 / 2 + 5'000'000'000;
  return scene;
}

// Who called.
std::set<uint32_t> SourcesOf(absl::Span<const Call> calls) {
  std::set<uint32_t> sources;
  for (const Call& call : calls) {
    if (sources.empty() || *sources.rbegin() != call.source_pid) sources.insert(call.source_pid);
  }
  return sources;
}

// REQUIRES: `scene` is that of all.
void KeepOnly(const std::set<uint32_t>& sources, BreakerScene& scene) {
  std::vector<Call> kept;
  std::copy_if(scene.calls.begin(), scene.calls.end(), std::back_inserter(kept),
               [&](const Call& call) { return sources.count(call.source_pid) > 0; });
  scene.Hold(std::move(kept));
}

// Calls of processes that made none during the baseline are more than a few: who was there then cannot be followed.
bool ComeAndGo(const BreakerScene& whole) {
  const auto* const after = std::lower_bound(whole.calls.begin(), whole.calls.end(), whole.baseline.end_ns, StartsBefore);
  const std::set<uint32_t> known = SourcesOf(absl::MakeConstSpan(whole.calls.begin(), after));
  const int64_t all = whole.calls.end() - after;
  const int64_t late = std::count_if(after, whole.calls.end(), [&](const Call& call) { return known.count(call.source_pid) == 0; });
  return static_cast<double>(late) > std::max(kExpectedInOpenTime, kMostUnseen * static_cast<double>(all));
}

std::string Names(const std::vector<BreakerScene>& each) {
  std::vector<std::string> names;
  for (const BreakerScene& scene : each) {
    if (names.size() < kMostNamed) names.push_back(scene.who);
  }
  std::string text = absl::StrJoin(names, ", ");
  if (each.size() > kMostNamed) absl::StrAppend(&text, " and ", each.size() - kMostNamed, " more");
  return text;
}

}  // namespace

void BreakerScene::Hold(std::vector<Call> own) {
  held = std::make_shared<const std::vector<Call>>(std::move(own));
  calls = *held;
}

std::string BreakerScene::Lead() const { return who.empty() ? "" : absl::StrCat(who, ": "); }

double BreakerScene::Expected(int64_t from_ns, int64_t to_ns) const {
  const auto requests = timeline->requests.find(load->name());
  if (requests == timeline->requests.end()) return 0;
  return calls_per_request * static_cast<double>(IntendedWithin(requests->second, from_ns, to_ns).size());
}

int64_t BreakerScene::CallsBetween(int64_t from_ns, int64_t to_ns) const {
  const auto first = std::lower_bound(calls.begin(), calls.end(), from_ns + 1, StartsBefore);
  return std::max<int64_t>(std::lower_bound(first, calls.end(), to_ns, StartsBefore) - first, 0);
}

int64_t BreakerScene::ProbesAllowed(int64_t opened_ns, int64_t until_ns) const {
  return std::max(spec->probes(), 1) * ((until_ns - opened_ns) / open_at_least_ns + 1);
}

int64_t BreakerScene::AliveFrom(int64_t opened_ns) const {
  // What squall itself took away is back when it gives it back.
  if (by_connects) return over_ns - time.healing_took_ns;
  for (const Call& call : calls) {
    if (call.start_ns > opened_ns && call.result == ANSWERED) return std::min(call.start_ns, over_ns);
  }
  return over_ns;
}

BreakerScene::Failures BreakerScene::FailedCalls() const {
  Failures failures;
  for (const Call& call : calls) {
    if (!IsFailedCall(call.result) || call.end_ns < begin_ns || call.start_ns > over_ns) continue;
    ++failures.count;
    if (!failures.first_ns || call.end_ns < *failures.first_ns) failures.first_ns = call.end_ns;
  }
  const Refusals refusals =
      RefusalsWithin(*timeline, spec->edge(), begin_ns, over_ns, source);
  failures.count += refusals.count;
  if (refusals.first_ns && (!failures.first_ns || *refusals.first_ns < *failures.first_ns)) {
    failures.first_ns = refusals.first_ns;
  }
  if (!by_connects) return failures;
  // Those that hang are not seen to fail: the clock starts with the first that is tried.
  const Refusals tried = ConnectsWithin(*timeline, spec->edge(), begin_ns, over_ns, source);
  failures.connects = tried.first_ns.has_value();
  failures.count = std::max(failures.count, tried.count);
  if (tried.first_ns && (!failures.first_ns || *tried.first_ns < *failures.first_ns)) failures.first_ns = tried.first_ns;
  return failures;
}

BreakerScenes ScenesOf(const CircuitBreaker& spec, const Timeline& timeline, const Load& load,
                       const FaultTime& time, const Baseline& baseline, const Stalls& stalls) {
  BreakerScenes scenes;
  scenes.whole = WholeOf(spec, timeline, load, time, baseline, stalls);
  const std::set<uint32_t> sources = SourcesOf(scenes.whole.calls);
  std::vector<BreakerScene> each;
  double unseen = 0;
  int64_t unseen_sources = 0;
  for (const uint32_t source : sources) {
    BreakerScene scene = scenes.whole;
    scene.source = source;
    if (sources.size() > 1) KeepOnly({source}, scene);
    scene.calls_per_request = CallsPerRequest(baseline, scene.calls);
    scene.who = source == 0 ? "processes that are not known" : absl::StrCat("process ", source);
    if (scene.calls_per_request < kLeastShare * scenes.whole.calls_of_all) {
      ++unseen_sources;
      unseen += MeanPerRequest(baseline, scene.calls);
      continue;
    }
    each.push_back(std::move(scene));
  }
  std::stable_sort(each.begin(), each.end(), [](const BreakerScene& a, const BreakerScene& b) {
    return a.calls_per_request > b.calls_per_request;
  });
  const bool told_apart = sources.size() > 1 || (sources.size() == 1 && *sources.begin() != 0);
  if (!told_apart || each.empty() || ComeAndGo(scenes.whole)) {
    scenes.sources = !told_apart ? "not told apart; all calls are taken together"
                                 : absl::StrCat(Counted(static_cast<int64_t>(sources.size()), "caller"),
                                                " that come and go during the run: all calls are taken together");
    scenes.each = {scenes.whole};
    return scenes;
  }
  scenes.sources = Names(each);
  if (unseen_sources > 0) {
    absl::StrAppend(&scenes.sources, ", and ", Grouped(unseen_sources), " with too few calls to be judged");
  }
  if (unseen > kMostUnseen * scenes.whole.calls_of_all) {
    scenes.obstacle = Obstacle{
        absl::StrCat(Counted(unseen_sources, "caller"), " make too few calls each over edge ",
                     spec.edge(), " to be judged, but ", HumanPercent(100 * unseen / scenes.whole.calls_of_all),
                     " of all calls together"),
        "let fewer processes call, or raise `rate`"};
  }
  if (each.size() == 1) each[0].who.clear();
  if (each.size() < sources.size()) {
    std::set<uint32_t> judged;
    for (const BreakerScene& scene : each) judged.insert(*scene.source);
    KeepOnly(judged, scenes.whole);
  }
  scenes.each = std::move(each);
  return scenes;
}

std::optional<Obstacle> CallsGate(const BreakerScene& scene) {
  const std::string& edge = scene.spec->edge();
  if (scene.calls_per_request < 0.01) {
    return Obstacle{
        absl::StrCat("load ", scene.load->name(), " makes no calls over edge ", edge, " at baseline"),
        "check the edge's address, and that these requests need it; a cache hides calls too"};
  }
  if (scene.over_ns <= scene.begin_ns) {
    return Obstacle{"the fault was over at once",
                    "give the fault a longer `for`, or `kill` a `restart_after`"};
  }
  return std::nullopt;
}

std::optional<Obstacle> VisibilityGate(const BreakerScene& scene) {
  const int64_t open_ns = Nanos(scene.spec->open_time());
  const double seconds = static_cast<double>(scene.over_ns - scene.begin_ns) / 1e9;
  const double expected =
      scene.Expected(scene.begin_ns, scene.over_ns) / seconds * static_cast<double>(open_ns) / 1e9;
  if (scene.open_at_least_ns < kShortestOpenNs || expected < kExpectedInOpenTime) {
    return Obstacle{absl::StrCat("an open time of ", HumanNanos(open_ns),
                                 " is too short to be seen: ", static_cast<int64_t>(expected),
                                 " calls over edge ", scene.spec->edge(), " would be missing meanwhile, and ",
                                 static_cast<int64_t>(kExpectedInOpenTime), " in at least 0.5 s are needed"),
                    "raise `rate`, or the breaker's open time"};
  }
  return std::nullopt;
}

}  // namespace squall
