#include "base/metric_series.h"

#include <cstdint>
#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"

namespace squall {
namespace {

void SkipBlanks(absl::string_view& text) {
  while (!text.empty() && (text[0] == ' ' || text[0] == '\t')) text.remove_prefix(1);
}

// [a-zA-Z_:][a-zA-Z0-9_:]*; empty when it begins with something else.
std::string TakeName(absl::string_view& text) {
  size_t size = 0;
  while (size < text.size() && (absl::ascii_isalpha(text[size]) || text[size] == '_' || text[size] == ':' ||
                                (size > 0 && absl::ascii_isdigit(text[size])))) {
    ++size;
  }
  std::string name(text.substr(0, size));
  text.remove_prefix(size);
  return name;
}

// A value in quotes.
std::optional<std::string> TakeValue(absl::string_view& text) {
  if (!absl::ConsumePrefix(&text, "\"")) return std::nullopt;
  std::string value;
  while (!text.empty()) {
    const char c = text[0];
    text.remove_prefix(1);
    if (c == '"') return value;
    if (c != '\\') {
      value += c;
      continue;
    }
    if (text.empty()) return std::nullopt;
    value += text[0] == 'n' ? '\n' : text[0];
    text.remove_prefix(1);
  }
  return std::nullopt;
}

// Whether what stood between the braces, both of them included, is well-formed.
bool TakeLabels(absl::string_view& text, std::map<std::string, std::string>& labels) {
  if (!absl::ConsumePrefix(&text, "{")) return true;
  while (true) {
    SkipBlanks(text);
    if (absl::ConsumePrefix(&text, "}")) return true;  // a comma may stand before it
    std::string name = TakeName(text);
    SkipBlanks(text);
    if (name.empty() || !absl::ConsumePrefix(&text, "=")) return false;
    SkipBlanks(text);
    std::optional<std::string> value = TakeValue(text);
    if (!value || !labels.emplace(std::move(name), *std::move(value)).second) return false;
    SkipBlanks(text);
    if (!absl::ConsumePrefix(&text, ",") && (text.empty() || text[0] != '}')) return false;
  }
}

std::optional<MetricSeries> TakeSeries(absl::string_view& text) {
  MetricSeries series;
  series.name = TakeName(text);
  if (series.name.empty()) return std::nullopt;
  absl::string_view rest = text;
  SkipBlanks(rest);
  if (!rest.empty() && rest[0] == '{') text = rest;
  if (!TakeLabels(text, series.labels)) return std::nullopt;
  return series;
}

}  // namespace

std::string MetricSeries::Text() const {
  if (labels.empty()) return name;
  std::string out = absl::StrCat(name, "{");
  for (const auto& [label, value] : labels) {
    absl::StrAppend(&out, out.back() == '{' ? "" : ",", label, "=\"");
    for (const char c : value) {
      if (c == '\\' || c == '"') out += '\\';
      if (c == '\n') {
        out += "\\n";
      } else {
        out += c;
      }
    }
    out += '"';
  }
  return out + "}";
}

std::optional<MetricSeries> ParseMetricSeries(absl::string_view text) {
  std::optional<MetricSeries> series = TakeSeries(text);
  return text.empty() ? series : std::nullopt;
}

std::optional<MetricLine> ParseMetricLine(absl::string_view line) {
  line = absl::StripAsciiWhitespace(line);
  std::optional<MetricSeries> series = TakeSeries(line);
  if (!series || line.empty() || !absl::ascii_isspace(line[0])) return std::nullopt;
  const std::vector<absl::string_view> fields =
      absl::StrSplit(line, absl::ByAnyChar(" \t"), absl::SkipEmpty());
  MetricLine parsed;
  int64_t timestamp;
  if (fields.empty() || fields.size() > 2 || !absl::SimpleAtod(fields[0], &parsed.value)) return std::nullopt;
  if (fields.size() == 2 && !absl::SimpleAtoi(fields[1], &timestamp)) return std::nullopt;
  parsed.series = *std::move(series);
  return parsed;
}

}  // namespace squall
