#include "controller/report/svg.h"

#include <algorithm>
#include <cmath>
#include <iterator>
#include <numeric>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "controller/report/escape.h"

namespace squall {
namespace {

constexpr int64_t kSecond = 1'000'000'000;

// The least of 1, 2, 5 times a power of ten that is not below `value`, a hair of rounding aside.
double RoundUp125(double value) {
  const double power = std::pow(10.0, std::floor(std::log10(value)));
  for (const double factor : {1.0, 2.0, 5.0}) {
    if (factor * power >= value * (1 - 1e-9)) return factor * power;
  }
  return 10 * power;
}

// The greatest of them that is not above `value`.
double RoundDown125(double value) {
  const double power = std::pow(10.0, std::floor(std::log10(value) + 1e-9));
  for (const double factor : {5.0, 2.0}) {
    if (factor * power <= value * (1 + 1e-9)) return factor * power;
  }
  return power;
}

std::string TitleElement(absl::string_view tooltip) {
  return tooltip.empty() ? "" : absl::StrCat("<title>", Escape(tooltip), "</title>");
}

}  // namespace

Scale Scale::Linear(double from, double to, double start, double end) {
  return Scale(false, from, to, start, end);
}

Scale Scale::Log(double from, double to, double start, double end) {
  return Scale(true, std::log10(from), std::log10(to), start, end);
}

double Scale::operator()(double value) const {
  if (log_ && value <= 0) return start_;
  const double position = ((log_ ? std::log10(value) : value) - from_) / (to_ - from_);
  return start_ + position * (end_ - start_);
}

std::vector<double> LinearTicks(double highest, int about, bool whole, double unit) {
  double step = RoundUp125(std::max(highest / unit, 1e-9) / std::max(about, 1));
  if (whole) step = std::max(step, 1.0);
  std::vector<double> ticks = {0};
  do {
    ticks.push_back(step * unit * static_cast<double>(ticks.size()));
  } while (step * unit * static_cast<double>(ticks.size()) <= highest * (1 + 1e-9));
  return ticks;
}

std::vector<double> LogTicks(double lowest, double highest, int most) {
  double tick = RoundDown125(lowest);
  std::vector<double> ticks = {tick};
  while (ticks.back() < highest * (1 - 1e-9) || ticks.size() < 2) {
    tick = RoundUp125(ticks.back() * 1.5);
    ticks.push_back(tick);
  }
  if (static_cast<int>(ticks.size()) <= most) return ticks;
  const double first = std::pow(10.0, std::floor(std::log10(lowest) + 1e-9));
  ticks = {first};
  while (ticks.back() < highest * (1 - 1e-9)) ticks.push_back(ticks.back() * 10);
  return ticks;
}

std::vector<int64_t> TimeTicks(int64_t end_ns, int most) {
  static constexpr int64_t kSteps[] = {1,   2,   5,    10,   15,   20,   30,    60,    120,
                                       300, 600, 1200, 1800, 3600, 7200, 14400, 43200, 86400};
  const int64_t* chosen = std::find_if(std::begin(kSteps), std::end(kSteps) - 1,
                                       [&](int64_t step) { return end_ns / (step * kSecond) < most; });
  std::vector<int64_t> ticks;
  for (int64_t at = 0; at <= end_ns; at += *chosen * kSecond) ticks.push_back(at);
  return ticks;
}

std::string TimeTickLabel(int64_t ns, int64_t end_ns) {
  const int64_t seconds = ns / kSecond;
  if (end_ns <= 120 * kSecond) return absl::StrCat(seconds, " s");
  if (end_ns <= 7200 * kSecond) return absl::StrFormat("%d:%02d", seconds / 60, seconds % 60);
  return absl::StrFormat("%d:%02d h", seconds / 3600, seconds / 60 % 60);
}

std::vector<double> MoveApart(const std::vector<double>& wanted, double gap, double low, double high) {
  std::vector<size_t> order(wanted.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return wanted[a] < wanted[b]; });
  std::vector<double> placed(wanted.size());
  // Downwards from the first, then back upwards from the end of the room.
  double least = low;
  for (const size_t i : order) {
    placed[i] = std::max(wanted[i], least);
    least = placed[i] + gap;
  }
  double most = high;
  for (auto i = order.rbegin(); i != order.rend(); ++i) {
    placed[*i] = std::min(placed[*i], most);
    most = placed[*i] - gap;
  }
  return placed;
}

double TextWidth(absl::string_view text, double font_size) {
  return 0.68 * font_size * DisplayWidth(ValidText(text));
}

std::string Shortened(absl::string_view text, double width, double font_size) {
  const std::string valid = ValidText(text);
  if (TextWidth(valid, font_size) <= width) return valid;
  std::string out;
  for (size_t i = 0; i < valid.size();) {
    // A code point is a byte and the continuation bytes (10xxxxxx) after it.
    size_t next = i + 1;
    while (next < valid.size() && (valid[next] & 0xC0) == 0x80) ++next;
    const std::string longer = absl::StrCat(out, absl::string_view(valid).substr(i, next - i));
    if (TextWidth(absl::StrCat(longer, "…"), font_size) > width) break;
    out = longer;
    i = next;
  }
  return out + "…";
}

std::string Coordinate(double value) {
  std::string text = absl::StrFormat("%.1f", std::isfinite(value) ? value : 0.0);
  if (text.size() > 2 && text.substr(text.size() - 2) == ".0") text.resize(text.size() - 2);
  return text == "-0" ? "0" : text;
}

Svg::Svg(absl::string_view id, double width, double height, absl::string_view title,
         absl::string_view description) {
  absl::StrAppend(&out_, "<svg viewBox=\"0 0 ", Coordinate(width), " ", Coordinate(height),
                  "\" role=\"img\" aria-labelledby=\"", Escape(id), "-t ", Escape(id), "-d\">");
  absl::StrAppend(&out_, "<title id=\"", Escape(id), "-t\">", Escape(title), "</title><desc id=\"",
                  Escape(id), "-d\">", Escape(description), "</desc>\n");
}

void Svg::Rect(double x, double y, double width, double height, absl::string_view css_class,
               absl::string_view tooltip) {
  absl::StrAppend(&out_, "<rect class=\"", css_class, "\" x=\"", Coordinate(x), "\" y=\"", Coordinate(y));
  absl::StrAppend(&out_, "\" width=\"", Coordinate(std::max(width, 0.0)), "\" height=\"",
                  Coordinate(std::max(height, 0.0)), "\">", TitleElement(tooltip), "</rect>\n");
}

void Svg::Line(double x1, double y1, double x2, double y2, absl::string_view css_class) {
  absl::StrAppend(&out_, "<line class=\"", css_class, "\" x1=\"", Coordinate(x1), "\" y1=\"", Coordinate(y1));
  absl::StrAppend(&out_, "\" x2=\"", Coordinate(x2), "\" y2=\"", Coordinate(y2), "\"/>\n");
}

void Svg::Path(absl::string_view data, absl::string_view css_class, absl::string_view tooltip) {
  absl::StrAppend(&out_, "<path class=\"", css_class, "\" d=\"", data, "\">", TitleElement(tooltip),
                  "</path>\n");
}

void Svg::Text(double x, double y, Anchor anchor, absl::string_view css_class, absl::string_view text) {
  const absl::string_view side = anchor == Anchor::kStart    ? "start"
                                 : anchor == Anchor::kMiddle ? "middle"
                                                             : "end";
  absl::StrAppend(&out_, "<text class=\"", css_class, "\" x=\"", Coordinate(x), "\" y=\"", Coordinate(y));
  absl::StrAppend(&out_, "\" text-anchor=\"", side, "\">", Escape(text), "</text>\n");
}

std::string Svg::Finish() {
  std::string out = absl::StrCat(out_, "</svg>\n");
  out_.clear();
  return out;
}

}  // namespace squall
