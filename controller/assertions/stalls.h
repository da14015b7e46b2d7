#pragma once

#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "controller/timeline.h"

namespace squall {

// When the machine stood still. What happened then says nothing about the service. A moment at which a service, or its peer, had to
// wait for a core, but for less than 0.3 of the time, is slight: it makes an answer late by as much, and never explains one that is
// missing or wrong. Thread-safe.
class Stalls {
 public:
  // What piled up while the machine stood still is worked off afterwards: a stall counts this much longer.
  static constexpr int64_t kCatchUpNs = 50'000'000;

  // What is judged may rest on moments of which so many percent are left out (see StallGate).
  static constexpr int64_t kMostLeftOutPercent = 10;

  // A slight moment of 200 ms has no more than 60 ms of waiting, and is caught up with in kCatchUpNs.
  static constexpr int64_t kMostSlightNs = 60'000'000 + kCatchUpNs;

  // Slight moments are none, but for WithSlight.
  explicit Stalls(const std::vector<Stall>& stalls, int64_t most_left_out_percent = kMostLeftOutPercent);
  // The same, where slight moments are moments like others: what is late by no more than kMostSlightNs may be so for them. Null: there
  // are none.
  const Stalls* WithSlight() const { return with_slight_.get(); }
  int64_t most_left_out_percent() const { return most_left_out_percent_; }
  // Moments at which others had the cores are among them, beside those at which nothing ran.
  bool others_too() const { return others_too_; }

  // Whether any of [begin_ns, end_ns] fell into a stall. O(log n).
  bool Touch(int64_t begin_ns, int64_t end_ns) const;

  // Begin and end of each, with what is counted longer, in order; none touches another.
  std::vector<std::pair<int64_t, int64_t>> Spans() const;

  // How much of [begin_ns, end_ns] fell into stalls.
  int64_t Within(int64_t begin_ns, int64_t end_ns) const;
  // And how much did not; 0 where it ends before it begins.
  int64_t Without(int64_t begin_ns, int64_t end_ns) const;

 private:
  Stalls(const std::vector<Stall>& stalls, int64_t most_left_out_percent, bool slight_too);

  int64_t most_left_out_percent_;
  std::shared_ptr<const Stalls> with_slight_;
  bool others_too_ = false;
  // Disjoint and in order.
  std::vector<int64_t> begins_;
  std::vector<int64_t> ends_;
};

}  // namespace squall
