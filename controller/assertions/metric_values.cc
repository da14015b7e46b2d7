#include "controller/assertions/metric_values.h"

#include <algorithm>
#include <cmath>
#include <map>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "base/metric_series.h"

namespace squall {
namespace {

constexpr int64_t kPageEveryNs = 250'000'000;
constexpr int64_t kMonitorEveryNs = 1'000'000'000;
constexpr size_t kMostOthers = 3;

MetricSeries Selector(const MetricBound& spec) {
  return {spec.metric(), std::map<std::string, std::string>(spec.labels().begin(), spec.labels().end())};
}

enum class Fit { kYes, kOtherLabels, kNo };

Fit OnPage(const MetricBound& spec, const std::string& text) {
  const std::optional<MetricSeries> series = ParseMetricSeries(text);
  if (!series || series->name != spec.metric()) return Fit::kNo;
  for (const auto& [label, value] : spec.labels()) {
    const auto found = series->labels.find(label);
    if (found == series->labels.end() || found->second != value) return Fit::kOtherLabels;
  }
  return Fit::kYes;
}

// The answer's labels follow the query, which may end in braces of its own.
Fit OfQuery(const std::string& query, const std::string& text) {
  if (!absl::StartsWith(text, query)) return Fit::kNo;
  const std::string labels = text.substr(query.size());
  return labels.empty() || (labels[0] == '{' && ParseMetricSeries(absl::StrCat("x", labels))) ? Fit::kYes : Fit::kNo;
}

// Follows what is told, in its order.
class Follower {
 public:
  explicit Follower(MetricStory& story) : story_(story) {}

  void TakeUp(int64_t at_ns, bool up) {
    if (up && !readable_) {
      Open(at_ns);
      for (auto& [series, state] : states_) Hold(state, at_ns);
    }
    if (!up && readable_) {
      readable_ = false;
      story_.readable.back().to_ns = at_ns;
      for (auto& [series, state] : states_) End(state, at_ns);
    }
    read_before_ = read_before_ || up;
  }

  void Take(const MetricSample& sample) {
    // The value comes before the word that the page can be read again.
    if (!readable_) Open(sample.at_ns());
    const auto [found, first] = states_.emplace(sample.series(), State{});
    State& state = found->second;
    if (first) state.values.series = sample.series();
    End(state, sample.at_ns());
    if (std::isnan(sample.value())) {
      state.last.reset();
      return;
    }
    if (state.last || read_before_) {
      const double last = state.last.value_or(0);
      state.values.growths.push_back({sample.at_ns(), sample.value() >= last ? sample.value() - last : sample.value()});
    }
    state.last = sample.value();
    Hold(state, sample.at_ns());
  }

  void Finish(int64_t end_ns) {
    if (readable_) story_.readable.back().to_ns = end_ns;
    for (auto& [series, state] : states_) {
      End(state, end_ns);
      story_.series.push_back(std::move(state.values));
    }
  }

 private:
  struct State {
    MetricValues values;
    std::optional<double> last;
    bool holds = false;
  };

  void Open(int64_t at_ns) {
    readable_ = true;
    story_.readable.push_back({at_ns, at_ns});
  }
  static void Hold(State& state, int64_t at_ns) {
    if (state.holds || !state.last) return;
    state.values.values.push_back({at_ns, at_ns, *state.last});
    state.holds = true;
  }
  static void End(State& state, int64_t at_ns) {
    if (state.holds) state.values.values.back().to_ns = at_ns;
    state.holds = false;
  }

  MetricStory& story_;
  std::map<std::string, State> states_;
  bool readable_ = false;
  bool read_before_ = false;
};

}  // namespace

int64_t MetricStory::ReadableWithin(int64_t begin_ns, int64_t end_ns) const {
  int64_t within_ns = 0;
  for (const Readable& span : readable) {
    within_ns += std::max<int64_t>(std::min(span.to_ns, end_ns) - std::max(span.from_ns, begin_ns), 0);
  }
  return within_ns;
}

std::string QueryOf(const MetricBound& spec) { return spec.query().empty() ? Selector(spec).Text() : spec.query(); }

MetricStory ReadMetric(const MetricBound& spec, const Timeline& timeline) {
  const bool by_monitor = !spec.monitor().empty();
  MetricStory story;
  story.asked = QueryOf(spec);
  story.told_by = by_monitor ? absl::StrCat("monitor ", spec.monitor()) : absl::StrCat("the metrics page of ", spec.service());
  story.every_ns = by_monitor ? kMonitorEveryNs : kPageEveryNs;
  const auto& all = by_monitor ? timeline.monitored : timeline.metrics;
  const auto samples = all.find(by_monitor ? spec.monitor() : spec.service());
  if (samples == all.end()) return story;
  Follower follower(story);
  // Most samples are of series that were met before.
  std::map<std::string, Fit> met;
  for (const MetricSample& sample : samples->second) {
    if (sample.series() == "up") {
      follower.TakeUp(sample.at_ns(), sample.value() != 0);
      continue;
    }
    const auto [match, first] = met.emplace(sample.series(), Fit::kNo);
    if (first) match->second = by_monitor ? OfQuery(story.asked, sample.series()) : OnPage(spec, sample.series());
    if (match->second == Fit::kYes) follower.Take(sample);
    if (first && match->second == Fit::kOtherLabels && story.others.size() < kMostOthers) story.others.push_back(sample.series());
  }
  follower.Finish(timeline.last_ns);
  return story;
}

}  // namespace squall
