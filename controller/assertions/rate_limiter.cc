#include "controller/assertions/rate_limiter.h"

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/text.h"
#include "controller/assertions/baseline.h"
#include "controller/assertions/durations.h"
#include "controller/assertions/gates.h"
#include "controller/assertions/limiter_checks.h"
#include "controller/assertions/limiter_scene.h"
#include "controller/assertions/verdicts.h"
#include "controller/assertions/windows.h"
#include "controller/assertions/words.h"

namespace squall {
namespace {

std::string Promised(const RateLimiter& spec) {
  const std::string each = spec.instances() > 1 ? absl::StrCat(", by each of ", spec.instances(), " instances") : "";
  const std::string rate_and_burst = absl::StrCat(HumanRate(spec.rate()), ", ", spec.burst());
  switch (spec.model()) {
    case RateLimiter::MODEL_FIXED_WINDOW:
      return absl::StrCat(spec.burst(), " in each ", HumanNanos(Nanos(spec.period())), " on the clock", each);
    case RateLimiter::MODEL_SLIDING_LOG:
      return absl::StrCat(spec.burst(), " in any ", HumanNanos(Nanos(spec.period())), each);
    case RateLimiter::MODEL_NGINX:
      return absl::StrCat(rate_and_burst, " + 1 at once (nginx)", each);
    default:
      return absl::StrCat(rate_and_burst, " at once (token bucket)", each);
  }
}

// The load kept its pace while it offered a steady rate, and the machine ran. How fast a burst was is judged with the burst.
std::optional<Obstacle> PaceGate(const LimiterScene& scene) {
  int64_t all = 0, stalled = 0;
  for (const OfferedSpan& span : scene.spans) {
    const auto [begin_ns, end_ns] = scene.Core(span);
    if (span.per_second <= 0 || end_ns - begin_ns < 1'000'000'000) continue;
    if (auto obstacle = GeneratorGate(scene.timeline, scene.load, begin_ns, end_ns, scene.stalls)) return obstacle;
    for (const Request* request : scene.Offered(begin_ns, end_ns)) {
      ++all;
      stalled += scene.stalls.Touch(request->sent_ns, request->end_ns);
    }
  }
  return StallGate(stalled, all, "request", scene.stalls);
}

// In the order in which one explains the other.
std::vector<LimiterCheck> CheckAll(const LimiterScene& scene) {
  std::vector<LimiterCheck> checks = {CheckBound(scene), CheckRejects(scene), CheckBelow(scene), CheckAbove(scene),
                                      CheckBursts(scene)};
  checks.push_back(CheckSpeed(scene));
  if (scene.spec.model() == RateLimiter::MODEL_NGINX) checks.push_back(CheckQueue(scene));
  if (scene.spec.retry_after()) checks.push_back(CheckRetryAfter(scene));
  for (const std::string& other : scene.spec.others()) checks.push_back(CheckOther(scene, other));
  return checks;
}

// What must be known for a PASS. Where the load has a rate or steps of its own, that is judged which it shows.
bool MustBeKnown(const LimiterCheck& check, const LimiterScene& scene) {
  return HasPlannedSteps(scene.load) || !check.only_if_offered;
}

void SetFigures(Verdict& verdict, const LimiterCheck& check) {
  verdict.set_measured(check.measured);
  verdict.set_limit(check.limit);
  verdict.set_margin(check.margin);
}

void Fail(Verdict& verdict, const LimiterCheck& check, const LimiterScene& scene) {
  verdict.set_result(Verdict::FAIL);
  verdict.set_reason(check.reason);
  SetFigures(verdict, check);
  verdict.set_first_broken_ns(check.first_broken_ns);
  for (const Request* request : check.examples) AddExample(verdict, scene.timeline, scene.load, *request);
}

// It was never asked for more than it may give.
Obstacle NeverReached(const LimiterScene& scene) {
  return {absl::StrCat("the limit was never reached: none of ", Counted(static_cast<int64_t>(scene.requests.size()), "request"),
                       " of load ", scene.load.name(), " was rejected, and none was too much for ", Promised(scene.spec)),
          "leave out the load's `rate` and `steps`, so that the plan offers what is needed, and check that these requests "
          "are limited"};
}

}  // namespace

Judgement JudgeRateLimiter(const RateLimiter& spec, const Timeline& timeline, const Stalls& stalls) {
  const Load* load = FindLoad(timeline, spec.load());
  if (load == nullptr) return Obstructed({absl::StrCat("the scenario has no load ", spec.load()), ""});
  if (auto obstacle = SteadyGate(timeline)) return Obstructed(*obstacle);
  const LimiterScene scene(spec, timeline, *load, stalls);
  if (scene.requests.empty()) {
    return Obstructed({absl::StrCat("no request of load ", load->name(), " was sent"), "check the load's address"});
  }
  const bool complete = (timeline.footer && timeline.footer->ending() == Footer::COMPLETED) ||
                        CompleteUntil(timeline, *load) > PlannedStepsEndNs(timeline, *load);
  const auto rejected = std::count_if(scene.requests.begin(), scene.requests.end(),
                                      [](const Request& request) { return request.outcome == REJECTED; });
  const auto admitted = std::count_if(scene.requests.begin(), scene.requests.end(), IsAdmitted);
  Verdict verdict;
  verdict.set_samples(rejected + admitted);
  AddDetail(verdict, "promised", Promised(spec));
  if (auto obstacle = PaceGate(scene)) return Obstructed(*obstacle, verdict);

  const std::vector<LimiterCheck> checks = CheckAll(scene);
  for (const LimiterCheck& check : checks) AddDetail(verdict, check.name, check.figures);
  SetFigures(verdict, checks.front());
  for (const LimiterCheck& check : checks) {
    if (check.state != LimiterCheck::kBroken) continue;
    Fail(verdict, check, scene);
    return {verdict, complete};
  }
  if (rejected == 0) {
    Judgement judgement = Obstructed(NeverReached(scene), verdict);
    judgement.final = complete;
    return judgement;
  }
  for (const LimiterCheck& check : checks) {
    if (check.state != LimiterCheck::kOpen || !MustBeKnown(check, scene)) continue;
    Judgement judgement = Obstructed({check.reason, check.advice}, verdict);
    judgement.final = complete;
    return judgement;
  }
  verdict.set_result(Verdict::PASS);
  verdict.set_reason(absl::StrCat("admits what it promises (", Promised(spec), "): at most ", checks.front().figures, "; ",
                                  Counted(rejected, "request"), " rejected"));
  return {verdict, complete};
}

}  // namespace squall
