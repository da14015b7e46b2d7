#pragma once

#include "controller/run.h"

namespace squall {

// Fills in the rates, p99 and arrivals of the last whole second before `now_ns` (in the run's time). The requests of
// `timeline` need not be sorted. Pure.
void FillRates(const Timeline& timeline, int64_t now_ns, Progress& progress);

}  // namespace squall
