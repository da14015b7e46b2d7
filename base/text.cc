#include "base/text.h"

#include <cmath>
#include <cstdlib>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace squall {
namespace {

// Three significant digits without trailing zeros or exponents.
std::string Figure(double value) {
  const double magnitude = std::fabs(value);
  const int decimals = magnitude >= 100 ? 0 : magnitude >= 10 ? 1 : 2;
  std::string text = absl::StrFormat("%.*f", decimals, value);
  if (text.find('.') != std::string::npos) {
    while (text.back() == '0') text.pop_back();
    if (text.back() == '.') text.pop_back();
  }
  return text == "-0" ? "0" : text;
}

}  // namespace

std::string HumanNanos(int64_t nanos) {
  const double magnitude = std::fabs(static_cast<double>(nanos));
  if (nanos == 0) return "0 s";
  if (magnitude < 1e3) return absl::StrCat(nanos, " ns");
  if (magnitude < 999.5e3) return absl::StrCat(Figure(nanos / 1e3), " us");
  if (magnitude < 999.5e6) return absl::StrCat(Figure(nanos / 1e6), " ms");
  return absl::StrCat(Figure(nanos / 1e9), " s");
}

std::string HumanDuration(absl::Duration duration) { return HumanNanos(absl::ToInt64Nanoseconds(duration)); }

std::string HumanBytes(int64_t bytes) {
  static constexpr const char* kUnits[] = {"B", "KiB", "MiB", "GiB", "TiB"};
  double value = static_cast<double>(bytes);
  int unit = 0;
  while (std::fabs(value) >= 1024 && unit < 4) value /= 1024, ++unit;
  return absl::StrCat(Figure(value), " ", kUnits[unit]);
}

std::string HumanRate(double per_second) { return absl::StrCat(Figure(per_second), "/s"); }

std::string HumanPercent(double percent) { return absl::StrCat(Figure(percent), " %"); }

}  // namespace squall
