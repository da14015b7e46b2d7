#include "controller/assertions/words.h"

#include <cmath>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace squall {

std::string Grouped(int64_t number) {
  const std::string digits = absl::StrCat(number);
  std::string grouped;
  for (size_t i = 0; i < digits.size(); ++i) {
    if (i > 0 && (digits.size() - i) % 3 == 0 && digits[i - 1] != '-') grouped += ',';
    grouped += digits[i];
  }
  return grouped;
}

std::string Counted(int64_t number, absl::string_view noun) {
  return absl::StrCat(Grouped(number), " ", noun, number == 1 ? "" : "s");
}

std::string Tenths(int64_t nanos) {
  const auto value = static_cast<double>(nanos);
  // From 999.95 on, a tenth would round up to 1000.0 of the smaller unit.
  if (std::fabs(value) < 999.95e6) return absl::StrFormat("%.1f ms", value / 1e6);
  return absl::StrFormat("%.1f s", value / 1e9);
}

}  // namespace squall
