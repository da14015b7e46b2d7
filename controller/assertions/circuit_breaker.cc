#include "controller/assertions/circuit_breaker.h"

#include <algorithm>
#include <cmath>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/text.h"
#include "controller/assertions/breaker_checks.h"
#include "controller/assertions/breaker_probes.h"
#include "controller/assertions/breaker_scene.h"
#include "controller/assertions/breaker_states.h"
#include "controller/assertions/gates.h"
#include "controller/assertions/verdicts.h"
#include "controller/assertions/words.h"

namespace squall {
namespace {

// What was found of one breaker: that of one process, or of all taken together.
struct Breaker {
  BreakerScene scene;
  std::vector<Finding> findings;
  std::optional<int64_t> opened_ns;
  std::optional<int64_t> closed_ns;
  SeenStates seen;
};

// All that is found before it is put into words.
struct Findings {
  std::optional<Obstacle> obstacle;  // nothing can be judged
  BreakerScenes scenes;
  std::vector<Breaker> breakers;
  std::optional<Finding> fails_fast;  // of all together
  OwnStates own;
  Verdict verdict;  // samples and examples
};

std::string CallerOver(const Scenario& scenario, const std::string& name) {
  for (const Edge& edge : scenario.edges()) {
    if (edge.name() == name) return edge.from();
  }
  return "";
}

Breaker CheckOne(const BreakerScene& scene, const OwnStates& own) {
  Breaker breaker;
  breaker.scene = scene;
  if (scene.spec->stays_closed()) {
    breaker.findings.push_back(CheckStaysClosed(scene));
    return breaker;
  }
  if (const auto obstacle = VisibilityGate(scene)) {
    Finding finding{"visible", Verdict::INCONCLUSIVE, obstacle->reason};
    finding.advice = obstacle->advice;
    breaker.findings.push_back(std::move(finding));
    return breaker;
  }
  breaker.findings.push_back(CheckOpens(scene, own.spans, &breaker.opened_ns));
  if (!breaker.opened_ns) return breaker;
  if (scene.peer_dead || scene.by_connects) {
    breaker.findings.push_back(CheckAttemptsWhileDead(scene, *breaker.opened_ns));
  } else if (!scene.calls_hidden) {
    breaker.findings.push_back(CheckProbes(scene, *breaker.opened_ns));
  }
  breaker.findings.push_back(CheckCloses(scene, breaker.opened_ns, &breaker.closed_ns));
  return breaker;
}

// Once all of them have opened: which process answered a request is not known.
std::optional<Finding> CheckAllFailFast(Findings& found) {
  int64_t opened_ns = 0;
  for (const Breaker& breaker : found.breakers) {
    if (!breaker.opened_ns) return std::nullopt;
    opened_ns = std::max(opened_ns, *breaker.opened_ns);
  }
  return CheckFailsFast(found.scenes.whole, opened_ns, found.breakers.size(), &found.verdict);
}

Findings Find(const CircuitBreaker& spec, const Timeline& timeline, const Stalls& stalls) {
  Findings found;
  const Load* load = FindLoad(timeline, spec.load());
  if (load == nullptr) {
    found.obstacle = Obstacle{absl::StrCat("the scenario has no load ", spec.load()), ""};
    return found;
  }
  if ((found.obstacle = SteadyGate(timeline))) return found;
  const FaultTime time = TimeOf(timeline, spec.fault());
  if ((found.obstacle = FaultGate(timeline, time, /*must_be_over=*/true))) return found;
  const Baseline baseline = BaselineOf(timeline, *load);
  if ((found.obstacle = BaselineGate(*load, baseline, stalls))) return found;
  found.scenes = ScenesOf(spec, timeline, *load, time, baseline, stalls);
  if ((found.obstacle = CallsGate(found.scenes.whole))) return found;
  const BreakerScene& whole = found.scenes.whole;
  if ((found.obstacle = GeneratorGate(timeline, *load, baseline.begin_ns, whole.over_ns, stalls))) return found;

  const std::string caller = CallerOver(timeline.header.scenario(), spec.edge());
  found.own = StatesByMetric(spec, timeline, caller, whole.begin_ns, std::max(whole.complete_ns, whole.over_ns));
  for (const BreakerScene& scene : found.scenes.each) {
    found.breakers.push_back(CheckOne(scene, found.own));
    Breaker& breaker = found.breakers.back();
    breaker.seen = StatesByCalls(breaker.scene, breaker.opened_ns, breaker.closed_ns);
  }
  found.fails_fast = CheckAllFailFast(found);
  return found;
}

void AddFigures(Verdict& verdict, const Findings& found) {
  const BreakerScene& whole = found.scenes.whole;
  AddDetail(verdict, "callers", found.scenes.sources);
  for (const Breaker& breaker : found.breakers) {
    AddDetail(verdict, absl::StrCat(breaker.scene.Lead(), "calls per request"),
              absl::StrCat(std::round(breaker.scene.calls_per_request * 100) / 100, " at baseline"));
  }
  if (whole.spec->stays_closed()) return;
  AddDetail(verdict, "open time", absl::StrCat(HumanNanos(whole.open_at_least_ns), " at least between probes"));
  AddDetail(verdict, "probes at a time",
            whole.spec->probes() == 0 ? "no limit" : absl::StrCat("at most ", whole.spec->probes()));
}

// The states as the calls show them and as the metric tells them, side by side.
void AddStates(Verdict& verdict, const Findings& found) {
  std::string disagreement;
  bool agrees = false;
  for (const Breaker& breaker : found.breakers) {
    AddDetail(verdict, absl::StrCat(breaker.scene.Lead(), "state by calls"), StatesInWords(breaker.seen.spans));
    if (found.own.spans.empty()) continue;
    const std::string how = Disagreement(breaker.seen.spans, found.own.spans);
    agrees |= how.empty();
    if (disagreement.empty()) disagreement = how;
  }
  const StateMetric& metric = found.scenes.whole.spec->state();
  if (!found.scenes.whole.spec->has_state()) return;
  std::string own = found.own.problem.empty() ? StatesInWords(found.own.spans) : found.own.problem;
  if (found.own.counted) {
    absl::StrAppend(&own, "; ", metric.opened().empty() ? metric.metric() : metric.opened(), " grew by ",
                    Grouped(std::llround(found.own.openings)));
  }
  AddDetail(verdict, "state by metric", std::move(own));
  const bool told_open = std::any_of(found.own.spans.begin(), found.own.spans.end(),
                                     [](const StateSpan& span) { return span.state == "open"; });
  if (found.own.counted && found.own.openings > 0 && !found.own.spans.empty() && !told_open) {
    AddDetail(verdict, "state too short to read", "the counter of openings grew, and no page that was read said open");
  }
  // A page is that of one process, and which one is not known.
  if (!agrees && !disagreement.empty()) AddDetail(verdict, "state disagrees", disagreement);
}

struct Deciding {
  const Finding* finding = nullptr;
  std::string lead;
};

Deciding First(const Findings& found, Verdict::Result result) {
  for (const Breaker& breaker : found.breakers) {
    for (const Finding& finding : breaker.findings) {
      if (finding.result == result) return {&finding, breaker.scene.Lead()};
    }
  }
  if (found.fails_fast && found.fails_fast->result == result) return {&*found.fails_fast, ""};
  return {};
}

// Calls may be missing because clients hung up before they were made, and not because a breaker held them back.
std::optional<Obstacle> HungUpGate(const BreakerScene& scene, const Finding& finding) {
  const bool stays = finding.name == "stays closed";
  if (!stays && finding.name != "closes") return std::nullopt;
  const std::string fault = HungUpBy(*scene.timeline, scene.load->name(), stays ? scene.begin_ns : scene.over_ns,
                                     stays ? scene.over_ns : scene.complete_ns);
  if (fault.empty()) return std::nullopt;
  return Obstacle{absl::StrCat("calls may be missing because fault ", fault, " had clients hang up: ", finding.text),
                  "raise its `patience`, so that the calls are made before, or let the faults act one after another"};
}

void SetFigures(Verdict& verdict, const Finding& finding) {
  verdict.set_measured(finding.measured);
  verdict.set_limit(finding.limit);
  verdict.set_margin(finding.margin);
}

// What holds, in the words of the one that took longest.
void SetPassed(Verdict& verdict, const Findings& found) {
  const Breaker* slowest = &found.breakers.front();
  for (const Breaker& breaker : found.breakers) {
    if (breaker.findings.back().took_ns > slowest->findings.back().took_ns) slowest = &breaker;
  }
  std::vector<std::string> texts;
  for (const Finding& finding : slowest->findings) texts.push_back(finding.text);
  if (found.fails_fast) texts.insert(texts.begin() + 1, found.fails_fast->text);
  const size_t count = found.breakers.size();
  verdict.set_reason(absl::StrCat(
      count == 1 ? "" : absl::StrCat("each of ", count, " processes holds; the slowest, ", slowest->scene.Lead()),
      absl::StrJoin(texts, "; ")));
  SetFigures(verdict, slowest->findings.back());
}

// A breaker is told by when its calls come. Where it, or what it calls, had no core for much of the time, that says nothing of it.
std::optional<Obstacle> StarvedGate(const BreakerScene& scene, const Finding& failed) {
  constexpr int64_t kMomentNs = 100'000'000;
  const int64_t until_ns = std::max(scene.over_ns, failed.first_broken_ns);
  return StallGate(scene.stalls->Within(scene.begin_ns, until_ns) / kMomentNs, (until_ns - scene.begin_ns) / kMomentNs, "moment",
                   *scene.stalls);
}

Judgement Conclude(const Findings& found, bool running) {
  Verdict verdict = found.verdict;
  AddFigures(verdict, found);
  for (const Breaker& breaker : found.breakers) {
    for (const Finding& finding : breaker.findings) {
      AddDetail(verdict, absl::StrCat(breaker.scene.Lead(), finding.name), finding.text);
    }
  }
  if (found.fails_fast) AddDetail(verdict, found.fails_fast->name, found.fails_fast->text);
  AddStates(verdict, found);
  const bool fault_recorded = found.scenes.whole.complete_ns > found.scenes.whole.over_ns;
  if (const Deciding failed = First(found, Verdict::FAIL); failed.finding != nullptr) {
    auto obstacle = HungUpGate(found.scenes.whole, *failed.finding);
    if (!obstacle) obstacle = StarvedGate(found.scenes.whole, *failed.finding);
    if (obstacle) {
      Judgement judgement = Obstructed({absl::StrCat(failed.lead, obstacle->reason), obstacle->advice}, std::move(verdict));
      judgement.final = fault_recorded;
      return judgement;
    }
    verdict.set_result(Verdict::FAIL);
    verdict.set_reason(absl::StrCat(failed.lead, failed.finding->text));
    verdict.set_first_broken_ns(failed.finding->first_broken_ns);
    SetFigures(verdict, *failed.finding);
    return {std::move(verdict), fault_recorded};
  }
  if (found.scenes.obstacle) return Obstructed(*found.scenes.obstacle, std::move(verdict));
  if (const Deciding open = First(found, Verdict::INCONCLUSIVE); open.finding != nullptr) {
    Judgement judgement =
        Obstructed({absl::StrCat(open.lead, open.finding->text), open.finding->advice}, std::move(verdict));
    bool pending = false;
    for (const Breaker& breaker : found.breakers) {
      for (const Finding& finding : breaker.findings) pending |= finding.pending;
    }
    judgement.final = fault_recorded && !(running && pending);
    return judgement;
  }
  verdict.set_result(Verdict::PASS);
  SetPassed(verdict, found);
  return {std::move(verdict), fault_recorded};
}

}  // namespace

Judgement JudgeCircuitBreaker(const CircuitBreaker& spec, const Timeline& timeline, const Stalls& stalls) {
  const Findings found = Find(spec, timeline, stalls);
  return found.obstacle ? Obstructed(*found.obstacle) : Conclude(found, !timeline.footer.has_value());
}

BreakerPicture PictureOf(const CircuitBreaker& spec, const Timeline& timeline) {
  const Stalls stalls(timeline.stalls);
  Findings found = Find(spec, timeline, stalls);
  BreakerPicture picture;
  for (Breaker& breaker : found.breakers) {
    const BreakerScene& scene = breaker.scene;
    const std::string who = !scene.who.empty() ? scene.who
                            : scene.source     ? absl::StrCat("process ", *scene.source)
                                               : "all callers";
    const bool holds = std::none_of(breaker.findings.begin(), breaker.findings.end(),
                                    [](const Finding& finding) { return finding.result == Verdict::FAIL; });
    picture.instances.push_back({who, scene.source, scene.calls_per_request, holds, std::move(breaker.seen)});
  }
  std::stable_partition(picture.instances.begin(), picture.instances.end(),
                        [](const BreakerPicture::Instance& instance) { return !instance.holds; });
  picture.own = std::move(found.own);
  return picture;
}

}  // namespace squall
