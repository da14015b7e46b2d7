#include "controller/assertions/breaker_scene.h"

#include <algorithm>
#include <limits>

#include "absl/strings/str_cat.h"
#include "base/text.h"
#include "controller/assertions/attempts.h"
#include "controller/assertions/durations.h"
#include "controller/assertions/windows.h"

namespace squall {
namespace {

// How late a record of a run that is still going on may reach the timeline.
constexpr int64_t kDeliveryNs = 2'000'000'000;
// Below this a quiet span could be chance.
constexpr double kExpectedInOpenTime = 25;
constexpr int64_t kShortestOpenNs = 400'000'000;

bool StartsBefore(const Call& call, int64_t ns) { return call.start_ns < ns; }

double CallsPerRequest(const Baseline& baseline, const std::vector<Call>& calls) {
  std::vector<double> shares;
  for (const Window& window : baseline.windows) {
    if (window.stalled || window.empty()) continue;
    const auto first = std::lower_bound(calls.begin(), calls.end(), window.begin_ns, StartsBefore);
    const auto last =
        std::lower_bound(first, calls.end(), window.begin_ns + baseline.window_ns, StartsBefore);
    shares.push_back(static_cast<double>(last - first) / static_cast<double>(window.requests));
  }
  return shares.empty() ? 0 : Median(shares);
}

int64_t DefaultFailFast(absl::Span<const Request> requests) {
  std::vector<int64_t> answers;
  for (const Request& request : requests) {
    if (Waited(request.outcome)) answers.push_back(request.AnswerNs());
  }
  const int64_t p99_ns = answers.empty() ? 0 : Percentile(answers, 99);
  return std::max<int64_t>(50'000'000, p99_ns + 20'000'000);
}

}  // namespace

double BreakerScene::Expected(int64_t from_ns, int64_t to_ns) const {
  const auto requests = timeline->requests.find(load->name());
  if (requests == timeline->requests.end()) return 0;
  return calls_per_request * static_cast<double>(IntendedWithin(requests->second, from_ns, to_ns).size());
}

int64_t BreakerScene::CallsBetween(int64_t from_ns, int64_t to_ns) const {
  const auto first = std::lower_bound(calls.begin(), calls.end(), from_ns + 1, StartsBefore);
  return std::max<int64_t>(std::lower_bound(first, calls.end(), to_ns, StartsBefore) - first, 0);
}

BreakerScene SceneOf(const CircuitBreaker& spec, const Timeline& timeline, const Load& load,
                     const FaultTime& time, const Baseline& baseline, const Stalls& stalls) {
  BreakerScene scene;
  scene.spec = &spec;
  scene.timeline = &timeline;
  scene.load = &load;
  scene.stalls = &stalls;
  scene.time = time;
  scene.baseline = baseline;
  if (const auto calls = timeline.calls.find(spec.edge()); calls != timeline.calls.end()) {
    std::copy_if(calls->second.begin(), calls->second.end(), std::back_inserter(scene.calls),
                 [](const Call& call) { return IsCall(call.result); });
  }
  scene.calls_per_request = CallsPerRequest(baseline, scene.calls);
  scene.begin_ns = *time.injected_ns;
  scene.over_ns = *time.over_ns;
  scene.complete_ns = CompleteUntil(timeline, load);
  if (!timeline.footer) scene.complete_ns = std::min(scene.complete_ns, timeline.last_ns - kDeliveryNs);
  scene.peer_dead = time.AnyKill();

  const int64_t open_ns = Nanos(spec.open_time());
  scene.open_at_least_ns = open_ns - std::max<int64_t>(open_ns / 20, 100'000'000);
  scene.fail_fast_ns = spec.has_fails_fast_within()
                           ? Nanos(spec.fails_fast_within())
                           : DefaultFailFast(BaselineRequests(timeline, load, baseline));
  scene.close_within_ns =
      spec.has_closes_within() ? Nanos(spec.closes_within()) : open_ns * 3 / 2 + 5'000'000'000;
  return scene;
}

std::optional<Obstacle> VisibilityGate(const BreakerScene& scene) {
  const std::string& edge = scene.spec->edge();
  for (const FaultTime::Part& part : scene.time.parts) {
    if (!part.fault->has_dns()) continue;
    return Obstacle{absl::StrCat("under the dns fault ", part.fault->name(), " calls over edge ", edge,
                                 " vanish whether or not a breaker opens: a service that cannot find its peer "
                                 "does not call it"),
                    "judge the breaker under a `latency` or a `kill`: name that one as its `fault`"};
  }
  if (scene.calls_per_request < 0.01) {
    return Obstacle{
        absl::StrCat("load ", scene.load->name(), " makes no calls over edge ", edge, " at baseline"),
        "check the edge's address, and that these requests need it; a cache hides calls too"};
  }
  const int64_t open_ns = Nanos(scene.spec->open_time());
  const double seconds = static_cast<double>(scene.over_ns - scene.begin_ns) / 1e9;
  if (seconds <= 0) {
    return Obstacle{"the fault was over at once",
                    "give the fault a longer `for`, or `kill` a `restart_after`"};
  }
  const double expected =
      scene.Expected(scene.begin_ns, scene.over_ns) / seconds * static_cast<double>(open_ns) / 1e9;
  if (scene.open_at_least_ns < kShortestOpenNs || expected < kExpectedInOpenTime) {
    return Obstacle{absl::StrCat("an open time of ", HumanNanos(open_ns),
                                 " is too short to be seen: ", static_cast<int64_t>(expected),
                                 " calls over edge ", edge, " would be missing meanwhile, and ",
                                 static_cast<int64_t>(kExpectedInOpenTime), " in at least 0.5 s are needed"),
                    "raise `rate`, or the breaker's open time"};
  }
  return std::nullopt;
}

}  // namespace squall
