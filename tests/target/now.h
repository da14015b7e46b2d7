#pragma once

#include "absl/time/time.h"
#include "base/clock.h"

namespace squall::target {

// A time that only tells how far apart two instants are. Unlike absl::Now() no one can set it.
inline absl::Time Now() { return absl::FromUnixNanos(BootNanos()); }

}  // namespace squall::target
