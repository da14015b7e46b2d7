#include "controller/assertions/windows.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "absl/time/time.h"
#include "controller/assertions/durations.h"
#include "controller/plan.h"

namespace squall {
namespace {

// How long after its end a request may take to reach the timeline of a run that is still going on.
constexpr int64_t kDeliveryNs = 2'000'000'000;

bool DueBefore(const Request& request, int64_t ns) { return request.intended_ns < ns; }

}  // namespace

bool SentLate(const Request& request) { return request.sent_ns - request.intended_ns > kMostLagNs; }

bool Waited(Outcome outcome) {
  switch (outcome) {
    case OK:
    case DEGRADED:
    case REJECTED:
    case ERROR:
    case TIMED_OUT:
      return true;
    default:
      return false;
  }
}

int64_t Percentile(std::vector<int64_t>& values, double percent) {
  // Without the small number, 99.9 % of 1,000 would be 999.0000000000001 and so the 1,000th.
  const double rank = std::ceil(percent / 100 * static_cast<double>(values.size()) - 1e-9);
  const auto nth = values.begin() + std::max<int64_t>(static_cast<int64_t>(rank) - 1, 0);
  std::nth_element(values.begin(), nth, values.end());
  return *nth;
}

double Median(std::vector<double>& values) {
  const auto middle = values.begin() + static_cast<int64_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  if (values.size() % 2 == 1) return *middle;
  return (*middle + *std::max_element(values.begin(), middle)) / 2;
}

absl::Span<const Request> IntendedWithin(absl::Span<const Request> requests, int64_t begin_ns,
                                         int64_t end_ns) {
  const auto begin = std::lower_bound(requests.begin(), requests.end(), begin_ns, DueBefore);
  const auto end = std::lower_bound(begin, requests.end(), std::max(begin_ns, end_ns), DueBefore);
  return requests.subspan(static_cast<size_t>(begin - requests.begin()), static_cast<size_t>(end - begin));
}

std::vector<Window> CutWindows(absl::Span<const Request> requests, int64_t begin_ns, int64_t length_ns,
                               int64_t count, const Stalls& stalls, LeaveOut leave_out) {
  std::vector<Window> windows(static_cast<size_t>(count));
  std::vector<int64_t> latencies;
  const auto* next = std::lower_bound(requests.begin(), requests.end(), begin_ns, DueBefore);
  for (Window& window : windows) {
    window.begin_ns = begin_ns + (&window - windows.data()) * length_ns;
    const int64_t end_ns = window.begin_ns + length_ns;
    window.stalled = stalls.Touch(window.begin_ns, end_ns - 1);
    bool missing = false;
    latencies.clear();
    for (; next != requests.end() && next->intended_ns < end_ns; ++next) {
      if (next->outcome == ABANDONED) {
        ++window.abandoned;
        continue;
      }
      const int64_t until_ns = leave_out == LeaveOut::kDueInStall ? next->intended_ns : next->end_ns;
      if (SentLate(*next) || stalls.Touch(next->intended_ns, until_ns)) {
        window.stalled = missing = true;
        continue;
      }
      ++window.requests;
      window.ok += next->outcome == OK;
      window.errors += IsError(next->outcome);
      if (Waited(next->outcome)) latencies.push_back(next->LatencyNs());
    }
    window.left_out = (missing && window.requests < kRequestsInWindow) ||
                      2 * stalls.Within(window.begin_ns, end_ns) > length_ns;
    window.waited = static_cast<int64_t>(latencies.size());
    if (!latencies.empty()) {
      window.p50_ns = Percentile(latencies, 50);
      window.p95_ns = Percentile(latencies, 95);
    }
  }
  return windows;
}

int64_t CompleteUntil(const Timeline& timeline, const Load& load) {
  const auto found = timeline.requests.find(load.name());
  if (found == timeline.requests.end() || found->second.empty()) return std::numeric_limits<int64_t>::min();
  const std::vector<Request>& requests = found->second;
  if (timeline.footer) {
    // A window holds at least 20 requests, so that one that lacks this little lacks none.
    return requests.back().intended_ns + absl::ToInt64Nanoseconds(JudgedWindow(load)) / 20;
  }
  // What is older than the client's patience has ended. Beyond that, for as long as no number is missing:
  // numbers are given in the order of intended start, and records come in the order of the end.
  const int64_t patience_ns = Nanos(load.give_up_after());
  int64_t complete_ns = timeline.last_ns - patience_ns - kDeliveryNs;
  auto next = std::lower_bound(requests.begin(), requests.end(), complete_ns, DueBefore);
  if (next == requests.begin()) ++next;
  int64_t number = std::prev(next)->number;
  for (; next != requests.end(); ++next) {
    if (next->retried) continue;  // sent outside of the offered rate, with numbers of their own
    if (next->number != ++number) break;
    complete_ns = next->intended_ns;
  }
  return complete_ns;
}

int64_t CallsCompleteUntil(const Timeline& timeline, const Load& load) {
  const int64_t complete_ns = CompleteUntil(timeline, load);
  return timeline.footer ? complete_ns : std::min(complete_ns, timeline.last_ns - kDeliveryNs);
}

}  // namespace squall
