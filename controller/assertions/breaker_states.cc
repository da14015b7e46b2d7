#include "controller/assertions/breaker_states.h"

#include <algorithm>
#include <map>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "base/metric_series.h"
#include "controller/assertions/breaker_probes.h"
#include "controller/assertions/breaker_scene.h"
#include "controller/assertions/durations.h"
#include "controller/assertions/words.h"

namespace squall {
namespace {

constexpr char kClosed[] = "closed";
constexpr char kOpen[] = "open";
constexpr char kHalfOpen[] = "half-open";
constexpr char kUnknown[] = "unknown";
constexpr size_t kMostSpansInWords = 14;
// A page is read each 250 ms, calls are seen in bins of 100 ms, and the call that trips a breaker began
// earlier.
constexpr int64_t kMayDifferNs = 1'000'000'000;

// Goes on with the last span where the state is the same.
void Append(StateSpans& spans, int64_t from_ns, const std::string& state) {
  if (!spans.empty() && spans.back().state == state) return;
  if (!spans.empty()) spans.back().to_ns = std::max(from_ns, spans.back().from_ns);
  spans.push_back({spans.empty() ? from_ns : spans.back().to_ns, from_ns, state});
}

void End(StateSpans& spans, int64_t end_ns) {
  if (!spans.empty()) spans.back().to_ns = std::max(end_ns, spans.back().from_ns);
  spans.erase(
      std::remove_if(spans.begin(), spans.end(),
                     [&](const StateSpan& span) { return span.to_ns <= span.from_ns && spans.size() > 1; }),
      spans.end());
}

// "half_open", "HALF-OPEN" and "halfOpen" are the same word.
std::string StateOfWord(absl::string_view word) {
  std::string plain;
  for (const char c : word) {
    if (absl::ascii_isalpha(c)) plain += absl::ascii_tolower(c);
  }
  if (plain == "open" || plain == "opened" || plain == "forcedopen") return kOpen;
  if (plain == "halfopen" || plain == "halfopened") return kHalfOpen;
  if (plain == "closed" || plain == "close") return kClosed;
  return "";
}

std::string StateOfValue(const StateMetric& metric, double value) {
  if (value == metric.open()) return kOpen;
  if (value == metric.half_open()) return kHalfOpen;
  if (value == metric.closed()) return kClosed;
  return absl::StrFormat("%g", value);
}

bool Matches(const MetricSeries& series, const std::string& name, const StateMetric& metric) {
  if (series.name != name) return false;
  for (const auto& [label, value] : metric.labels()) {
    const auto found = series.labels.find(label);
    if (found == series.labels.end() || found->second != value) return false;
  }
  return true;
}

// Follows the values of a state metric, in the order in which they were read.
class Follower {
 public:
  Follower(const StateMetric& metric, int64_t from_ns) : metric_(metric), from_ns_(from_ns) {}

  void Take(const MetricSample& sample) {
    if (sample.series() == "up") {
      if (sample.value() == 0) Append(states_.spans, sample.at_ns(), kUnknown);
      if (sample.value() == 1 && !last_state_.empty()) Append(states_.spans, sample.at_ns(), last_state_);
      return;
    }
    const std::optional<MetricSeries> series = ParseMetricSeries(sample.series());
    if (!series) return;
    if (!metric_.opened().empty() && Matches(*series, metric_.opened(), metric_)) Count(sample);
    if (!Matches(*series, metric_.metric(), metric_)) return;
    const auto state = series->labels.find("state");
    const auto event = series->labels.find("event");
    if (state != series->labels.end()) {
      ++told_[Others(*series, "state")];
      const std::string word = StateOfWord(state->second);
      if (sample.value() == 1) Become(sample, word.empty() ? state->second : word);
    } else if (event != series->labels.end()) {
      ++told_[Others(*series, "event")];
      TakeEvent(sample, StateOfWord(event->second));
    } else {
      ++told_[series->Text()];
      Become(sample, StateOfValue(metric_, sample.value()));
    }
  }

  OwnStates Finish(int64_t end_ns) {
    if (told_.empty()) {
      states_.spans.clear();
      states_.problem = absl::StrCat("the page never told ", metric_.metric());
    } else if (told_.size() > 1) {
      states_.spans.clear();
      states_.problem = absl::StrCat("the page has ", told_.size(), " series of ", metric_.metric(),
                                     " that match: say which one in `labels`");
    }
    End(states_.spans, end_ns);
    return std::move(states_);
  }

 private:
  // The series without the label that tells the state: one for each breaker.
  static std::string Others(MetricSeries series, const std::string& label) {
    series.labels.erase(label);
    return series.Text();
  }

  void Become(const MetricSample& sample, const std::string& state) {
    last_state_ = state;
    Append(states_.spans, sample.at_ns(), state);
  }

  // By how much the counter has grown since it was read last. A counter that is first seen once the page had
  // been read begins at zero: some libraries export an event only after it has happened.
  double Growth(const MetricSample& sample) {
    const auto [last, first] = last_.emplace(sample.series(), sample.value());
    const double before = first ? (last_state_.empty() && counters_ == 0 ? sample.value() : 0) : last->second;
    last->second = sample.value();
    return sample.value() >= before ? sample.value() - before : sample.value();  // a restart begins at zero
  }

  void Count(const MetricSample& sample) {
    const double grown = Growth(sample);
    states_.counted = true;
    if (sample.at_ns() >= from_ns_) states_.openings += grown;
  }

  void TakeEvent(const MetricSample& sample, const std::string& state) {
    const double grown = Growth(sample);
    ++counters_;
    if (state.empty()) {
      if (last_state_.empty()) Become(sample, kClosed);
      return;
    }
    if (state == kOpen) {
      states_.counted = true;
      if (sample.at_ns() >= from_ns_) states_.openings += grown;
    }
    if (grown > 0 || last_state_.empty()) Become(sample, grown > 0 ? state : kClosed);
  }

  const StateMetric& metric_;
  const int64_t from_ns_;
  OwnStates states_;
  std::string last_state_;
  std::map<std::string, double> last_;
  std::map<std::string, int64_t> told_;
  int64_t counters_ = 0;
};

bool IsClosed(const StateSpan& span) { return span.state == kClosed; }
bool IsKnown(const StateSpan& span) {
  return span.state == kClosed || span.state == kOpen || span.state == kHalfOpen;
}

}  // namespace

SeenStates StatesByCalls(const BreakerScene& scene, const std::optional<int64_t>& opened_ns,
                         const std::optional<int64_t>& closed_ns) {
  SeenStates seen;
  Append(seen.spans, 0, kClosed);
  const int64_t end_ns = std::max(scene.complete_ns, scene.over_ns);
  if (!opened_ns) {
    End(seen.spans, end_ns);
    return seen;
  }
  Append(seen.spans, *opened_ns, kOpen);
  const int64_t until_ns = closed_ns.value_or(end_ns);
  for (const Episode& episode : EpisodesOf(scene, *opened_ns, until_ns)) {
    // After probes that were answered it had closed for a time.
    const int64_t quiet_from_ns = episode.first_ns - episode.gap_ns;
    if (seen.spans.back().state == kClosed && quiet_from_ns > seen.spans.back().from_ns) {
      Append(seen.spans, quiet_from_ns, kOpen);
    }
    Append(seen.spans, episode.first_ns, kHalfOpen);
    for (const Call& call : scene.calls) {
      if (call.start_ns >= episode.first_ns && call.start_ns <= episode.last_ns)
        seen.probes.push_back(call.start_ns);
    }
    const bool went_on =
        static_cast<double>(
            scene.CallsBetween(episode.end_ns, episode.end_ns + Nanos(scene.spec->open_time()) / 2)) >
        0.05 * scene.Expected(episode.end_ns, episode.end_ns + Nanos(scene.spec->open_time()) / 2);
    Append(seen.spans, episode.end_ns, episode.failed == 0 && went_on ? kClosed : kOpen);
  }
  if (closed_ns) {
    // The first call of those that came back is the probe that closed it, unless it had closed before.
    const auto probe = std::lower_bound(scene.calls.begin(), scene.calls.end(), *closed_ns,
                                        [](const Call& call, int64_t ns) { return call.start_ns < ns; });
    if (probe != scene.calls.end() && seen.spans.back().state == kOpen) {
      Append(seen.spans, probe->start_ns, kHalfOpen);
      seen.probes.push_back(probe->start_ns);
      Append(seen.spans, probe->end_ns, kClosed);
    }
    Append(seen.spans, std::max(*closed_ns, seen.spans.back().from_ns), kClosed);
  }
  End(seen.spans, end_ns);
  return seen;
}

OwnStates StatesByMetric(const CircuitBreaker& spec, const Timeline& timeline, const std::string& service,
                         int64_t from_ns, int64_t end_ns) {
  if (!spec.has_state()) return {};
  OwnStates none;
  const auto samples = timeline.metrics.find(service);
  if (samples == timeline.metrics.end()) {
    none.problem = absl::StrCat("the metrics page of ", service, " was never read");
    return none;
  }
  Follower follower(spec.state(), from_ns);
  for (const MetricSample& sample : samples->second) follower.Take(sample);
  return follower.Finish(end_ns);
}

std::string StatesInWords(const StateSpans& spans) {
  std::vector<std::string> words;
  for (const StateSpan& span : spans) {
    const bool first = &span == &spans.front();
    if (words.size() == kMostSpansInWords) {
      words.push_back(absl::StrCat("and ", spans.size() - kMostSpansInWords, " more changes"));
      break;
    }
    words.push_back(first ? span.state : absl::StrCat(span.state, " from ", Tenths(span.from_ns)));
  }
  return absl::StrJoin(words, ", ");
}

std::string Disagreement(const StateSpans& by_calls, const StateSpans& by_metric) {
  // Spans of contradiction that touch are one.
  StateSpan longest;
  StateSpan current;
  for (const StateSpan& own : by_metric) {
    if (!IsKnown(own)) continue;
    for (const StateSpan& seen : by_calls) {
      const int64_t from_ns = std::max(own.from_ns, seen.from_ns);
      const int64_t to_ns = std::min(own.to_ns, seen.to_ns);
      if (from_ns >= to_ns || IsClosed(own) == IsClosed(seen)) continue;
      if (current.to_ns != from_ns || current.to_ns == 0) current = {from_ns, to_ns, own.state};
      current.to_ns = to_ns;
      if (current.to_ns - current.from_ns > longest.to_ns - longest.from_ns) longest = current;
    }
  }
  if (longest.to_ns - longest.from_ns <= kMayDifferNs) return "";
  return absl::StrCat("from ", Tenths(longest.from_ns), " to ", Tenths(longest.to_ns), " the metric says ",
                      longest.state, " and the calls say ", longest.state == kClosed ? "open" : "closed");
}

}  // namespace squall
