#pragma once

#include <cstdint>
#include <vector>

#include "absl/types/span.h"
#include "controller/assertions/stalls.h"
#include "controller/timeline.h"

namespace squall {

// What became of the requests that were due in a window. Abandoned requests are left out, those that were sent late, and those that
// LeaveOut says.
struct Window {
  int64_t begin_ns = 0;
  int64_t requests = 0;
  int64_t ok = 0;
  int64_t errors = 0;
  int64_t abandoned = 0;
  int64_t waited = 0;  // requests that were answered or given up: the latencies are theirs
  int64_t p50_ns = 0;
  int64_t p95_ns = 0;
  bool stalled = false;  // the machine stood still for a part of it, or sent late: what looks bad may be due to that
  bool left_out = false;  // it stood still for more than half of it, or too few requests are left to be judged

  bool empty() const { return requests == 0; }
  double ErrorPercent() const {
    return requests == 0 ? 0 : 100.0 * static_cast<double>(errors) / static_cast<double>(requests);
  }
  double OkPercent() const {
    return requests == 0 ? 0 : 100.0 * static_cast<double>(ok) / static_cast<double>(requests);
  }
};

// A request that was sent later than this after it was due says how busy the generator was, not how the service is: it is left out.
inline constexpr int64_t kMostLagNs = 5'000'000;
bool SentLate(const Request& request);

// Which requests a stall of the machine takes out of a window.
enum class LeaveOut {
  // Those that were due meanwhile. Those that were under way stay, since slow ones are under way more often than fast ones: what
  // looks good, is.
  kDueInStall,
  // Those that were under way too: what looks bad, is.
  kTouchedByStall,
};

// `count` windows of `length_ns`, the first of which begins at `begin_ns`. `requests` are in the order of
// their intended start. REQUIRES: length_ns > 0, count >= 0.
std::vector<Window> CutWindows(absl::Span<const Request> requests, int64_t begin_ns, int64_t length_ns,
                               int64_t count, const Stalls& stalls, LeaveOut leave_out = LeaveOut::kDueInStall);

// Whether the request waited until it was answered or given up. A refused or reset one says nothing about
// latency.
bool Waited(Outcome outcome);

// The smallest value that at least `percent` of the values do not exceed (nearest rank). Reorders `values`.
// REQUIRES: values is not empty, 0 < percent <= 100.
int64_t Percentile(std::vector<int64_t>& values, double percent);

// REQUIRES: values is not empty. The mean of the middle two where their number is even. Reorders `values`.
double Median(std::vector<double>& values);

// The requests with begin_ns <= intended start < end_ns, of requests in that order.
absl::Span<const Request> IntendedWithin(absl::Span<const Request> requests, int64_t begin_ns,
                                         int64_t end_ns);

// All requests of the load that were due before this time have ended and are in the timeline. In a run that
// is over: until the load stopped.
int64_t CompleteUntil(const Timeline& timeline, const Load& load);
// And all calls that began before it.
int64_t CallsCompleteUntil(const Timeline& timeline, const Load& load);

}  // namespace squall
