#include "controller/assertions/retry_scene.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "controller/assertions/attempts.h"
#include "controller/assertions/windows.h"
#include "controller/network_faults.h"

namespace squall {
namespace {

constexpr double kZ99 = 2.33;  // one-sided, of a Poisson count
constexpr int64_t kLeastWindowNs = 5'000'000'000;
constexpr double kUsualInWindow = 20;
constexpr double kQuiet = 0.05;  // of the usual calls
// A request that was sent later after it was due is not counted: the generator was asleep.
constexpr int64_t kLatestNs = 1'000'000'000;

double CountIn(const std::vector<int64_t>& instants_ns, int64_t from_ns, int64_t to_ns) {
  const auto first = std::lower_bound(instants_ns.begin(), instants_ns.end(), from_ns);
  return static_cast<double>(std::lower_bound(first, instants_ns.end(), to_ns) - first);
}

const std::vector<EdgeStats>& StatsOf(const RetryScene& scene) {
  static const std::vector<EdgeStats> kNone;
  const auto found = scene.timeline->edge_stats.find(scene.spec->edge());
  return found == scene.timeline->edge_stats.end() ? kNone : found->second;
}

// How much a counter of the edge grew in the span, but for moments at which the machine stood still.
template <typename Counter>
double GrownBy(const RetryScene& scene, int64_t from_ns, int64_t to_ns, Counter counter) {
  const std::vector<EdgeStats>& stats = StatsOf(scene);
  double grown = 0;
  for (size_t i = 1; i < stats.size(); ++i) {
    const int64_t begin_ns = std::max(stats[i - 1].at_ns(), from_ns);
    const int64_t end_ns = std::min(stats[i].at_ns(), to_ns);
    if (begin_ns >= end_ns) continue;
    const double share = static_cast<double>(end_ns - begin_ns) / static_cast<double>(stats[i].at_ns() - stats[i - 1].at_ns());
    grown += share * static_cast<double>(std::max<int64_t>(counter(stats[i]) - counter(stats[i - 1]), 0));
  }
  if (to_ns <= from_ns) return 0;
  return grown * (1 - static_cast<double>(scene.stalls->Within(from_ns, to_ns)) / static_cast<double>(to_ns - from_ns));
}

double MedianOfBaseline(const RetryScene& scene, bool connects) {
  std::vector<double> shares;
  for (const Window& window : scene.baseline.windows) {
    const int64_t end_ns = window.begin_ns + scene.baseline.window_ns;
    const double requests = scene.Requests(window.begin_ns, end_ns);
    if (window.left_out || requests == 0) continue;
    const double count = connects ? GrownBy(scene, window.begin_ns, end_ns, [](const EdgeStats& stats) { return stats.attempts(); })
                                  : scene.Calls(window.begin_ns, end_ns);
    shares.push_back(count / requests);
  }
  return shares.empty() ? 0 : Median(shares);
}

Amplified Observe(const RetryScene& scene, int64_t begin_ns, int64_t end_ns, bool tried) {
  Amplified span{begin_ns, end_ns};
  span.tried = tried ? scene.Tried(begin_ns, end_ns) : scene.Calls(begin_ns, end_ns);
  span.usual = tried ? scene.Usual(begin_ns, end_ns) : scene.calls_per_request * scene.Requests(begin_ns, end_ns);
  span.left_out = 2 * scene.stalls->Within(begin_ns, end_ns) > end_ns - begin_ns;
  span.quiet = span.usual < 1 || span.tried <= kQuiet * span.usual;
  return span;
}

}  // namespace

double RetryScene::Requests(int64_t from_ns, int64_t to_ns) const {
  int64_t count = 0;
  for (const Request& request : IntendedWithin(requests, from_ns - kLatestNs, to_ns)) {
    count += request.sent_ns >= from_ns && request.sent_ns < to_ns && !stalls->Touch(request.sent_ns, request.sent_ns);
  }
  return static_cast<double>(count);
}

double RetryScene::Calls(int64_t from_ns, int64_t to_ns) const {
  const auto before = [](const Call* call, int64_t ns) { return call->start_ns < ns; };
  const auto first = std::lower_bound(calls.begin(), calls.end(), from_ns, before);
  return static_cast<double>(std::lower_bound(first, calls.end(), to_ns, before) - first);
}

double RetryScene::Tried(int64_t from_ns, int64_t to_ns) const {
  // Some of those counted are each seen too.
  const double refused = std::max(CountIn(refused_ns, from_ns, to_ns),
                                  GrownBy(*this, from_ns, to_ns, [](const EdgeStats& stats) { return stats.refused(); }));
  const double seen = Calls(from_ns, to_ns) + refused;
  // A call may need a connect and may not.
  return by_connects ? std::max(seen, GrownBy(*this, from_ns, to_ns, [](const EdgeStats& stats) { return stats.attempts(); }))
                     : seen;
}

double RetryScene::Usual(int64_t from_ns, int64_t to_ns) const {
  return std::max(calls_per_request, connects_per_request) * Requests(from_ns, to_ns);
}

int64_t RetryScene::Failed() const {
  int64_t failed = std::count_if(calls.begin(), calls.end(), [&](const Call* call) {
    return IsFailedCall(call->result) && call->end_ns >= begin_ns && call->start_ns <= over_ns;
  });
  failed += RefusalsWithin(*timeline, spec->edge(), begin_ns, over_ns).count;
  if (by_connects) failed = std::max(failed, ConnectsWithin(*timeline, spec->edge(), begin_ns, over_ns).count);
  return failed;
}

void SetRetryScene(const RetryBudget& spec, const Timeline& timeline, const Stalls& stalls, RetryScene& scene) {
  scene.spec = &spec;
  scene.timeline = &timeline;
  scene.stalls = &stalls;
  if (const auto found = timeline.calls.find(spec.edge()); found != timeline.calls.end()) {
    scene.calls.reserve(found->second.size());
    for (const Call& call : found->second) {
      if (stalls.Touch(call.start_ns, call.start_ns)) continue;
      if (call.result == CONNECT_REFUSED) scene.refused_ns.push_back(call.start_ns);
      if (!IsCall(call.result)) continue;
      scene.calls.push_back(&call);
    }
  }
  const auto any = [&](auto is) {
    return std::any_of(scene.time.parts.begin(), scene.time.parts.end(),
                       [&](const FaultTime::Part& part) { return is(*part.fault); });
  };
  // Without an address nothing is connected to, and how many names are asked for one call is the resolver's affair.
  const bool vanish = any([](const Fault& fault) { return HidesCalls(fault); });
  scene.by_connects = vanish && !any([](const Fault& fault) { return fault.has_dns(); }) && ConnectsCounted(timeline, spec.edge());
  scene.hidden = vanish && !scene.by_connects;
  scene.calls_per_request = MedianOfBaseline(scene, /*connects=*/false);
  if (scene.by_connects) scene.connects_per_request = MedianOfBaseline(scene, /*connects=*/true);
}

double Amplified::Noise() const { return usual > 0 ? kZ99 * std::sqrt(tried) / usual : 0; }

int64_t RetryWindowNs(const RetryScene& scene, int64_t begin_ns, int64_t end_ns) {
  const double usual = scene.Usual(begin_ns, end_ns);
  const double needed_ns = static_cast<double>(end_ns - begin_ns) * kUsualInWindow / std::max(usual, 1e-3);
  return std::max(kLeastWindowNs, static_cast<int64_t>(std::min(needed_ns, 1e15)));
}

std::vector<Amplified> AmplifiedIn(const RetryScene& scene, int64_t begin_ns, int64_t end_ns, bool tried) {
  std::vector<Amplified> windows;
  const int64_t length_ns = RetryWindowNs(scene, begin_ns, end_ns);
  for (int64_t at_ns = begin_ns; at_ns + length_ns <= end_ns; at_ns += length_ns) {
    windows.push_back(Observe(scene, at_ns, at_ns + length_ns, tried));
  }
  if (!windows.empty() && windows.back().end_ns < end_ns) windows.push_back(Observe(scene, end_ns - length_ns, end_ns, tried));
  return windows;
}

}  // namespace squall
