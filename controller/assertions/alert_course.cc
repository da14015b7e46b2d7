#include "controller/assertions/alert_course.h"

#include <algorithm>
#include <map>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace squall {
namespace {

using Labels = std::map<std::string, std::string>;

bool Carries(const Labels& labels, const Alert& spec) {
  return std::all_of(spec.labels().begin(), spec.labels().end(), [&](const auto& label) {
    const auto found = labels.find(label.first);
    return found != labels.end() && found->second == label.second;
  });
}

AlertSample::State Worst(const std::map<Labels, AlertSample::State>& series) {
  AlertSample::State worst = AlertSample::INACTIVE;
  for (const auto& [labels, state] : series) worst = std::max(worst, state);
  return worst;
}

}  // namespace

AlertCourse AlertCourseOf(const Alert& spec, const Timeline& timeline) {
  AlertCourse course;
  const auto samples = timeline.alerts.find(spec.monitor());
  if (samples == timeline.alerts.end()) return course;
  std::map<Labels, AlertSample::State> series;
  AlertSample::State state = AlertSample::INACTIVE;
  for (const AlertSample& sample : samples->second) {
    if (sample.alert() != spec.alert()) continue;
    const Labels labels(sample.labels().begin(), sample.labels().end());
    if (!Carries(labels, spec)) {
      course.others = absl::StrCat("{", absl::StrJoin(labels, ", ", absl::PairFormatter("=")), "}");
      continue;
    }
    series[labels] = sample.state();
    if (Worst(series) == state) continue;
    state = Worst(series);
    course.changes.push_back({sample.at_ns(), state});
  }
  return course;
}

AlertSample::State AlertCourse::At(int64_t at_ns) const {
  AlertSample::State state = AlertSample::INACTIVE;
  for (const Change& change : changes) {
    if (change.at_ns > at_ns) break;
    state = change.state;
  }
  return state;
}

std::optional<int64_t> AlertCourse::First(int64_t after_ns, int64_t until_ns, bool (*is)(AlertSample::State)) const {
  for (const Change& change : changes) {
    if (change.at_ns > after_ns && change.at_ns <= until_ns && is(change.state)) return change.at_ns;
  }
  return std::nullopt;
}

Answering::Answering(const Alert& spec, const Timeline& timeline) {
  for (const Monitor& monitor : timeline.header.scenario().monitors()) {
    tells_by_itself_ |= monitor.name() == spec.monitor() && monitor.has_alertmanager();
  }
  if (tells_by_itself_) changes_.emplace_back(INT64_MIN, true);
  const auto samples = timeline.monitored.find(spec.monitor());
  if (samples == timeline.monitored.end()) return;
  for (const MetricSample& sample : samples->second) {
    if (sample.series() == "up") changes_.emplace_back(sample.at_ns(), sample.value() == 1);
  }
}

bool Answering::Ever() const {
  return std::any_of(changes_.begin(), changes_.end(), [](const auto& change) { return change.second; });
}

int64_t Answering::SilentWithin(int64_t begin_ns, int64_t end_ns) const {
  int64_t silent_ns = 0;
  int64_t from_ns = begin_ns;
  bool up = false;
  for (const auto& [at_ns, is_up] : changes_) {
    if (at_ns >= end_ns) break;
    if (at_ns > from_ns) {
      if (!up) silent_ns += at_ns - from_ns;
      from_ns = at_ns;
    }
    up = is_up;
  }
  return up || from_ns >= end_ns ? silent_ns : silent_ns + end_ns - from_ns;
}

}  // namespace squall
