#include "controller/live.h"

#include <algorithm>
#include <vector>

namespace squall {

void FillRates(const Timeline& timeline, int64_t now_ns, Progress& progress) {
  constexpr int64_t kSecond = 1'000'000'000;
  // Records come every 250 ms: the second that ended half a second ago is whole.
  const int64_t to = now_ns - kSecond / 2;
  const int64_t from = to - kSecond;
  std::vector<int64_t> latencies;
  for (const auto& [load, requests] : timeline.requests) {
    // In the order of their end: nothing that ended 2 s before `from` can be of interest.
    for (auto request = requests.rbegin(); request != requests.rend() && request->end_ns >= from - 2 * kSecond; ++request) {
      if (request->end_ns < from || request->end_ns >= to) continue;
      if (request->outcome != ABANDONED) latencies.push_back(request->LatencyNs());
      switch (request->outcome) {
        case OK:
          ++progress.ok;
          break;
        case DEGRADED:
          ++progress.degraded;
          break;
        case REJECTED:
          ++progress.rejected;
          break;
        default:
          progress.errors += IsError(request->outcome) ? 1 : 0;
      }
    }
  }
  for (const auto& [load, totals] : timeline.loads) {
    for (auto stats = totals.series.rbegin(); stats != totals.series.rend() && stats->at_ns() >= from; ++stats) {
      if (stats->at_ns() < to) progress.offered += static_cast<double>(stats->intended());
    }
  }
  for (const auto& [edge, calls] : timeline.calls) {
    for (auto call = calls.rbegin(); call != calls.rend() && call->end_ns >= from - 2 * kSecond; ++call) {
      if (call->end_ns >= from && call->end_ns < to) ++progress.arrivals;
    }
  }
  if (!latencies.empty()) {
    const size_t rank = std::min(latencies.size() - 1, latencies.size() * 99 / 100);
    std::nth_element(latencies.begin(), latencies.begin() + static_cast<std::ptrdiff_t>(rank), latencies.end());
    progress.p99 = absl::Nanoseconds(latencies[rank]);
  }
}

}  // namespace squall
