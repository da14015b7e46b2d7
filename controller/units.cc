#include "controller/units.h"

#include <array>
#include <cmath>
#include <limits>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "controller/wording.h"

namespace squall {
namespace {

// No quantity in a scenario needs more characters; a longer text is not even looked at.
constexpr size_t kLongest = 64;
constexpr absl::Duration kLongestDuration = absl::Hours(1000);

// A plain decimal number and what follows it.
struct Quantity {
  absl::string_view number;
  absl::string_view unit;
};

Quantity Split(absl::string_view text) {
  size_t end = 0;
  bool point = false;
  while (end < text.size() && (absl::ascii_isdigit(text[end]) || (text[end] == '.' && !point))) {
    point = point || text[end] == '.';
    ++end;
  }
  return {text.substr(0, end), text.substr(end)};
}

bool IsNumber(absl::string_view text) { return text.find_first_of("0123456789") != absl::string_view::npos; }

template <typename... Args>
absl::Status Wrong(const Args&... args) {
  return absl::InvalidArgumentError(absl::StrCat(args...));
}

template <typename... Args>
absl::Status WrongText(absl::string_view text, const Args&... args) {
  return Wrong(Quoted(text), " ", args...);
}

absl::string_view Stripped(absl::string_view text) { return absl::StripAsciiWhitespace(text); }

// Units that people write elsewhere, and what they are called here.
using Synonyms = std::vector<std::pair<absl::string_view, absl::string_view>>;

absl::string_view Meant(absl::string_view unit, const Synonyms& synonyms) {
  const std::string lower = absl::AsciiStrToLower(Stripped(unit));
  for (const auto& [other, ours] : synonyms) {
    if (lower == other) return ours;
  }
  return "";
}

const Synonyms& DurationSynonyms() {
  static const auto& synonyms =
      *new Synonyms{{"ms", "ms"},    {"s", "s"},         {"m", "m"},       {"h", "h"},       {"us", "us"},
                    {"ns", "ns"},    {"msec", "ms"},     {"msecs", "ms"},  {"millis", "ms"}, {"sec", "s"},
                    {"secs", "s"},   {"second", "s"},    {"seconds", "s"}, {"min", "m"},     {"mins", "m"},
                    {"minute", "m"}, {"minutes", "m"},   {"hr", "h"},      {"hour", "h"},    {"hours", "h"},
                    {"usec", "us"},  {"\xC2\xB5s", "us"}};
  return synonyms;
}

}  // namespace

absl::StatusOr<absl::Duration> ParseDurationText(absl::string_view text) {
  if (text.size() > kLongest) return WrongText(text, "is not a duration; write for example 500ms");
  const Quantity first = Split(text);
  if (IsNumber(first.number) && first.unit.empty()) {
    if (text == "0") return Wrong("a bare 0 has no unit; write 0s");
    return Wrong("a bare number has no unit; write ", text, "ms or ", text, "s");
  }
  if (absl::StartsWith(text, "-")) return WrongText(text, "is negative; write ", text.substr(1));
  absl::Duration duration;
  if (!IsNumber(first.number) || !absl::ParseDuration(text, &duration)) {
    const absl::string_view unit = Meant(first.unit, DurationSynonyms());
    if (IsNumber(first.number) && !unit.empty()) {
      return WrongText(text, "is not a duration; write ", first.number, unit);
    }
    return WrongText(
        text, "is not a duration; write a number and ns, us, ms, s, m or h, for example 500ms or 1m30s");
  }
  if (duration > kLongestDuration) return WrongText(text, "is too long; write 1000h or less");
  return duration;
}

absl::StatusOr<double> ParseRate(absl::string_view text) {
  static const auto& synonyms = *new Synonyms{
      {"rps", "/s"}, {"qps", "/s"},   {"/sec", "/s"},   {"/second", "/s"},   {"per second", "/s"},
      {"hz", "/s"},  {"rpm", "/min"}, {"/m", "/min"},   {"/minute", "/min"}, {"/hour", "/h"},
      {"/ s", "/s"}, {"/s", "/s"},    {"/min", "/min"}, {"req/s", "/s"},     {"r/s", "/s"}};
  if (text.size() > kLongest) return WrongText(text, "is not a rate; write for example 200/s");
  const auto [number, unit] = Split(text);
  double value = 0;
  if (!IsNumber(number) || !absl::SimpleAtod(number, &value)) {
    return WrongText(text, "is not a rate; write a number and /s, /min or /h, for example 200/s");
  }
  if (unit == "/s") return value;
  if (unit == "/min") return value / 60;
  if (unit == "/h") return value / 3600;
  if (unit.empty()) return Wrong("a bare number has no unit; write ", number, "/s");
  const absl::string_view meant = Meant(unit, synonyms);
  if (!meant.empty()) return WrongText(text, "is not a rate; write ", number, meant);
  return WrongText(text, "is not a rate; write a number and /s, /min or /h, for example ", number, "/s");
}

absl::StatusOr<double> ParsePercent(absl::string_view text) {
  if (text.size() > kLongest) return WrongText(text, "is not a percentage; write for example 10%");
  const auto [number, unit] = Split(text);
  double value = 0;
  if (!IsNumber(number) || !absl::SimpleAtod(number, &value)) {
    return WrongText(text, "is not a percentage; write a number and %, for example 10%");
  }
  if (unit == "%") return value;
  if (unit.empty() && value > 0 && value < 1) {
    return Wrong("a bare number has no unit; write ", number, "% or ", value * 100, "%");
  }
  if (unit.empty()) return Wrong("a bare number has no unit; write ", number, "%");
  return WrongText(text, "is not a percentage; write ", number, "%");
}

absl::StatusOr<int64_t> ParseBytes(absl::string_view text) {
  static const auto& synonyms =
      *new Synonyms{{"b", "B"},     {"byte", "B"},  {"bytes", "B"}, {"k", "KiB"},   {"kb", "KiB"},
                    {"kib", "KiB"}, {"m", "MiB"},   {"mb", "MiB"},  {"mib", "MiB"}, {"g", "GiB"},
                    {"gb", "GiB"},  {"gib", "GiB"}, {"tb", "TiB"},  {"tib", "TiB"}};
  static constexpr std::array<absl::string_view, 5> kUnits = {"B", "KiB", "MiB", "GiB", "TiB"};
  if (text.size() > kLongest) return WrongText(text, "is not a size; write for example 64KiB");
  const auto [number, unit] = Split(text);
  double value = 0;
  if (!IsNumber(number) || !absl::SimpleAtod(number, &value)) {
    return WrongText(text, "is not a size; write a number and B, KiB, MiB, GiB or TiB, for example 64KiB");
  }
  if (unit.empty()) return Wrong("a bare number has no unit; write ", number, "B or ", number, "KiB");
  for (absl::string_view known : kUnits) {
    if (unit == known) {
      if (value != std::floor(value))
        return WrongText(text, "is not a whole number of bytes; write a smaller unit");
      if (value >= 9e18) return WrongText(text, "is too large; write less than 8192 PiB");
      return static_cast<int64_t>(value);
    }
    value *= 1024;
  }
  const absl::string_view meant = Meant(unit, synonyms);
  return meant.empty()
             ? WrongText(text, "is not a size; write ", number, "KiB or another of B, MiB, GiB, TiB")
             : WrongText(text, "is not a size; write ", number, meant, " (units of 1024)");
}

absl::StatusOr<int64_t> ParseByteRate(absl::string_view text) {
  absl::string_view size = text;
  if (!absl::ConsumeSuffix(&size, "/s")) {
    return ParseBytes(text).ok() ? WrongText(text, "is a size and no rate; write ", text, "/s")
                                 : WrongText(text, "is no rate in bytes; write for example 1MiB/s");
  }
  return ParseBytes(size);
}

absl::StatusOr<int64_t> ParseInteger(absl::string_view text) {
  const absl::string_view digits = absl::StripPrefix(text, "-");
  int64_t value = 0;
  const bool plain = !digits.empty() && digits.find_first_not_of("0123456789") == absl::string_view::npos;
  if (!plain) return WrongText(text, "is not a whole number; write digits only, for example 10");
  if (!absl::SimpleAtoi(text, &value)) return WrongText(text, "is too large a number");
  return value;
}

absl::StatusOr<double> ParseNumber(absl::string_view text) {
  const Quantity quantity = Split(absl::StripPrefix(text, "-"));
  double value = 0;
  if (text.size() > kLongest || !IsNumber(quantity.number) || !quantity.unit.empty() ||
      !absl::SimpleAtod(text, &value) || !std::isfinite(value)) {
    return WrongText(text, "is not a number; write digits and at most one point, for example 1.2");
  }
  return value;
}

std::string DurationText(absl::Duration duration) {
  return duration == absl::ZeroDuration() ? "0s" : absl::FormatDuration(duration);
}

}  // namespace squall
