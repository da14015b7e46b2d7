#pragma once

#include <cstdint>
#include <vector>

#include "proto/timeline.pb.h"

namespace squall {

// Records for tests of a run with service `orders`, edge `recommend`, load `checkout` and faults `slow` and
// `gone`.
Record HeaderRecord();
// Two requests: due at 2 s and 1 s, so that they are out of order.
Record RequestsRecord();
// Two calls, out of order too.
Record ArrivalsRecord();
// An event of `slow`.
Record FaultRecord(FaultEvent::State state, int64_t at_ns);
Record FooterRecord();
// One of most kinds, from the header to the footer.
std::vector<Record> SmallRun();

}  // namespace squall
