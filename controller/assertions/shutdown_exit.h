#pragma once

#include <algorithm>
#include <cstdint>

#include "controller/assertions/promise.h"
#include "controller/assertions/stalls.h"
#include "controller/timeline.h"
#include "proto/assertion.pb.h"

namespace squall {

// A service that was sent a signal that asks it to stop. Points to what must outlive it. Plain data.
struct Shutdown {
  const Timeline& timeline;
  const Stalls& stalls;
  const Kill& kill;
  const FaultSpan& span;
  int64_t signalled_ns = 0;
  int64_t within_ns = 0;  // in which it must be gone
  int64_t known_ns = 0;   // what happened until then is known, and was not done by squall

  int64_t Took(int64_t to_ns) const { return std::max<int64_t>(0, to_ns - signalled_ns - stalls.Within(signalled_ns, to_ns)); }
};

// It exits by itself, in time, and with a good status.
Promise CheckExit(const Shutdown& shutdown);

}  // namespace squall
