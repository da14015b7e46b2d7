#include "controller/assertions/metric_findings.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "controller/assertions/durations.h"
#include "controller/assertions/words.h"

namespace squall {
namespace {

bool IsOfValue(const MetricBound& spec) { return spec.of() == MetricBound::OF_VALUE || spec.of() == MetricBound::OF_UNSPECIFIED; }

int64_t RestedWithin(const MetricScene& scene, int64_t begin_ns, int64_t end_ns) {
  int64_t rested_ns = 0;
  for (const auto& [from_ns, to_ns] : scene.rests) {
    rested_ns += std::max<int64_t>(std::min(to_ns, end_ns) - std::max(from_ns, begin_ns), 0);
  }
  return rested_ns;
}

// The values that are known of the part. What the first reading in it replaced was old already when it began.
std::vector<MetricValues::Value> Within(const MetricScene& scene, const MetricValues& values) {
  std::vector<MetricValues::Value> within;
  for (MetricValues::Value value : values.values) {
    if (value.from_ns > scene.part.end_ns || value.to_ns < scene.part.begin_ns) continue;
    const bool old = value.from_ns < scene.part.begin_ns && value.to_ns < scene.part.begin_ns + scene.SlackNs();
    if (old && (value.to_ns < scene.part.end_ns || !scene.part.over)) continue;
    value.from_ns = std::max(value.from_ns, scene.part.begin_ns);
    value.to_ns = std::min(value.to_ns, scene.part.end_ns);
    within.push_back(value);
  }
  return within;
}

// Whether a value outside of the bounds breaks the promise: not one that was there only while the machine stood still, nor one
// that is too small because loads rested.
bool Breaks(const MetricScene& scene, const MetricValues::Value& value) {
  const bool below = scene.Below(value.value);
  if (!below && !scene.Above(value.value)) return false;
  const int64_t length_ns = value.to_ns - value.from_ns;
  if (length_ns > 0 && scene.stalls.Within(value.from_ns, value.to_ns) >= length_ns) return false;
  const int64_t rested_ns = RestedWithin(scene, value.from_ns, value.to_ns);
  return !below || rested_ns == 0 || length_ns - rested_ns > scene.SlackNs();
}

MetricFinding JudgeValue(const MetricScene& scene, const MetricValues& values) {
  MetricFinding finding{values.series};
  const std::vector<MetricValues::Value> within = Within(scene, values);
  if (within.empty()) return finding;
  finding.result = Verdict::PASS;
  finding.final = scene.part.over;
  const MetricValues::Value* worst = nullptr;
  double least = within.front().value, most = least;
  for (const MetricValues::Value& value : within) {
    least = std::min(least, value.value);
    most = std::max(most, value.value);
    const bool breaks = Breaks(scene, value);
    if (breaks && !finding.broken_ns) finding.broken_ns = value.from_ns;
    if (worst == nullptr || (breaks && !Breaks(scene, *worst)) ||
        (breaks == Breaks(scene, *worst) && scene.Margin(value.value) < scene.Margin(worst->value))) {
      worst = &value;
    }
  }
  finding.margin = scene.Margin(worst->value);
  finding.measured = Figure(worst->value);
  if (finding.broken_ns) {
    finding.result = Verdict::FAIL;
    finding.final = finding.seen = true;
    finding.reason = absl::StrCat("was ", finding.measured, " at ", Tenths(worst->from_ns));
  } else {
    finding.reason =
        least == most ? absl::StrCat("was ", Figure(least)) : absl::StrCat("was between ", Figure(least), " and ", Figure(most));
  }
  return finding;
}

// How much it grew within the part: for sure, as far as can be, and as is likely.
struct Grown {
  double surely = 0;
  double possibly = 0;
  double likely = 0;
};

void Add(Grown& grown, const MetricScene& scene, const MetricValues::Growth& growth) {
  const int64_t begin_ns = scene.part.begin_ns, end_ns = scene.part.end_ns;
  if (growth.at_ns > begin_ns && growth.at_ns - scene.SlackNs() < end_ns) grown.possibly += growth.by;
  if (growth.at_ns <= end_ns && growth.at_ns - scene.SlackNs() >= begin_ns) grown.surely += growth.by;
  const int64_t in_part_ns = std::min(growth.at_ns, end_ns) - std::max(growth.at_ns - scene.story.every_ns, begin_ns);
  if (in_part_ns > 0) grown.likely += growth.by * static_cast<double>(in_part_ns) / static_cast<double>(scene.story.every_ns);
}

MetricFinding JudgeGrowth(const MetricScene& scene, const MetricValues& values) {
  const MetricBound& spec = scene.spec;
  const Span& part = scene.part;
  MetricFinding finding{values.series};
  Grown grown;
  for (const MetricValues::Growth& growth : values.growths) Add(grown, scene, growth);
  const bool rate = spec.of() == MetricBound::OF_RATE;
  double for_least = grown.possibly, for_most = grown.surely, shown = grown.likely;
  if (rate) {
    // Per second in which loads were sent; what the machine took away is not missed.
    const int64_t sent_ns = part.end_ns - part.begin_ns - RestedWithin(scene, part.begin_ns, part.end_ns);
    const int64_t ran_ns = sent_ns - scene.stalls.Within(part.begin_ns, part.end_ns);
    shown = sent_ns > 0 ? grown.likely / (static_cast<double>(sent_ns) / 1e9) : 0;
    for_most = shown;
    for_least = ran_ns > 0 ? grown.likely / (static_cast<double>(ran_ns) / 1e9) : shown;
    if (!scene.Above(shown)) shown = for_least;
  } else {
    // Counters count in whole steps: what is shown is what was judged.
    shown = scene.Above(grown.surely) || !spec.has_at_least() ? grown.surely : grown.possibly;
  }
  const bool above = scene.Above(for_most), below = scene.Below(for_least);
  finding.result = above || below ? Verdict::FAIL : Verdict::PASS;
  // It only grows; a rate is not known before the end.
  finding.seen = above && !rate;
  finding.final = part.over || finding.seen;
  if (!finding.final && finding.result == Verdict::FAIL) finding.result = Verdict::INCONCLUSIVE;
  if (finding.result == Verdict::FAIL) finding.broken_ns = part.begin_ns;
  finding.measured = rate ? absl::StrCat(Figure(shown), " per second") : Figure(shown);
  finding.margin = scene.Margin(shown);
  finding.reason = absl::StrCat("grew by ", finding.measured);
  return finding;
}

MetricFinding JudgeReached(const MetricScene& scene, const MetricValues& values) {
  MetricFinding finding{values.series};
  const int64_t by_ns = std::min(scene.ReachedByNs(), scene.part.end_ns);
  std::optional<double> best;
  std::optional<int64_t> reached_ns;
  const auto take = [&](int64_t at_ns, double value) {
    // It was so before it was read.
    if (reached_ns || at_ns - scene.story.every_ns > by_ns) return;
    if (!best || scene.Margin(value) > scene.Margin(*best)) best = value;
    if (!scene.Below(value) && !scene.Above(value)) reached_ns = at_ns;
  };
  if (IsOfValue(scene.spec)) {
    for (const MetricValues::Value& value : Within(scene, values)) take(value.from_ns, value.value);
  } else {
    double grown = 0;
    take(scene.part.begin_ns, grown);
    for (const MetricValues::Growth& growth : values.growths) {
      if (growth.at_ns > scene.part.begin_ns) take(growth.at_ns, grown += growth.by);
    }
  }
  if (!best) return finding;
  finding.measured = Figure(*best);
  finding.margin = scene.Margin(*best);
  const std::string verb = IsOfValue(scene.spec) ? "was " : "had grown by ";
  if (reached_ns) {
    finding.result = Verdict::PASS;
    finding.final = finding.seen = true;
    finding.reason = absl::StrCat(verb, finding.measured, " after ", Tenths(*reached_ns - scene.part.begin_ns));
    return finding;
  }
  const bool too_late = scene.part.over || scene.part.end_ns >= scene.ReachedByNs() + scene.SlackNs();
  finding.final = too_late;
  if (too_late) {
    finding.result = Verdict::FAIL;
    finding.broken_ns = by_ns;
  }
  finding.reason = absl::StrCat(verb, "at best ", finding.measured);
  return finding;
}

}  // namespace

double MetricScene::Margin(double value) const {
  const double above = spec.has_at_most() ? spec.at_most() - value : HUGE_VAL;
  return std::min(above, spec.has_at_least() ? value - spec.at_least() : HUGE_VAL);
}

int64_t MetricScene::ReachedByNs() const {
  const int64_t by_ns = part.begin_ns + Nanos(spec.reached_within());
  return by_ns + stalls.Within(part.begin_ns, by_ns);
}

std::string Figure(double value) {
  if (std::fabs(value) < 1e15 && value == std::floor(value)) return Grouped(static_cast<int64_t>(value));
  return absl::StrFormat("%.4g", value);
}

std::vector<std::pair<int64_t, int64_t>> RestsOf(const Timeline& timeline) {
  std::vector<std::pair<int64_t, int64_t>> rests;
  bool rests_now = false;
  for (const PhaseEvent& phase : timeline.phases) {
    const bool begins = phase.phase() == PhaseEvent::REST || phase.phase() == PhaseEvent::CUT_TO_HALF;
    const bool ends = phase.phase() == PhaseEvent::RESTED || phase.phase() == PhaseEvent::RESTORED;
    if (begins && !rests_now) rests.emplace_back(phase.at_ns(), INT64_MAX);
    if (ends && rests_now) rests.back().second = phase.at_ns();
    rests_now = begins || (rests_now && !ends);
  }
  return rests;
}

MetricFinding JudgeSeries(const MetricScene& scene, const MetricValues& values) {
  if (scene.spec.has_reached_within()) return JudgeReached(scene, values);
  return IsOfValue(scene.spec) ? JudgeValue(scene, values) : JudgeGrowth(scene, values);
}

// FAIL over INCONCLUSIVE over PASS; then the one that is nearer to its bound.
bool Worse(const MetricFinding& a, const MetricFinding& b) {
  const auto rank = [](const MetricFinding& finding) {
    return finding.result == Verdict::FAIL ? 2 : finding.result == Verdict::PASS ? 0 : 1;
  };
  if (rank(a) != rank(b)) return rank(a) > rank(b);
  return a.margin < b.margin;
}

}  // namespace squall
