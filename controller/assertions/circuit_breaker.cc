#include "controller/assertions/circuit_breaker.h"

#include <algorithm>
#include <cmath>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/text.h"
#include "controller/assertions/breaker_checks.h"
#include "controller/assertions/breaker_scene.h"
#include "controller/assertions/gates.h"
#include "controller/assertions/verdicts.h"
#include "controller/assertions/words.h"

namespace squall {
namespace {

void AddFigures(Verdict& verdict, const BreakerScene& scene) {
  AddDetail(verdict, "calls per request",
            absl::StrCat(std::round(scene.calls_per_request * 100) / 100, " at baseline"));
  AddDetail(verdict, "open time",
            absl::StrCat(HumanNanos(scene.open_at_least_ns), " at least between probes"));
  AddDetail(verdict, "probes at a time", absl::StrCat("at most ", scene.spec->probes()));
}

void SetFigures(Verdict& verdict, const Finding& finding) {
  verdict.set_measured(finding.measured);
  verdict.set_limit(finding.limit);
  verdict.set_margin(finding.margin);
}

// The first finding of this result.
const Finding* First(const std::vector<Finding>& findings, Verdict::Result result) {
  for (const Finding& finding : findings) {
    if (finding.result == result) return &finding;
  }
  return nullptr;
}

Judgement Conclude(const std::vector<Finding>& findings, const BreakerScene& scene, Verdict verdict) {
  const bool fault_recorded = scene.complete_ns > scene.over_ns;
  for (const Finding& finding : findings) AddDetail(verdict, finding.name, finding.text);
  if (const Finding* failed = First(findings, Verdict::FAIL)) {
    verdict.set_result(Verdict::FAIL);
    verdict.set_reason(failed->text);
    verdict.set_first_broken_ns(failed->first_broken_ns);
    SetFigures(verdict, *failed);
    return {verdict, fault_recorded};
  }
  if (const Finding* open = First(findings, Verdict::INCONCLUSIVE)) {
    Judgement judgement = Obstructed({open->text, open->advice}, verdict);
    judgement.final = fault_recorded && !open->pending;
    return judgement;
  }
  verdict.set_result(Verdict::PASS);
  std::vector<std::string> texts;
  for (const Finding& finding : findings) texts.push_back(finding.text);
  verdict.set_reason(absl::StrJoin(texts, "; "));
  SetFigures(verdict, findings.back());
  return {verdict, fault_recorded};
}

}  // namespace

Judgement JudgeCircuitBreaker(const CircuitBreaker& spec, const Timeline& timeline) {
  const Load* load = FindLoad(timeline, spec.load());
  if (load == nullptr) return Obstructed({absl::StrCat("the scenario has no load ", spec.load()), ""});
  if (auto obstacle = SteadyGate(timeline)) return Obstructed(*obstacle);
  const FaultTime time = TimeOf(timeline, spec.fault());
  if (auto obstacle = FaultGate(timeline, time, /*must_be_over=*/true)) return Obstructed(*obstacle);

  const Stalls stalls(timeline.stalls);
  const Baseline baseline = BaselineOf(timeline, *load, stalls);
  if (auto obstacle = BaselineGate(*load, baseline)) return Obstructed(*obstacle);
  const BreakerScene scene = SceneOf(spec, timeline, *load, time, baseline, stalls);
  if (auto obstacle = VisibilityGate(scene)) return Obstructed(*obstacle);
  if (auto obstacle = GeneratorGate(timeline, *load, baseline.begin_ns, scene.over_ns, stalls)) {
    return Obstructed(*obstacle);
  }

  Verdict verdict;
  AddFigures(verdict, scene);
  std::optional<int64_t> opened_ns;
  std::vector<Finding> findings = {CheckOpens(scene, &opened_ns)};
  if (opened_ns) {
    findings.push_back(CheckFailsFast(scene, *opened_ns, &verdict));
    findings.push_back(scene.peer_dead ? CheckAttemptsWhileDead(scene, *opened_ns)
                                       : CheckProbes(scene, *opened_ns));
    findings.push_back(CheckCloses(scene));
  }
  return Conclude(findings, scene, verdict);
}

}  // namespace squall
