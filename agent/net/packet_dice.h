#pragma once

#include <cstdint>
#include <random>

namespace squall {

// Decides packet by packet whether it is hit. The same seed gives the same sequence. Not thread-safe.
class PacketDice {
 public:
  // Of 0 to 100: the share that is hit, and how likely a packet has the fate of the one before. The share is the same with
  // every correlation.
  PacketDice(uint64_t seed, double percent, double correlation)
      : random_(seed), share_(percent / 100), same_(correlation / 100) {}

  // Another share is hit from now on.
  void SetPercent(double percent) { share_ = percent / 100; }

  bool Roll() {
    if (!first_ && same_ > 0 && Uniform() < same_) return last_;
    first_ = false;
    return last_ = Uniform() < share_;
  }
  // Evenly from 0 to n - 1, to within n / 2^64. REQUIRES: n > 0.
  uint64_t Below(uint64_t n) { return random_() % n; }

 private:
  // From 0 to 1, the same on every host, unlike std::uniform_real_distribution.
  double Uniform() { return static_cast<double>(random_() >> 11) * 0x1p-53; }

  std::mt19937_64 random_;
  double share_;
  const double same_;
  bool first_ = true;
  bool last_ = false;
};

}  // namespace squall
