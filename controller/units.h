#pragma once

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"

// Scalars with units, as scenarios write them. Pure functions. Every error is INVALID_ARGUMENT, and its
// message says what is wrong with the text and what to write instead.
namespace squall {

// "250ms", "1.5s", "1m30s"; units ns, us, ms, s, m, h. Never negative. At most 1000 hours.
absl::StatusOr<absl::Duration> ParseDurationText(absl::string_view text);

// "200/s", "6000/min", "3600/h": per second.
absl::StatusOr<double> ParseRate(absl::string_view text);

// "10%", "0.5%": 10 for ten percent.
absl::StatusOr<double> ParsePercent(absl::string_view text);

// "512B", "64KiB", "1MiB", "2GiB": bytes.
absl::StatusOr<int64_t> ParseBytes(absl::string_view text);

// "64B/s", "10MiB/s": bytes per second.
absl::StatusOr<int64_t> ParseByteRate(absl::string_view text);

// "42", "-3": the whole text.
absl::StatusOr<int64_t> ParseInteger(absl::string_view text);

// "1.2": digits and at most one point.
absl::StatusOr<double> ParseNumber(absl::string_view text);

// As a scenario writes it: "1m30s", "250ms".
std::string DurationText(absl::Duration duration);

}  // namespace squall
