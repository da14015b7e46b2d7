#pragma once

#include <cstdint>

#include "absl/status/status.h"
#include "agent/faults/fault.h"
#include "base/ramp.h"
#include "proto/fault.pb.h"

namespace squall {

// Between two steps of a ramp.
inline constexpr int64_t kRampStepNs = 250'000'000;

// Changes a fault as its ramp says, step by step. Not thread-safe.
class RunningRamp {
 public:
  // `fault` was injected at `injected_ns` as RampedAt(spec, 0), and outlives this, or Step is no longer called.
  RunningRamp(Fault spec, ActiveFault* fault, int64_t injected_ns);

  // To be called every kRampStepNs; one that is missed or late is made up for by the next. An error: the fault goes on as it is and is not
  // changed any more, and the next steps are OK.
  absl::Status Step(int64_t now_ns);

 private:
  Fault spec_;
  ActiveFault* fault_;
  int64_t injected_ns_;
  Fault last_;  // as it is now
  bool failed_ = false;
};

}  // namespace squall
