#pragma once

#include <time.h>

#include <cstdint>

namespace squall {

// Nanoseconds of CLOCK_BOOTTIME: runs on while the host is suspended, and no one can set it.
inline int64_t BootNanos() {
  timespec now;
  clock_gettime(CLOCK_BOOTTIME, &now);
  return static_cast<int64_t>(now.tv_sec) * 1'000'000'000 + now.tv_nsec;
}

}  // namespace squall
