#pragma once

#include <string>

#include "controller/report/chart.h"
#include "controller/timeline.h"
#include "proto/verdict.pb.h"

namespace squall {

// The course of a run in one picture, an <svg> over the same time axis as the charts: its phases, its faults
// (overlapping ones below each other), when each service was ready and when it exited, and where assertions
// were first broken. Pure.
std::string RenderRibbon(const RunResult& result, const Timeline& timeline, const TimeFrame& frame,
                         const ChartSize& size);

// For each span the first lane, from 0, in which it overlaps none before it. REQUIRES: spans in the order of
// their start.
std::vector<int> Lanes(const std::vector<TimeFrame::Span>& spans);

// "started", "ready", "exited as asked", "exited unasked", "attached".
std::string ServiceWord(const ServiceEvent& event);

}  // namespace squall
