#pragma once

#include <map>
#include <optional>
#include <string>

#include "absl/strings/string_view.h"

namespace squall {

// A time series as Prometheus' text format names it: name{a="x",b="y"}. A value type.
struct MetricSeries {
  std::string name;
  std::map<std::string, std::string> labels;

  // With labels in their order, and quotes, backslashes and line feeds in their values escaped.
  // ParseMetricSeries reads it.
  std::string Text() const;
};

// nullopt when it is not well-formed to its end.
std::optional<MetricSeries> ParseMetricSeries(absl::string_view text);

// A line of a page in the text format, version 0.0.4: series, value and, ignored, a timestamp. nullopt for
// comments, empty lines and what is not well-formed.
struct MetricLine {
  MetricSeries series;
  double value = 0;
};
std::optional<MetricLine> ParseMetricLine(absl::string_view line);

}  // namespace squall
