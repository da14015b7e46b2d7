#pragma once

#include <string>

#include "controller/timeline.h"
#include "proto/verdict.pb.h"

namespace squall {

// The charts of a run as HTML: the course of the run, each load's requests and latency, each edge's arrivals,
// the health of the host and of each service. Pure.
std::string ChartsHtml(const RunResult& result, const Timeline& timeline);

// Fill patterns that the charts refer to. Must stand once in the page, before the charts.
std::string ChartPatterns();

}  // namespace squall
