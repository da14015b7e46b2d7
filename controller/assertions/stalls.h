#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include "controller/timeline.h"

namespace squall {

// When the machine stood still. What happened then says nothing about the service. Thread-safe.
class Stalls {
 public:
  // What piled up while the machine stood still is worked off afterwards: a stall counts this much longer.
  static constexpr int64_t kCatchUpNs = 50'000'000;

  // What is judged may rest on moments of which so many percent are left out (see StallGate).
  static constexpr int64_t kMostLeftOutPercent = 10;

  explicit Stalls(const std::vector<Stall>& stalls, int64_t most_left_out_percent = kMostLeftOutPercent);
  int64_t most_left_out_percent() const { return most_left_out_percent_; }
  // Moments at which others had the cores are among them, beside those at which nothing ran.
  bool others_too() const { return others_too_; }

  // Whether any of [begin_ns, end_ns] fell into a stall. O(log n).
  bool Touch(int64_t begin_ns, int64_t end_ns) const;

  // Begin and end of each, with what is counted longer, in order; none touches another.
  std::vector<std::pair<int64_t, int64_t>> Spans() const;

  // How much of [begin_ns, end_ns] fell into stalls.
  int64_t Within(int64_t begin_ns, int64_t end_ns) const;

 private:
  int64_t most_left_out_percent_;
  bool others_too_ = false;
  // Disjoint and in order.
  std::vector<int64_t> begins_;
  std::vector<int64_t> ends_;
};

}  // namespace squall
