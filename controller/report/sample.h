#pragma once

#include "controller/timeline.h"
#include "proto/verdict.pb.h"

namespace squall {

// A run that never was: 45 s with a baseline, 10 s of latency, a killed and restarted peer, and recovery.
// Holds something of everything that a report shows. The same every time.
struct SampleRun {
  Timeline timeline;
  RunResult result;  // one PASS, one FAIL, one INCONCLUSIVE
};
SampleRun MakeSampleRun();

// A sample run, as if everything but the latencies had taken `factor` times as long.
SampleRun Stretched(SampleRun run, double factor);

}  // namespace squall
