#include "controller/report/breaker_chart.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/text.h"
#include "controller/assertions/circuit_breaker.h"
#include "controller/report/svg.h"
#include "controller/report/words.h"

namespace squall {
namespace {

constexpr size_t kMostInstances = 6;
constexpr size_t kMostProbes = 500;
constexpr double kLane = 22;
constexpr double kStep = 30;
// Of the axis that they share with all other charts.
constexpr const char* kCurves[kMostInstances] = {"p99", "p95", "p50", "probe", "offered", "stolen"};

std::string ClassOf(const std::string& state) {
  if (state == "closed" || state == "open" || state == "half-open")
    return absl::StrCat("state state-", state);
  return "state state-other";
}

// Lanes of states, one below the other.
class Lanes {
 public:
  Lanes(absl::string_view id, const TimeFrame& frame, size_t count, absl::string_view title,
        absl::string_view description)
      : frame_(frame),
        x_(Scale::Linear(0, static_cast<double>(frame.bins.end_ns), size_.left, size_.End())),
        bottom_(size_.top + static_cast<double>(count) * kStep),
        svg_(id, size_.width, bottom_ + 4, title, description) {
    for (const auto& span : frame.faults) {
      const double from = X(span.from_ns), width = std::max(X(span.to_ns) - from, 2.0);
      svg_.Rect(from, size_.top - 2, width, bottom_ - size_.top, "fault");
      svg_.Rect(from, size_.top - 5, width, 3, "fault-bracket");
      svg_.Text(from + width / 2, size_.top - 9, Anchor::kMiddle, "fault-name", span.name);
    }
  }

  void Add(absl::string_view name, const StateSpans& spans, const std::vector<int64_t>& probes) {
    const double y = size_.top + next_ * kStep;
    next_ += 1;
    svg_.Text(size_.left - 8, y + kLane / 2 + 4, Anchor::kEnd, "lane-name",
              Shortened(name, size_.left - 10, size_.font));
    for (const StateSpan& span : spans) {
      const double from = X(span.from_ns), width = std::max(X(span.to_ns) - from, 1.5);
      svg_.Rect(
          from, y, width, kLane, ClassOf(span.state),
          absl::StrCat(name, "\n", span.state, " from ", RunTime(span.from_ns), " to ", RunTime(span.to_ns)));
      if (TextWidth(span.state, size_.font) + 10 <= width) {
        svg_.Text(from + width / 2, y + kLane / 2 + 4, Anchor::kMiddle, "bar-label", span.state);
      }
    }
    for (size_t i = 0; i < std::min(probes.size(), kMostProbes); ++i) {
      svg_.Path(absl::StrCat("M", Coordinate(X(probes[i])), " ", Coordinate(y + kLane - 3), "l5 10h-10z"),
                "probe", absl::StrCat("probe at ", RunTime(probes[i])));
    }
  }

  std::string Finish() { return svg_.Finish(); }

 private:
  double X(int64_t ns) const {
    return x_(static_cast<double>(std::clamp<int64_t>(ns, 0, frame_.bins.end_ns)));
  }

  const TimeFrame& frame_;
  const ChartSize size_;
  const Scale x_;
  const double bottom_;
  Svg svg_;
  double next_ = 0;
};

// The picture cuts off at its own end, the last state goes on to it.
StateSpans UpTo(StateSpans spans, int64_t end_ns) {
  if (!spans.empty()) spans.back().to_ns = std::max(spans.back().to_ns, end_ns);
  return spans;
}

std::string Short(const BreakerPicture& picture, const BreakerPicture::Instance& instance) {
  if (picture.instances.size() == 1) return "by calls";
  return instance.source ? absl::StrCat("pid ", *instance.source) : instance.who;
}

std::string StatesSvg(const BreakerPicture& picture, const std::string& id, const std::string& name,
                      const TimeFrame& frame) {
  const size_t shown = std::min(picture.instances.size(), kMostInstances);
  const bool has_own = !picture.own.spans.empty();
  std::vector<std::string> texts;
  for (size_t i = 0; i < shown; ++i) {
    texts.push_back(absl::StrCat(picture.instances[i].who,
                                 ", by its calls: ", StatesInWords(picture.instances[i].seen.spans), "."));
  }
  if (has_own) texts.push_back(absl::StrCat("By its metric: ", StatesInWords(picture.own.spans), "."));
  Lanes lanes(absl::StrCat(id, "-states"), frame, shown + (has_own ? 1 : 0), absl::StrCat("States of ", name),
              absl::StrJoin(texts, " "));
  for (size_t i = 0; i < shown; ++i) {
    const BreakerPicture::Instance& instance = picture.instances[i];
    lanes.Add(Short(picture, instance), UpTo(instance.seen.spans, frame.bins.end_ns), instance.seen.probes);
  }
  if (has_own) lanes.Add("by metric", UpTo(picture.own.spans, frame.bins.end_ns), {});
  return lanes.Finish();
}

std::string CallsSvg(const BreakerPicture& picture, const std::string& id, const std::string& name,
                     const CircuitBreaker& spec, const Timeline& timeline, const TimeFrame& frame) {
  TimeChart chart;
  chart.id = absl::StrCat(id, "-calls");
  chart.title = absl::StrCat("Share of the usual calls, ", name);
  chart.description = "100 % is what the requests that were sent would have called at baseline.";
  chart.format = [](double value) { return HumanPercent(std::round(value)); };
  chart.top_at_least = 100;
  const size_t shown = std::min(picture.instances.size(), kMostInstances);
  for (size_t i = 0; i < shown; ++i) {
    const BreakerPicture::Instance& instance = picture.instances[i];
    const std::string label = picture.instances.size() == 1 ? "calls" : Short(picture, instance);
    chart.curves.push_back(
        {label, kCurves[i],
         ShareOfUsualCalls(timeline, spec, instance.source, instance.calls_per_request, frame.bins), true,
         false});
  }
  chart.limits = {{"back at 90 %", 90}, {"stopped at 5 %", 5}};
  ChartSize size;
  size.plot = 110;
  size.top = 6;
  size.names_faults = false;
  return RenderChart(chart, frame, size);
}

}  // namespace

Series ShareOfUsualCalls(const Timeline& timeline, const CircuitBreaker& spec, std::optional<uint32_t> source,
                         double calls_per_request, const TimeBins& bins) {
  std::vector<double> requests(static_cast<size_t>(bins.count)), calls(requests.size());
  if (const auto sent = timeline.requests.find(spec.load()); sent != timeline.requests.end()) {
    for (const Request& request : sent->second) ++requests[static_cast<size_t>(bins.Index(request.sent_ns))];
  }
  if (const auto seen = timeline.calls.find(spec.edge()); seen != timeline.calls.end()) {
    for (const Call& call : seen->second) {
      const bool counts = call.result != CONNECTION && call.result != CONNECT_REFUSED;
      if (counts && (!source || call.source_pid == *source))
        ++calls[static_cast<size_t>(bins.Index(call.start_ns))];
    }
  }
  Series shares;
  for (size_t i = 0; i < requests.size(); ++i) {
    const double usual = calls_per_request * requests[i];
    shares.push_back(usual > 0 ? 100 * calls[i] / usual : std::numeric_limits<double>::quiet_NaN());
  }
  return shares;
}

std::vector<BreakerChart> BreakerCharts(const Timeline& timeline, const TimeFrame& frame) {
  std::vector<BreakerChart> charts;
  for (const Assertion& assertion : timeline.header.scenario().assertions()) {
    if (!assertion.has_circuit_breaker()) continue;
    const CircuitBreaker& spec = assertion.circuit_breaker();
    const BreakerPicture picture = PictureOf(spec, timeline);
    if (picture.instances.empty()) continue;
    const std::string id = absl::StrCat("breaker", charts.size() + 1);
    BreakerChart chart;
    chart.name = assertion.name();
    chart.edge = spec.edge();
    if (picture.instances.size() > kMostInstances) {
      chart.note = absl::StrCat(picture.instances.size() - kMostInstances, " of ", picture.instances.size(),
                                " processes are not drawn; those that failed are drawn first");
    }
    if (!picture.own.problem.empty()) {
      absl::StrAppend(&chart.note, chart.note.empty() ? "" : "; ", "state by metric: ", picture.own.problem);
    }
    for (const auto& instance : picture.instances)
      chart.probes += static_cast<int64_t>(instance.seen.probes.size());
    chart.states = StatesSvg(picture, id, assertion.name(), frame);
    chart.calls = CallsSvg(picture, id, assertion.name(), spec, timeline, frame);
    charts.push_back(std::move(chart));
  }
  return charts;
}

}  // namespace squall
