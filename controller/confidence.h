#pragma once

namespace squall {

// The largest share of runs that may do otherwise, at 95 % confidence, when `other` of `runs` did (Clopper and Pearson, 1934).
// REQUIRES: 0 <= other <= runs, runs > 0.
double MostOf(int other, int runs);

}  // namespace squall
