#include "controller/report/limiter.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/text.h"
#include "controller/limiter_steps.h"
#include "controller/offered.h"
#include "controller/report/escape.h"
#include "controller/report/svg.h"
#include "controller/report/words.h"

namespace squall {
namespace {

constexpr double kWidth = 368, kHeight = 232;
constexpr double kLeft = 48, kRight = 108, kTop = 10, kBottom = 40;
constexpr double kFont = 12;
constexpr int64_t kEdgeNs = 100'000'000;
constexpr size_t kMostPoints = 400;

// Requests of one span, in nanoseconds since the first was sent.
struct Trial {
  std::string title;
  std::string id;
  int64_t begin_ns = 0;
  std::vector<int64_t> sent;      // of all
  std::vector<int64_t> answered;  // of those that were admitted
  int64_t length_ns = 0;
};

Trial Gather(const Timeline& timeline, const std::string& load, const OfferedSpan& span) {
  Trial trial;
  const std::vector<Request>& requests = timeline.requests.at(load);
  const auto inside = [&](const Request& request) {
    return !request.retried && request.intended_ns >= span.begin_ns - kEdgeNs && request.intended_ns < span.end_ns + kEdgeNs;
  };
  for (const Request& request : requests) {
    if (!inside(request)) continue;
    trial.begin_ns = trial.sent.empty() ? request.sent_ns : std::min(trial.begin_ns, request.sent_ns);
    trial.sent.push_back(request.sent_ns);
    if (request.outcome == OK || request.outcome == DEGRADED) trial.answered.push_back(request.end_ns);
  }
  for (std::vector<int64_t>* times : {&trial.sent, &trial.answered}) {
    std::sort(times->begin(), times->end());
    for (int64_t& at : *times) at -= trial.begin_ns;
    if (!times->empty()) trial.length_ns = std::max(trial.length_ns, times->back());
  }
  trial.length_ns = std::max<int64_t>(trial.length_ns + trial.length_ns / 20, 1'000'000);
  return trial;
}

double Allowed(const AdmissionLimit& limit, int64_t length_ns) {
  const double line = limit.Most(length_ns);
  if (limit.window_ns <= 0) return line;
  return std::min(line, limit.MostWithin(static_cast<int>(length_ns / limit.window_ns) + 1));
}

// Steps of one at each of these times.
std::string Staircase(const std::vector<int64_t>& times, int64_t until_ns, const Scale& x, const Scale& y) {
  std::string path = absl::StrCat("M", Coordinate(x(0)), " ", Coordinate(y(0)));
  const size_t every = std::max<size_t>(1, times.size() / kMostPoints);
  for (size_t i = 0; i < times.size(); ++i) {
    if (i % every != 0 && i + 1 != times.size()) continue;
    absl::StrAppend(&path, "H", Coordinate(x(static_cast<double>(times[i]))), "V", Coordinate(y(static_cast<double>(i + 1))));
  }
  return absl::StrCat(path, "H", Coordinate(x(static_cast<double>(until_ns))));
}

std::string Line(const AdmissionLimit& limit, int64_t until_ns, const Scale& x, const Scale& y) {
  std::string path;
  constexpr int kParts = 60;
  for (int i = 0; i <= kParts; ++i) {
    const int64_t at = until_ns / kParts * i;
    absl::StrAppend(&path, i == 0 ? "M" : "L", Coordinate(x(static_cast<double>(at))), " ", Coordinate(y(Allowed(limit, at))));
  }
  return path;
}

void DrawAxes(Svg& svg, const Trial& trial, double highest, const Scale& x, const Scale& y) {
  const double bottom = kHeight - kBottom, end = kWidth - kRight;
  for (const double tick : LinearTicks(highest, 4, true)) {
    svg.Line(kLeft, y(tick), end, y(tick), tick == 0 ? "axis" : "grid");
    svg.Text(kLeft - 6, y(tick) + 4, Anchor::kEnd, "tick", Thousands(std::llround(tick)));
  }
  const bool seconds = trial.length_ns >= 2'000'000'000;
  const double unit = seconds ? 1e9 : 1e6;
  for (const double tick : LinearTicks(static_cast<double>(trial.length_ns) / unit, 4, false)) {
    svg.Line(x(tick * unit), bottom, x(tick * unit), bottom + 4, "axis");
    svg.Text(x(tick * unit), bottom + kFont + 5, Anchor::kMiddle, "tick", absl::StrCat(tick));
  }
  svg.Text((kLeft + end) / 2, kHeight - 6, Anchor::kMiddle, "tick",
           seconds ? "seconds since its first request" : "milliseconds since its first request");
}

std::string RenderTrial(const Trial& trial, const AdmissionLimit& limit) {
  const double allowed = Allowed(limit, trial.length_ns);
  const auto offered = static_cast<double>(trial.sent.size()), admitted = static_cast<double>(trial.answered.size());
  const double highest = 1.05 * std::max({offered, admitted, allowed, 1.0});
  const Scale x = Scale::Linear(0, static_cast<double>(trial.length_ns), kLeft, kWidth - kRight);
  const Scale y = Scale::Linear(0, highest, kHeight - kBottom, kTop);
  const std::string summary =
      absl::StrCat("Of ", Count(static_cast<int64_t>(trial.sent.size()), "request", "requests"), " offered, ",
                   Thousands(static_cast<int64_t>(trial.answered.size())), " were admitted; within ", HumanNanos(trial.length_ns),
                   " at most ", Thousands(static_cast<int64_t>(std::floor(allowed + 1e-6))), " may be.");
  Svg svg(trial.id, kWidth, kHeight, trial.title, summary);
  DrawAxes(svg, trial, highest, x, y);
  svg.Path(Staircase(trial.sent, trial.length_ns, x, y), "curve curve-offered");
  svg.Path(Line(limit, trial.length_ns, x, y), "limit limit-curve");
  svg.Path(Staircase(trial.answered, trial.length_ns, x, y), "curve curve-admitted");
  const std::vector<double> placed = MoveApart({y(offered), y(allowed), y(admitted)}, kFont + 3, kTop + 4, kHeight - kBottom);
  const double end = kWidth - kRight;
  const auto label = [&](size_t i, const char* css_class, const std::string& text) {
    svg.Text(end + 6, placed[i] + 4, Anchor::kStart, absl::StrCat("end ", css_class), text);
  };
  label(0, "end-offered", absl::StrCat("offered ", Thousands(static_cast<int64_t>(trial.sent.size()))));
  label(1, "end-limit", absl::StrCat("at most ", Thousands(static_cast<int64_t>(std::floor(allowed + 1e-6)))));
  label(2, "end-admitted", absl::StrCat("admitted ", Thousands(static_cast<int64_t>(trial.answered.size()))));
  svg.Rect(kLeft, kTop, end - kLeft, kHeight - kBottom - kTop, "hover", summary);
  return absl::StrCat("<figure class=\"small\"><figcaption><h4>", Escape(trial.title), "</h4></figcaption>", svg.Finish(),
                      "</figure>\n");
}

}  // namespace

std::string LimiterFigures(const Assertion& assertion, const Timeline& timeline) {
  const RateLimiter& spec = assertion.rate_limiter();
  const AdmissionLimit limit = LimitOf(spec);
  const Load* load = nullptr;
  for (const Load& each : timeline.header.scenario().load()) {
    if (each.name() == spec.load()) load = &each;
  }
  if (load == nullptr) return "";
  std::string charts;
  const std::vector<OfferedSpan> spans = OfferedSpans(timeline, *load);
  for (size_t i = 0; i < spans.size(); ++i) {
    const bool burst = i > 0 && IsBurst(spans[i - 1], spans[i], limit.rate);
    const bool above = spans[i].per_second >= 1.2 * limit.rate && spans[i].end_ns - spans[i].begin_ns >= 5'000'000'000;
    if (!burst && !above) continue;
    Trial trial = Gather(timeline, load->name(), spans[i]);
    if (trial.sent.empty()) continue;
    trial.id = absl::StrCat("limiter-", assertion.name(), "-", i);
    trial.title = absl::StrCat(burst ? "Burst" : absl::StrCat(HumanRate(spans[i].per_second), " offered"), ", from ",
                               RunTime(trial.begin_ns), " on");
    absl::StrAppend(&charts, RenderTrial(trial, limit));
  }
  if (charts.empty()) return "";
  return absl::StrCat("<section class=\"service\"><h3>Rate limiter: ", Escape(assertion.name()), " <span class=\"unit\">",
                      "requests of ", Escape(load->name()),
                      ", counted from the first of each trial: dotted what was offered, solid what was admitted; the dashed line is ",
                      "the most that burst and rate allow</span>",
                      "</h3><div class=\"multiples limiter\">", charts, "</div></section>\n");
}

}  // namespace squall
