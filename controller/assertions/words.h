#pragma once

#include <cstdint>
#include <string>

#include "absl/strings/string_view.h"

namespace squall {

// "9,987".
std::string Grouped(int64_t number);

// "1 request", "9,987 requests".
std::string Counted(int64_t number, absl::string_view noun);

// "500.1 ms", "12.0 s": one decimal always, so that two figures side by side can be compared.
std::string Tenths(int64_t nanos);

}  // namespace squall
