#include "agent/net/delays.h"

#include <algorithm>
#include <cmath>

#include "base/durations.h"

namespace squall {
namespace {

// The probability that a standard normal variable is below z.
double Below(double z) { return 0.5 * std::erfc(-z / std::sqrt(2.0)); }

// The z with Below(z) = p, by bisection: exact enough and rarely needed.
double Quantile(double p) {
  double low = -9, high = 9;
  for (int i = 0; i < 50; ++i) {
    const double middle = (low + high) / 2;
    (Below(middle) < p ? low : high) = middle;
  }
  return (low + high) / 2;
}

double Nanos(const google::protobuf::Duration& duration) {
  return static_cast<double>(absl::ToInt64Nanoseconds(ToDuration(duration)));
}

}  // namespace

// The rank correlation (Spearman's) of two normal variables whose correlation is r is 6/pi asin(r/2).
Delays::Delays(const Latency& latency, uint64_t seed)
    : delay_(Nanos(latency.delay())),
      jitter_(Nanos(latency.jitter())),
      distribution_(latency.distribution()),
      memory_(2 * std::sin(M_PI / 6 * std::clamp(latency.correlation(), 0.0, 99.0) / 100)),
      random_(seed) {
  z_ = normal_(random_);
}

void Delays::SetDelay(const Latency& latency) { delay_ = Nanos(latency.delay()); }

int64_t Delays::Draw() {
  if (jitter_ == 0) return static_cast<int64_t>(delay_);
  const double z = z_;
  z_ = memory_ * z_ + std::sqrt(1 - memory_ * memory_) * normal_(random_);
  double delay = 0;
  switch (distribution_) {
    case Latency::DISTRIBUTION_NORMAL:
      delay = Normal(z);
      break;
    case Latency::DISTRIBUTION_PARETO:
      delay = Pareto(z);
      break;
    default:
      delay = Uniform(z);
  }
  return static_cast<int64_t>(std::max(0.0, delay));
}

double Delays::Uniform(double z) const { return delay_ + jitter_ * (2 * Below(z) - 1); }

// Drawing again what is negative leaves the part of the normal distribution above zero.
double Delays::Normal(double z) const {
  const double negative = Below(-delay_ / jitter_);
  if (negative < 1e-15) return delay_ + jitter_ * z;
  // From above, where the tail is exact in a double.
  return delay_ - jitter_ * Quantile((1 - negative) * Below(-z));
}

// Lomax with shape 3: its mean is scale / 2.
double Delays::Pareto(double z) const { return delay_ + 2 * jitter_ * (std::pow(Below(-z), -1.0 / 3) - 1); }

}  // namespace squall
