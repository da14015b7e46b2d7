#include "controller/report/ribbon.h"

#include <algorithm>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "controller/plan.h"
#include "controller/report/svg.h"
#include "controller/report/words.h"

namespace squall {
namespace {

constexpr double kLane = 24;  // the height of a lane, with 4 between two
constexpr double kStep = 28;

class Ribbon {
 public:
  Ribbon(const TimeFrame& frame, const ChartSize& size, double height, absl::string_view description)
      : frame_(frame),
        size_(size),
        x_(Scale::Linear(0, static_cast<double>(frame.bins.end_ns), size.left, size.End())),
        svg_("ribbon", size.width, height, "The course of the run", description) {}

  void Name(double y, absl::string_view name) {
    svg_.Text(size_.left - 8, y + kLane / 2 + 4, Anchor::kEnd, "lane-name",
              Shortened(name, size_.left - 10, size_.font));
  }

  // A thin bar.
  void Up(double y, int64_t from_ns, int64_t to_ns, absl::string_view tooltip) {
    svg_.Rect(X(from_ns), y + kLane / 2 - 4, std::max(X(to_ns) - X(from_ns), 2.0), 8, "up", tooltip);
  }

  // A bar with its label inside or, where it is too narrow, behind it if there is room up to `free_until`.
  void Bar(double y, int64_t from_ns, int64_t to_ns, absl::string_view css_class, absl::string_view label,
           int64_t free_until_ns, absl::string_view tooltip) {
    const double from = X(from_ns), width = std::max(X(to_ns) - from, 3.0);
    svg_.Rect(from, y, width, kLane, css_class, tooltip);
    const double text = TextWidth(label, size_.font);
    const double room_behind =
        (free_until_ns >= frame_.bins.end_ns ? size_.width : X(free_until_ns)) - from - width;
    if (text + 8 <= width) {
      svg_.Text(from + width / 2, y + kLane / 2 + 4, Anchor::kMiddle, "bar-label", label);
    } else if (text + 12 <= room_behind) {
      svg_.Text(from + width + 6, y + kLane / 2 + 4, Anchor::kStart, "bar-label", label);
    }
  }

  // A sign at a moment. Its label is left out where it would run into the one before.
  void Sign(double y, int64_t at_ns, absl::string_view path, absl::string_view css_class,
            absl::string_view label, absl::string_view tooltip, double& free_from) {
    const double x = X(at_ns), middle = y + kLane / 2;
    svg_.Path(absl::StrCat("M", Coordinate(x), " ", Coordinate(middle), path), css_class, tooltip);
    if (label.empty()) return;
    const double end = x + 9 + TextWidth(label, size_.font);
    if (x - 6 < free_from || end > size_.width) return;
    svg_.Text(x + 9, middle + 4, Anchor::kStart, "sign-label", label);
    free_from = end + 6;
  }

  void TimeAxis(double y) {
    svg_.Line(size_.left, y, size_.End(), y, "axis");
    DrawTimeTicks(svg_, frame_, size_, y);
  }

  std::string Finish() { return svg_.Finish(); }

 private:
  double X(int64_t ns) const {
    return x_(static_cast<double>(std::clamp<int64_t>(ns, 0, frame_.bins.end_ns)));
  }

  const TimeFrame& frame_;
  const ChartSize& size_;
  Scale x_;
  Svg svg_;
};

// Paths from the middle of a sign.
constexpr absl::string_view kCross = "m-5 -5l10 10m0 -10l-10 10";
constexpr absl::string_view kTriangle = "m-5 -5.5l10 5.5l-10 5.5z";

std::string Description(const Timeline& timeline, const TimeFrame& frame) {
  std::string text = absl::StrCat("The run took ", RunTime(frame.bins.end_ns), ".");
  for (const PhaseEvent& phase : timeline.phases) {
    absl::StrAppend(&text, " ", PhaseName(phase.phase()), " from ", RunTime(phase.at_ns()), ".");
  }
  for (const auto& span : frame.faults) {
    absl::StrAppend(&text, " Fault ", span.name, " from ", RunTime(span.from_ns), " to ", RunTime(span.to_ns),
                    ".");
  }
  return text;
}

void Phases(const Timeline& timeline, const TimeFrame& frame, double y, Ribbon& ribbon) {
  ribbon.Name(y, "phase");
  for (size_t i = 0; i < timeline.phases.size(); ++i) {
    const PhaseEvent& phase = timeline.phases[i];
    if (phase.phase() == PhaseEvent::DONE) continue;
    const int64_t end = i + 1 < timeline.phases.size() ? timeline.phases[i + 1].at_ns() : frame.bins.end_ns;
    const std::string word = PhaseName(phase.phase());
    ribbon.Bar(y, phase.at_ns(), end, absl::StrCat("phase phase-", word), word, end,
               absl::StrCat(word, "\n", RunTime(phase.at_ns()), " to ", RunTime(end)));
  }
}

void Faults(const RunResult& result, const TimeFrame& frame, const std::vector<int>& lanes, double y,
            Ribbon& ribbon) {
  ribbon.Name(y, "faults");
  for (size_t i = 0; i < frame.faults.size(); ++i) {
    const auto& span = frame.faults[i];
    int64_t free_until = frame.bins.end_ns;
    for (size_t j = i + 1; j < frame.faults.size(); ++j) {
      if (lanes[j] == lanes[i]) free_until = std::min(free_until, frame.faults[j].from_ns);
    }
    std::string what;
    for (const FaultResult& fault : result.faults()) {
      if (fault.name() == span.name) what = fault.what();
    }
    ribbon.Bar(y + kStep * lanes[i], span.from_ns, span.to_ns, "fault-bar", span.name, free_until,
               absl::StrCat(span.name, what.empty() ? "" : ": ", what, "\n", RunTime(span.from_ns), " to ",
                            RunTime(span.to_ns)));
  }
}

// The services that anything is known of, in the order of the scenario.
std::vector<std::string> ServicesOf(const Timeline& timeline) {
  std::vector<std::string> names;
  const auto add = [&](const std::string& name) {
    if (std::find(names.begin(), names.end(), name) == names.end()) names.push_back(name);
  };
  for (const Service& service : timeline.header.scenario().services()) add(service.name());
  for (const ServiceEvent& event : timeline.services) add(event.service());
  return names;
}

// A bar while the service is ready, and a cross where it exited.
void Lifetime(const Timeline& timeline, const TimeFrame& frame, const std::string& service, double y,
              Ribbon& ribbon) {
  ribbon.Name(y, service);
  std::optional<int64_t> up_since;
  const auto bar = [&](int64_t until) {
    if (up_since) {
      ribbon.Up(y, *up_since, until,
                absl::StrCat(service, " ready\n", RunTime(*up_since), " to ", RunTime(until)));
    }
    up_since.reset();
  };
  std::vector<const ServiceEvent*> exits;
  for (const ServiceEvent& event : timeline.services) {
    if (event.service() != service) continue;
    const bool up = event.what() == ServiceEvent::READY || event.what() == ServiceEvent::ATTACHED;
    if (up && !up_since) up_since = event.at_ns();
    if (event.what() != ServiceEvent::EXITED) continue;
    bar(event.at_ns());
    exits.push_back(&event);
  }
  bar(frame.bins.end_ns);
  double free_from = 0;
  for (const ServiceEvent* exit : exits) {
    const std::string words = ServiceWord(*exit);
    const std::string tooltip =
        absl::StrCat(RunTime(exit->at_ns()), "\n", service, " ", words, ", pid ", exit->pid(),
                     exit->message().empty() ? "" : "\n", exit->message());
    ribbon.Sign(y, exit->at_ns(), kCross, exit->expected() ? "sign sign-exit" : "sign sign-crash", "",
                tooltip, free_from);
  }
}

void Broken(const RunResult& result, double y, Ribbon& ribbon) {
  ribbon.Name(y, "broken");
  double free_from = 0;
  std::vector<const Verdict*> broken;
  for (const Verdict& verdict : result.verdicts()) {
    if (verdict.first_broken_ns() > 0) broken.push_back(&verdict);
  }
  std::stable_sort(broken.begin(), broken.end(), [](const Verdict* a, const Verdict* b) {
    return a->first_broken_ns() < b->first_broken_ns();
  });
  for (const Verdict* verdict : broken) {
    const std::string tooltip =
        absl::StrCat(RunTime(verdict->first_broken_ns()), "\n", verdict->assertion(), " first broken");
    ribbon.Sign(y, verdict->first_broken_ns(), kTriangle, "sign sign-broken",
                absl::StrCat(verdict->assertion(), " first broken"), tooltip, free_from);
  }
}

}  // namespace

std::vector<int> Lanes(const std::vector<TimeFrame::Span>& spans) {
  std::vector<int> lanes;
  std::vector<int64_t> ends;  // of the last span in each lane
  for (const auto& span : spans) {
    const auto lane =
        std::find_if(ends.begin(), ends.end(), [&](int64_t end) { return end <= span.from_ns; });
    lanes.push_back(static_cast<int>(lane - ends.begin()));
    if (lane == ends.end()) {
      ends.push_back(span.to_ns);
    } else {
      *lane = span.to_ns;
    }
  }
  return lanes;
}

std::string ServiceWord(const ServiceEvent& event) {
  switch (event.what()) {
    case ServiceEvent::ATTACHED:
      return "attached";
    case ServiceEvent::STARTED:
      return "started";
    case ServiceEvent::READY:
      return "ready";
    case ServiceEvent::EXITED:
      return event.expected() ? "exited as asked" : "exited unasked";
    default:
      return "unknown";
  }
}

std::string RenderRibbon(const RunResult& result, const Timeline& timeline, const TimeFrame& frame,
                         const ChartSize& size) {
  const std::vector<int> lanes = Lanes(frame.faults);
  const int fault_lanes = lanes.empty() ? 0 : *std::max_element(lanes.begin(), lanes.end()) + 1;
  const bool any_broken = std::any_of(result.verdicts().begin(), result.verdicts().end(),
                                      [](const Verdict& verdict) { return verdict.first_broken_ns() > 0; });
  const std::vector<std::string> services = ServicesOf(timeline);
  const int rows = 1 + fault_lanes + static_cast<int>(services.size()) + (any_broken ? 1 : 0);
  Ribbon ribbon(frame, size, 4 + rows * kStep + size.bottom, Description(timeline, frame));
  double y = 4;
  Phases(timeline, frame, y, ribbon);
  y += kStep;
  if (fault_lanes > 0) Faults(result, frame, lanes, y, ribbon);
  y += kStep * fault_lanes;
  for (const std::string& service : services) {
    Lifetime(timeline, frame, service, y, ribbon);
    y += kStep;
  }
  if (any_broken) {
    Broken(result, y, ribbon);
    y += kStep;
  }
  ribbon.TimeAxis(y);
  return ribbon.Finish();
}

}  // namespace squall
