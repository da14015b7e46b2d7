#pragma once

#include <string>

#include "controller/timeline.h"
#include "proto/assertion.pb.h"

namespace squall {

// How a rate limiter was tried, as HTML: a chart for each burst, and for the time in which more than the limit was offered: what was
// offered and admitted, summed up, and the line of what may be admitted. Empty where nothing of that kind was offered. Pure.
// REQUIRES: assertion.has_rate_limiter().
std::string LimiterFigures(const Assertion& assertion, const Timeline& timeline);

}  // namespace squall
