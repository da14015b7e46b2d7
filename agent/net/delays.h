#pragma once

#include <cstdint>
#include <random>

#include "proto/fault.pb.h"

namespace squall {

// The delays of a latency fault, one after the other. The same seed gives the same delays. Not thread-safe.
//
// Neighbours depend on each other through their ranks alone: a normal variable that remembers its last value (AR(1)) says at
// which quantile of the distribution the next delay is, so that the distribution is the same with and without correlation.
class Delays {
 public:
  Delays(const Latency& latency, uint64_t seed);
  // The latency's `delay` is another from now on.
  void SetDelay(const Latency& latency);
  // In nanoseconds, never negative.
  int64_t Draw();

 private:
  double Uniform(double z) const;
  double Normal(double z) const;
  double Pareto(double z) const;

  double delay_;
  const double jitter_;
  const Latency::Distribution distribution_;
  const double memory_;
  double z_;
  std::mt19937_64 random_;
  std::normal_distribution<double> normal_;
};

}  // namespace squall
