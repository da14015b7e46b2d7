#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "absl/strings/string_view.h"
#include "controller/timeline.h"

namespace squall {

// Calls that a service tried to make over an edge, beside the requests that it was sent, in bins of 100 ms.
// Immutable; thread-safe.
//
// Connects that a dead dependency refuses are no calls: the relay only counts them. They are spread evenly
// over the time between two counts, so that a service that goes on trying is not taken for one that stopped. Where calls
// vanish, the same is done with all connects that were tried.
class Attempts {
 public:
  static constexpr int64_t kBinNs = 100'000'000;

  // Bins from `begin_ns` on, as many whole ones as fit before `end_ns`. `source`: only what this process tried. `by_connects`:
  // of each bin the larger of the calls and the connects counts, since a call may need a connect and may not.
  Attempts(const Timeline& timeline, absl::string_view edge, absl::string_view load, int64_t begin_ns,
           int64_t end_ns, std::optional<uint32_t> source = std::nullopt, bool by_connects = false);

  size_t bins() const { return calls_.size() - 1; }
  int64_t BinStart(size_t bin) const { return begin_ns_ + static_cast<int64_t>(bin) * kBinNs; }

  // Sums over bins [first, last). REQUIRES: first <= last <= bins().
  double Calls(size_t first, size_t last) const { return calls_[last] - calls_[first]; }
  double Answered(size_t first, size_t last) const { return answered_[last] - answered_[first]; }
  double Requests(size_t first, size_t last) const { return requests_[last] - requests_[first]; }

 private:
  int64_t begin_ns_;
  // Each with a leading 0, summed up.
  std::vector<double> calls_;
  std::vector<double> answered_;
  std::vector<double> requests_;
};

// A call that was made, whatever became of it. Refused ones are in the edge's counters.
bool IsCall(CallResult result);
// A call that the service must take for a failure.
bool IsFailedCall(CallResult result);

// Connects that were refused in [begin_ns, end_ns], and when the first of them was counted.
struct Refusals {
  int64_t count = 0;
  std::optional<int64_t> first_ns;
};
Refusals RefusalsWithin(const Timeline& timeline, absl::string_view edge, int64_t begin_ns, int64_t end_ns,
                        std::optional<uint32_t> source = std::nullopt);

// Whether connects over the edge were counted at all.
bool ConnectsCounted(const Timeline& timeline, absl::string_view edge);
// The same of all connects that were tried. The counter is looked at about once a second: `count` holds what was sure to be
// in the span, and `first_ns` is the first look in it that tells of one, which may have been before `begin_ns`.
Refusals ConnectsWithin(const Timeline& timeline, absl::string_view edge, int64_t begin_ns, int64_t end_ns,
                        std::optional<uint32_t> source = std::nullopt);

// By when the edge's counter is sure to hold what was refused before the calls stopped, which seems to have been
// at `at_ns`. The counter is looked at about once a second: the first look that tells of a connect refused since
// `begin_ns` may have fallen among those, so it is the look after that. `at_ns` where none tells. `by_connects`: the same of
// the counter of connects.
int64_t CountedBy(const Timeline& timeline, absl::string_view edge, int64_t begin_ns, int64_t at_ns,
                  bool by_connects = false);

}  // namespace squall
