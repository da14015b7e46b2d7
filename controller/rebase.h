#pragma once

#include <cstdint>

#include "proto/timeline.pb.h"

namespace squall {

// Moves every time in a record of the agent to the run's own: `shift_ns` is the run's start on the agent's clock.
void Rebase(Record& record, int64_t shift_ns);

}  // namespace squall
