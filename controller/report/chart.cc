#include "controller/report/chart.h"

#include <algorithm>
#include <cmath>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "controller/report/words.h"

namespace squall {
namespace {

// The values that a logarithmic axis must show.
std::optional<std::pair<double, double>> PositiveRange(const TimeChart& chart) {
  std::optional<std::pair<double, double>> range;
  const auto take = [&](double value) {
    if (!std::isfinite(value) || value <= 0) return;
    if (!range) range = {value, value};
    range->first = std::min(range->first, value);
    range->second = std::max(range->second, value);
  };
  for (const auto& curve : chart.curves) std::for_each(curve.values.begin(), curve.values.end(), take);
  for (const auto& limit : chart.limits) take(limit.value);
  return range;
}

double StackedAt(const TimeChart& chart, size_t layers, int bin) {
  double sum = 0;
  for (size_t i = 0; i < layers; ++i) {
    if (std::isfinite(chart.layers[i].values[bin])) sum += chart.layers[i].values[bin];
  }
  return sum;
}

double HighestOf(const TimeChart& chart, const TimeBins& bins) {
  double highest = 0;
  for (int i = 0; i < bins.count; ++i) highest = std::max(highest, StackedAt(chart, chart.layers.size(), i));
  for (const auto& curve : chart.curves) highest = std::max(highest, Highest(curve.values, 0));
  for (const auto& limit : chart.limits) highest = std::max(highest, limit.value);
  // A little room, so that what touches the highest value can still be seen.
  return std::max(chart.top_at_least, highest * 1.06);
}

class Drawing {
 public:
  Drawing(const TimeChart& chart, const TimeFrame& frame, const ChartSize& size)
      : chart_(chart),
        frame_(frame),
        bins_(frame.bins),
        size_(size),
        bottom_(size.top + size.plot),
        x_(Scale::Linear(0, static_cast<double>(bins_.end_ns), size.left, size.End())),
        y_(Scale::Linear(0, 1, bottom_, size.top)),
        svg_(chart.id, size.width, size.Height(), chart.title, chart.description) {
    const auto range = chart.logarithmic ? PositiveRange(chart) : std::nullopt;
    if (range) {
      ticks_ = LogTicks(range->first, range->second, size.value_ticks * 2);
      y_ = Scale::Log(ticks_.front(), ticks_.back(), bottom_, size.top);
    } else {
      const double highest = HighestOf(chart, bins_);
      ticks_ = LinearTicks(highest, size.value_ticks, chart.whole, chart.unit);
      y_ = Scale::Linear(0, std::max(highest, ticks_.back()), bottom_, size.top);
    }
  }

  std::string Draw() {
    Faults();
    Axes();
    for (size_t i = 0; i < chart_.layers.size(); ++i) Layer(i);
    FaultEdges();
    for (const int64_t at : frame_.boundaries) {
      svg_.Line(X(at), size_.top, X(at), bottom_, "boundary");
    }
    for (const auto& limit : chart_.limits) {
      svg_.Line(size_.left, y_(limit.value), size_.End(), y_(limit.value), "limit");
    }
    for (const auto& curve : chart_.curves) Curve(curve);
    Marks();
    EndLabels();
    Tooltips();
    return svg_.Finish();
  }

 private:
  double X(int64_t ns) const { return x_(static_cast<double>(std::clamp<int64_t>(ns, 0, bins_.end_ns))); }
  double Middle(int bin) const { return (X(bins_.Start(bin)) + X(bins_.End(bin))) / 2; }

  void Faults() {
    double free_from = size_.left;
    for (const auto& span : frame_.faults) {
      // An instant must be seen too.
      const double from = X(span.from_ns), width = std::max(X(span.to_ns) - from, 2.0);
      svg_.Rect(from, size_.top, width, size_.plot, "fault");
      if (!size_.names_faults) continue;
      const double half = TextWidth(span.name, size_.font) / 2;
      const double middle = std::clamp(from + width / 2, size_.left + half, size_.width - half);
      if (middle - half < free_from) continue;
      svg_.Text(middle, size_.top - 7, Anchor::kMiddle, "fault-name", span.name);
      free_from = middle + half + size_.font;
    }
  }

  // Layers hide the shading below them: edges and a bracket stay visible.
  void FaultEdges() {
    for (const auto& span : frame_.faults) {
      const double from = X(span.from_ns), to = std::max(X(span.to_ns), from + 2.0);
      svg_.Rect(from, size_.top - 3, to - from, 3, "fault-bracket");
      svg_.Line(from, size_.top, from, bottom_, "fault-edge");
      if (span.to_ns < bins_.end_ns) svg_.Line(to, size_.top, to, bottom_, "fault-edge");
    }
  }

  void Axes() {
    for (const double tick : ticks_) {
      svg_.Line(size_.left, y_(tick), size_.End(), y_(tick), tick == ticks_.front() ? "axis" : "grid");
      svg_.Text(size_.left - 8, y_(tick) + size_.font * 0.35, Anchor::kEnd, "tick", chart_.format(tick));
    }
    DrawTimeTicks(svg_, frame_, size_, bottom_);
  }

  // The outline of a layer in steps: forwards along its top, backwards along its bottom.
  void Layer(size_t index) {
    const auto& layer = chart_.layers[index];
    if (Highest(layer.values, 0) <= 0) return;
    std::string path, back;
    for (int i = 0; i < bins_.count; ++i) {
      const std::string from = Coordinate(X(bins_.Start(i))), to = Coordinate(X(bins_.End(i)));
      const std::string top = Coordinate(y_(StackedAt(chart_, index + 1, i)));
      const std::string floor = Coordinate(y_(StackedAt(chart_, index, i)));
      absl::StrAppend(&path, i == 0 ? "M" : "L", from, " ", top, "H", to);
      back = absl::StrCat("L", to, " ", floor, "H", from, back);
    }
    svg_.Path(absl::StrCat(path, back, "Z"), absl::StrCat("layer-", layer.style));
  }

  // Curves break where nothing is known.
  void Curve(const TimeChart::Curve& curve) {
    std::string line, area;
    std::string run, run_from, run_to;
    const auto end_run = [&] {
      if (run.empty()) return;
      absl::StrAppend(&line, "M", run);
      const std::string floor = Coordinate(bottom_);
      absl::StrAppend(&area, "M", run_from, " ", floor, "L", run, "L", run_to, " ", floor, "Z");
      run.clear();
    };
    for (int i = 0; i < bins_.count; ++i) {
      if (!std::isfinite(curve.values[i])) {
        end_run();
        continue;
      }
      const std::string y = Coordinate(y_(curve.values[i]));
      const std::string from = Coordinate(curve.stepped ? X(bins_.Start(i)) : Middle(i));
      run_to = curve.stepped ? Coordinate(X(bins_.End(i))) : from;
      if (run.empty()) run_from = from;
      // "h0": a lone point is drawn as a dot by its round cap.
      absl::StrAppend(&run, run.empty() ? "" : "L", from, " ", y,
                      curve.stepped ? absl::StrCat("H", run_to) : std::string("h0"));
    }
    end_run();
    if (line.empty()) return;
    if (curve.filled) svg_.Path(area, absl::StrCat("area-", curve.style));
    svg_.Path(line, absl::StrCat("curve curve-", curve.style));
  }

  void Marks() {
    for (const auto& mark : chart_.marks) {
      const std::string data =
          absl::StrCat("M", Coordinate(X(mark.at_ns)), " ", Coordinate(bottom_ - 9), "l4.5 9h-9z");
      svg_.Path(data, "mark", mark.tooltip);
    }
  }

  // Names at the right end of curves and limits, moved apart, with a thin leader where one had to move far.
  void EndLabels() {
    struct Label {
      std::string text, css_class;
      double y;
    };
    std::vector<Label> labels;
    for (const auto& limit : chart_.limits) labels.push_back({limit.name, "end-limit", y_(limit.value)});
    for (const auto& curve : chart_.curves) {
      const auto last = std::find_if(curve.values.rbegin(), curve.values.rend(),
                                     [](double value) { return std::isfinite(value); });
      if (curve.name.empty() || last == curve.values.rend()) continue;
      labels.push_back({curve.name, absl::StrCat("end-", curve.style), y_(*last)});
    }
    std::vector<double> wanted;
    for (const Label& label : labels) wanted.push_back(label.y);
    const std::vector<double> placed = MoveApart(wanted, size_.font + 3, size_.top + 4, bottom_);
    for (size_t i = 0; i < labels.size(); ++i) {
      svg_.Line(size_.End() + 2, labels[i].y, size_.End() + 9, placed[i],
                absl::StrCat("leader ", labels[i].css_class));
      svg_.Text(size_.End() + 12, placed[i] + size_.font * 0.35, Anchor::kStart,
                absl::StrCat("end ", labels[i].css_class), labels[i].text);
    }
  }

  // One invisible column a bin, which says its figures when the mouse rests on it. Marks lie below: repeat
  // what they say.
  void Tooltips() {
    for (int i = 0; i < bins_.count; ++i) {
      std::string text = absl::StrCat(RunTime(bins_.Start(i)), " to ", RunTime(bins_.End(i)));
      for (const auto& curve : chart_.curves) Figure(curve.name, curve.values[i], text);
      for (auto layer = chart_.layers.rbegin(); layer != chart_.layers.rend(); ++layer) {
        if (layer->values[i] > 0) Figure(layer->name, layer->values[i], text);
      }
      for (const auto& mark : chart_.marks) {
        if (bins_.Index(mark.at_ns) == i) absl::StrAppend(&text, "\n", mark.tooltip);
      }
      const double from = X(bins_.Start(i));
      svg_.Rect(from, size_.top, X(bins_.End(i)) - from, size_.plot, "hover", text);
    }
  }

  void Figure(const std::string& name, double value, std::string& text) const {
    if (!std::isfinite(value)) return;
    absl::StrAppend(&text, "\n", name.empty() ? chart_.title : name, ": ", chart_.format(value));
  }

  const TimeChart& chart_;
  const TimeFrame& frame_;
  const TimeBins& bins_;
  const ChartSize& size_;
  const double bottom_;
  std::vector<double> ticks_;
  Scale x_, y_;
  Svg svg_;
};

}  // namespace

TimeFrame MakeTimeFrame(const Timeline& timeline) {
  TimeFrame frame;
  int64_t end_ns = timeline.last_ns;
  if (timeline.footer) end_ns = std::max(end_ns, timeline.footer->at_ns());
  frame.bins = MakeBins(end_ns);
  for (const FaultSpan& fault : timeline.faults) {
    if (!fault.injected_ns) continue;
    frame.faults.push_back({fault.name, *fault.injected_ns, fault.healed_ns.value_or(frame.bins.end_ns)});
  }
  std::stable_sort(frame.faults.begin(), frame.faults.end(),
                   [](const auto& a, const auto& b) { return a.from_ns < b.from_ns; });
  for (const PhaseEvent& phase : timeline.phases) {
    if (phase.at_ns() > 0 && phase.at_ns() < frame.bins.end_ns) frame.boundaries.push_back(phase.at_ns());
  }
  return frame;
}

void DrawTimeTicks(Svg& svg, const TimeFrame& frame, const ChartSize& size, double y) {
  const int64_t end_ns = frame.bins.end_ns;
  const Scale x = Scale::Linear(0, static_cast<double>(end_ns), size.left, size.End());
  for (const int64_t at : TimeTicks(end_ns, size.time_ticks)) {
    const double tick = x(static_cast<double>(at));
    const std::string label = TimeTickLabel(at, end_ns);
    svg.Line(tick, y, tick, y + 4, "axis");
    // The last label must not run out of the picture.
    svg.Text(std::min(tick, size.width - TextWidth(label, size.font) / 2), y + size.font + 6, Anchor::kMiddle,
             "tick", label);
  }
}

std::string RenderChart(const TimeChart& chart, const TimeFrame& frame, const ChartSize& size) {
  return Drawing(chart, frame, size).Draw();
}

}  // namespace squall
