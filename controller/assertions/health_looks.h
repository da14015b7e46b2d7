#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/types/span.h"
#include "controller/assertions/stalls.h"
#include "controller/timeline.h"

namespace squall {

// A service's health is asked so often, and a moment at which it changed is known only so exactly.
inline constexpr int64_t kBetweenLooksNs = 250'000'000;

// One answer, or the lack of one. Points into the timeline, which must outlive it.
struct Look {
  int64_t told_ns = 0;
  int32_t status = 0;
  const std::string* body = nullptr;

  bool Ready() const { return status > 0 && status < 400; }
};

// What was said in a part of a run.
struct Looks {
  // At least two in a row that say that it is not ready: indices into `all`.
  struct Unready {
    size_t first = 0;
    size_t last = 0;
  };
  std::vector<Look> all;  // in order, but for those left out
  std::vector<Unready> unready;
  int64_t alone = 0;     // that say so between two that do not
  int64_t left_out = 0;  // not ready, while the machine stood still
};

// The looks of [begin_ns, end_ns], of samples in order.
Looks LooksOf(absl::Span<const HealthSample> samples, int64_t begin_ns, int64_t end_ns, const Stalls& stalls);

// The first time in [begin_ns, end_ns] for which it was not asked for so long that it may have said anything, in words; empty:
// none.
std::string Gap(absl::Span<const HealthSample> samples, int64_t begin_ns, int64_t end_ns, const Stalls& stalls);

// "answered with status 503", "did not answer".
std::string Said(const Look& look);

}  // namespace squall
