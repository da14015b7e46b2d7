#include "controller/confidence.h"

#include <cmath>

namespace squall {

double MostOf(int other, int runs) {
  if (other >= runs) return 1;
  // The share at which so few, or fewer, come in 5 % of series.
  double low = static_cast<double>(other) / runs, high = 1;
  for (int i = 0; i < 60; ++i) {
    const double share = (low + high) / 2;
    double term = std::pow(1 - share, runs), sum = term;
    for (int k = 1; k <= other; ++k) {
      term *= (runs - k + 1.0) / k * share / (1 - share);
      sum += term;
    }
    (sum > 0.05 ? low : high) = share;
  }
  return high;
}

}  // namespace squall
