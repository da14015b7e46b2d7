#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"

// What charts are made of: scales, ticks, labels that do not overlap, and a writer of SVG. Pure; looks come
// from CSS classes.

namespace squall {

// Maps a value to a coordinate, linearly or by its logarithm.
class Scale {
 public:
  static Scale Linear(double from, double to, double start, double end);
  // Values at or below zero map to `start`. REQUIRES: 0 < from < to
  static Scale Log(double from, double to, double start, double end);
  double operator()(double value) const;

 private:
  Scale(bool log, double from, double to, double start, double end)
      : log_(log), from_(from), to_(to), start_(start), end_(end) {}
  bool log_;
  double from_, to_, start_, end_;
};

// 0 and multiples of 1, 2 or 5 times a power of ten of `unit`, about `about` of them above 0 and none above
// `highest`. With `whole`, no fractions. At least two ticks, so that there is a scale.
std::vector<double> LinearTicks(double highest, int about, bool whole, double unit = 1);

// 1, 2 and 5 times powers of ten that enclose [lowest, highest]; only powers of ten where that would be more
// than `most`. REQUIRES: 0 < lowest <= highest
std::vector<double> LogTicks(double lowest, double highest, int most);

// Moments from 0 to `end_ns` for a time axis, at steps that people count in, at most `most` of them.
std::vector<int64_t> TimeTicks(int64_t end_ns, int most);
// "15 s" or, on axes longer than two minutes, "2:30" (minutes) or, longer than two hours, "1:30 h".
std::string TimeTickLabel(int64_t ns, int64_t end_ns);

// Moves labels apart that want to stand at `wanted` until they are at least `gap` from each other, within
// [low, high] as far as there is room. Keeps the order of the values.
std::vector<double> MoveApart(const std::vector<double>& wanted, double gap, double low, double high);

// The width that `text` takes at a font size, estimated generously for a sans-serif font.
double TextWidth(absl::string_view text, double font_size);

// `text`, its end replaced by "…" where it would be wider than `width`.
std::string Shortened(absl::string_view text, double width, double font_size);

enum class Anchor { kStart, kMiddle, kEnd };

// Writes one <svg> that scales to the width of its container. All text is escaped here. Not thread-safe.
class Svg {
 public:
  // `id` must be unique in the document. `title` and `description` are what a screen reader says.
  Svg(absl::string_view id, double width, double height, absl::string_view title,
      absl::string_view description);

  // A `tooltip` is shown when the mouse rests on the shape; empty: none.
  void Rect(double x, double y, double width, double height, absl::string_view css_class,
            absl::string_view tooltip = "");
  void Line(double x1, double y1, double x2, double y2, absl::string_view css_class);
  void Path(absl::string_view data, absl::string_view css_class, absl::string_view tooltip = "");
  void Text(double x, double y, Anchor anchor, absl::string_view css_class, absl::string_view text);

  // The finished element. The writer is empty afterwards.
  std::string Finish();

 private:
  std::string out_;
};

// A coordinate with at most one decimal.
std::string Coordinate(double value);

}  // namespace squall
