#include "controller/assertions/metric_bound.h"

#include <algorithm>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/text.h"
#include "controller/assertions/durations.h"
#include "controller/assertions/during.h"
#include "controller/assertions/gates.h"
#include "controller/assertions/metric_findings.h"
#include "controller/assertions/metric_values.h"
#include "controller/assertions/verdicts.h"
#include "controller/assertions/words.h"

namespace squall {
namespace {

// Of the part of the run, so much must be known, and for at least so many readings.
constexpr double kLeastReadable = 0.9;
constexpr int64_t kFewestReadings = 3;
constexpr size_t kMostShown = 10;

Obstacle NotTold(const MetricScene& scene, const std::string& during) {
  const MetricStory& story = scene.story;
  if (story.readable.empty()) {
    return {absl::StrCat(story.told_by, " was never read"), scene.spec.monitor().empty()
                                                                ? "check the URL of `metrics`, and that the service answers there"
                                                                : "check the monitor's URL, and that the query is one"};
  }
  return {absl::StrCat(story.told_by, " told nothing of ", story.asked, " ", during,
                       story.others.empty() ? "" : absl::StrCat("; it has ", absl::StrJoin(story.others, ", "))),
          "check the name and the labels: a series that appears only with its first event has to appear before"};
}

// Too little of the part is known.
std::optional<Obstacle> KnownGate(const MetricScene& scene, const std::string& during) {
  const int64_t length_ns = scene.part.end_ns - scene.part.begin_ns;
  const int64_t known_ns = scene.story.ReadableWithin(scene.part.begin_ns, scene.part.end_ns);
  if (known_ns < kFewestReadings * scene.story.every_ns) {
    return Obstacle{absl::StrCat(scene.story.told_by, " was read for only ", HumanNanos(known_ns), " ", during, "; ",
                                 HumanNanos(kFewestReadings * scene.story.every_ns), " are needed"),
                    scene.part.over ? "let that part of the run last longer (`for`), and keep the page readable" : ""};
  }
  if (static_cast<double>(known_ns) < kLeastReadable * static_cast<double>(length_ns)) {
    return Obstacle{absl::StrCat(scene.story.told_by, " could be read for only ", HumanNanos(known_ns), " of ",
                                 HumanNanos(length_ns), " ", during, " (90 % needed)"),
                    "serve the page by what the fault does not touch, or ask a monitor"};
  }
  return StallGate(scene.stalls.Within(scene.part.begin_ns, scene.part.end_ns) / scene.story.every_ns,
                   length_ns / scene.story.every_ns, "reading", scene.stalls);
}

// The family is there and the series is not: it never counted anything.
bool NeverCounted(const MetricScene& scene) {
  const bool grows = scene.spec.of() == MetricBound::OF_INCREASE || scene.spec.of() == MetricBound::OF_RATE;
  return grows && scene.Below(0) && scene.story.series.empty() && !scene.story.others.empty();
}

std::string LimitOf(const MetricBound& spec) {
  std::vector<std::string> limits;
  if (spec.has_at_least()) limits.push_back(absl::StrCat("at least ", Figure(spec.at_least())));
  if (spec.has_at_most()) limits.push_back(absl::StrCat("at most ", Figure(spec.at_most())));
  if (spec.of() == MetricBound::OF_RATE) limits.back() += " per second";
  if (spec.has_reached_within()) limits.push_back(absl::StrCat("within ", HumanNanos(Nanos(spec.reached_within()))));
  return absl::StrJoin(limits, ", ");
}

// What `squall check` refuses too.
std::optional<Obstacle> SpecGate(const MetricBound& spec) {
  if (QueryOf(spec).empty()) return Obstacle{"no metric is named", "write `metric`, or `monitor` and `query`"};
  if (!spec.has_at_least() && !spec.has_at_most())
    return Obstacle{"there is no bound to judge by", "write `at_least` or `at_most`"};
  if (spec.of() == MetricBound::OF_RATE && spec.has_reached_within()) {
    return Obstacle{"a rate is that of the whole part of the run, and cannot be reached within it",
                    "leave out `reached_within`, or ask a monitor"};
  }
  return std::nullopt;
}

}  // namespace

Judgement JudgeMetric(const MetricBound& spec, const Timeline& timeline, const Stalls& stalls) {
  if (auto obstacle = SpecGate(spec)) return Obstructed(*obstacle);
  if (auto obstacle = DuringGate(spec.during(), spec.fault(), timeline)) return Obstructed(*obstacle);
  const std::optional<Span> part = SpanOf(spec.during(), spec.fault(), timeline);
  if (!part) return Obstructed({"that part of the run has not begun", ""});
  const std::string during = DuringText(spec.during(), spec.fault(), timeline);
  const MetricStory story = ReadMetric(spec, timeline);
  const MetricScene scene{spec, story, stalls, *part, RestsOf(timeline)};

  Verdict verdict;
  verdict.set_limit(LimitOf(spec));
  verdict.set_samples(story.ReadableWithin(part->begin_ns, part->end_ns) / story.every_ns);
  std::vector<MetricFinding> findings;
  if (NeverCounted(scene)) findings.push_back(JudgeSeries(scene, MetricValues{story.asked, {}, {}}));
  for (const MetricValues& values : story.series) {
    MetricFinding finding = JudgeSeries(scene, values);
    if (!finding.reason.empty()) findings.push_back(std::move(finding));
  }
  AddDetail(verdict, "told by", story.told_by);
  for (size_t i = 0; i < std::min(findings.size(), kMostShown); ++i) AddDetail(verdict, findings[i].series, findings[i].reason);
  if (findings.size() > kMostShown)
    AddDetail(verdict, "further series", Grouped(static_cast<int64_t>(findings.size() - kMostShown)));

  bool final = part->over;
  const auto obstructed = [&](const Obstacle& obstacle) {
    Judgement judgement = Obstructed(obstacle, verdict);
    judgement.final = final;
    return judgement;
  };
  if (findings.empty()) return obstructed(NotTold(scene, during));
  const MetricFinding& worst = *std::min_element(findings.begin(), findings.end(), Worse);
  // One that fails for good decides; else all must have been decided.
  final = (worst.result == Verdict::FAIL && worst.final) ||
          std::all_of(findings.begin(), findings.end(), [](const MetricFinding& finding) { return finding.final; });
  verdict.set_measured(worst.measured);
  verdict.set_margin(Figure(worst.margin));
  // What is known of a value that breaks the bounds, or has come into them, is enough.
  if (!worst.seen) {
    if (auto obstacle = KnownGate(scene, during)) return obstructed(*obstacle);
  }
  std::string reason = absl::StrCat(worst.series, " ", worst.reason, " ", during, " (", verdict.limit(), ")");
  if (worst.result == Verdict::INCONCLUSIVE) {
    return obstructed({absl::StrCat(reason, " so far"), ""});
  }
  if (findings.size() > 1) {
    const auto fail =
        std::count_if(findings.begin(), findings.end(), [](const MetricFinding& each) { return each.result == Verdict::FAIL; });
    if (fail > 0)
      absl::StrAppend(&reason, "; ", Grouped(fail), " of ", Grouped(static_cast<int64_t>(findings.size())), " series");
    if (fail == 0) absl::StrAppend(&reason, ", nearest of ", Grouped(static_cast<int64_t>(findings.size())), " series");
  }
  verdict.set_result(worst.result);
  verdict.set_reason(reason);
  if (worst.broken_ns) verdict.set_first_broken_ns(*worst.broken_ns);
  return {std::move(verdict), final};
}

}  // namespace squall
