#pragma once

#include <string>

#include "controller/timeline.h"
#include "proto/scenario.pb.h"

namespace squall {

// How the timeline trips this guardrail, in one sentence with the figures; empty: it does not. Pure. The
// timeline need not be sorted.
std::string Trip(const Guardrail& guardrail, const Timeline& timeline);

// Too many of the requests that ended failed, second by second, for as long as the guardrail says.
std::string TripErrorRate(const ErrorRate& limit, const Timeline& timeline);

}  // namespace squall
