#pragma once

#include "controller/assertions/judge.h"
#include "controller/assertions/stalls.h"
#include "controller/timeline.h"

namespace squall {

// Judges that each series of a metric stays within its bounds during a part of the run or, with `reached_within`, comes there in
// time. A reading tells of the time since the one before: what may have happened on either side of the part's edge counts for the
// service.
Judgement JudgeMetric(const MetricBound& spec, const Timeline& timeline, const Stalls& stalls);

}  // namespace squall
