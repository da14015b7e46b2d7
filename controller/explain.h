#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace squall {

// The reference of one part of the scenario file ("latency", "timeout", "scenario", ...), made from the
// schema and its comments; of an empty topic the list of all topics. At most 100 columns wide, with a newline
// at the end. NOT_FOUND, with the nearest topic, when there is none of that name. Pure function; thread-safe.
absl::StatusOr<std::string> Explain(absl::string_view topic);

}  // namespace squall
