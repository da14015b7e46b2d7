#pragma once

#include <cstdint>

#include "absl/time/time.h"

namespace squall {

// From the end of stop `number` (from 0) of a repeated pause to the beginning of the next: exponential with this mean, a pure function
// of what it is given, the same on every host.
absl::Duration PauseGap(uint64_t seed, int64_t number, absl::Duration mean);

}  // namespace squall
