#pragma once

#include <string>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"

namespace squall {

// For people: "312 ms", "1.25 s", "85 us", "0 s"; three significant digits.
std::string HumanDuration(absl::Duration duration);
std::string HumanNanos(int64_t nanos);

// "1.5 MiB", "312 B".
std::string HumanBytes(int64_t bytes);

// "200/s", "0.5/s".
std::string HumanRate(double per_second);

// "10 %", "0.12 %": `percent` is 10 for ten percent.
std::string HumanPercent(double percent);

}  // namespace squall
