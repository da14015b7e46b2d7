#include "controller/assertions/retry_budget.h"

#include <cmath>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/text.h"
#include "controller/assertions/promise.h"
#include "controller/assertions/retry_checks.h"
#include "controller/assertions/retry_scene.h"
#include "controller/assertions/verdicts.h"
#include "controller/assertions/words.h"

namespace squall {
namespace {

// With fewer, what is usual is not known well enough to hold anything against it.
constexpr double kCallsToTell = 100;

std::optional<Obstacle> CallsGate(const RetryScene& scene, const std::vector<Amplified>& windows) {
  const std::string& edge = scene.spec->edge();
  if (scene.calls_per_request <= 0) {
    return Obstacle{absl::StrCat("load ", scene.load->name(), " makes no calls over edge ", edge, " at baseline"),
                    "check the edge's address, and that these requests need it; a cache hides calls too"};
  }
  const double calls = scene.Calls(scene.baseline.begin_ns, scene.baseline.end_ns);
  if (calls < kCallsToTell) {
    return Obstacle{absl::StrCat("load ", scene.load->name(), " makes only ", Counted(std::llround(calls), "call"), " over edge ",
                                 edge, " at baseline; ", kCallsToTell, " are needed"),
                    "raise `rate`"};
  }
  if (scene.hidden) {
    return Obstacle{
        absl::StrCat("under fault ", scene.time.Names(), " calls over edge ", edge,
                     " vanish before they are seen, and nothing counts the attempts"),
        "leave out `relay_at` on the edge so that connects are counted, or let calls fail by `http`, `latency` or `kill` instead"};
  }
  if (!windows.empty()) return std::nullopt;
  return Obstacle{
      absl::StrCat("fault ", scene.time.Names(), " acted for ", Tenths(scene.over_ns - scene.begin_ns),
                   ", and calls are counted over ", HumanNanos(RetryWindowNs(scene, scene.begin_ns, scene.over_ns)), " at least"),
      "raise the fault's `for`, or `rate`"};
}

}  // namespace

Judgement JudgeRetryBudget(const RetryBudget& spec, const Timeline& timeline, const Stalls& stalls) {
  RetryScene scene;
  if (auto obstacle = SetScene(spec.load(), spec.fault(), timeline, stalls, scene)) return Obstructed(*obstacle);
  SetRetryScene(spec, timeline, stalls, scene);
  const std::vector<Amplified> windows = AmplifiedIn(scene, scene.begin_ns, scene.over_ns, /*tried=*/true);
  const bool complete = scene.complete_ns > scene.over_ns;
  if (auto obstacle = CallsGate(scene, windows)) return {Obstructed(*obstacle).verdict, complete};

  Verdict verdict;
  verdict.set_samples(std::llround(scene.Tried(scene.begin_ns, scene.over_ns)));
  AddDetail(verdict, "calls per request", absl::StrCat(std::round(scene.calls_per_request * 100) / 100, " at baseline"));
  AddDetail(verdict, "failed", absl::StrCat(Counted(scene.Failed(), scene.by_connects ? "attempt" : "call"), " during the fault"));
  bool told = true;
  std::vector<Promise> promises = {CheckAmplification(scene, windows)};
  if (spec.attempts() > 0 || spec.has_backoff()) {
    const std::vector<const Call*> calls = CallsOfFailing(scene);
    if (spec.attempts() > 0) promises.push_back(CheckAttempts(scene, calls));
    if (spec.has_backoff()) promises.push_back(CheckBackoff(scene, calls));
  }
  promises.push_back(CheckSynchrony(scene, windows));
  promises.push_back(CheckSurge(scene, &told));
  verdict = Conclude(promises, std::move(verdict), timeline);
  return {verdict, complete && (told || verdict.result() == Verdict::FAIL)};
}

}  // namespace squall
