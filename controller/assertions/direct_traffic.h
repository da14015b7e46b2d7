#pragma once

#include <optional>
#include <string>

#include "controller/assertions/obstacle.h"
#include "controller/timeline.h"

// Connections of attached services that did not go through the relay of their edge, because they were there before it. Pure
// functions.
namespace squall {

// How much they carried of the edge's bytes, and which faults did not reach them: "3 connections from before the run carried
// 12 % of the bytes; latency did not reach them". Empty: there were none.
std::string DirectTraffic(const Timeline& timeline, const std::string& edge);

// The fault did not reach what carried most of the edge's bytes while it acted: what was judged is something else.
std::optional<Obstacle> DirectGate(const Timeline& timeline, const Fault& fault, const FaultSpan& span);

}  // namespace squall
