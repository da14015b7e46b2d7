#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "controller/report/series.h"
#include "controller/report/svg.h"

// Charts over the time of a run. Every chart of a report has the same time axis, faults shaded and phases
// marked. Pure.

namespace squall {

// What all charts of a run share.
struct TimeFrame {
  struct Span {
    std::string name;
    int64_t from_ns = 0;
    int64_t to_ns = 0;
  };
  TimeBins bins;
  std::vector<Span> faults;
  std::vector<int64_t> boundaries;  // where one phase ends and the next begins
};

// From the injection of each fault to its confirmed healing, or to the end of the run.
TimeFrame MakeTimeFrame(const Timeline& timeline);

// Where things are in a chart, in units of its viewBox.
struct ChartSize {
  double width = 960;
  double left = 88;    // room for the values of the axis and the names of lanes
  double right = 144;  // room for labels at the ends of curves
  double top = 22;     // room for the names of the faults
  double plot = 160;   // the height of the plot itself
  double bottom = 22;  // room for the time axis
  double font = 12;
  int time_ticks = 16;
  int value_ticks = 4;
  bool names_faults = true;

  double Height() const { return top + plot + bottom; }
  double End() const { return width - right; }
};

struct TimeChart {
  // Layers are stacked in their order, from the bottom up; curves are drawn over them. `style` is the part of
  // the CSS class after "layer-" or "curve-".
  struct Layer {
    std::string name;
    std::string style;
    Series values;
  };
  struct Curve {
    std::string name;  // written at the end of the curve
    std::string style;
    Series values;
    bool stepped = false;  // a value holds for its whole bin
    bool filled = false;   // with the area below
  };
  struct Limit {
    std::string name;
    double value = 0;
  };
  struct Mark {  // on the time axis
    int64_t at_ns = 0;
    std::string tooltip;
  };

  std::string id;
  std::string title;
  std::string description;
  bool logarithmic = false;
  bool whole = false;       // no fractions on the axis
  double unit = 1;          // of which the ticks are round multiples, such as 1 MiB
  double top_at_least = 1;  // in full, without room above it
  std::function<std::string(double)> format;
  std::vector<Layer> layers;
  std::vector<Curve> curves;
  std::vector<Limit> limits;
  std::vector<Mark> marks;
};

// The ticks and labels of the time axis at `y`.
void DrawTimeTicks(Svg& svg, const TimeFrame& frame, const ChartSize& size, double y);

// An <svg>.
std::string RenderChart(const TimeChart& chart, const TimeFrame& frame, const ChartSize& size);

}  // namespace squall
