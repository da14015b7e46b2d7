#include "controller/assertions/limiter_scene.h"

#include <algorithm>
#include <cmath>
#include <optional>

#include "absl/time/time.h"
#include "controller/assertions/fault_time.h"
#include "controller/assertions/windows.h"

namespace squall {
namespace {

// How well the beginning of steps is known.
constexpr int64_t kEdgeNs = 100'000'000;

// Where the plan made the steps, until these are over: what a fault does to a limiter is another question.
absl::Span<const Request> RequestsOf(const Timeline& timeline, const Load& load) {
  const auto found = timeline.requests.find(load.name());
  if (found == timeline.requests.end()) return {};
  return IntendedWithin(found->second, INT64_MIN, PlannedStepsEndNs(timeline, load));
}

std::vector<OfferedSpan> SpansBeforeFaults(const Timeline& timeline, const Load& load) {
  std::vector<OfferedSpan> spans = OfferedSpans(timeline, load);
  const std::optional<int64_t> injected_ns = FirstInjection(timeline);
  if (!injected_ns) return spans;
  for (OfferedSpan& span : spans) span.end_ns = std::min(span.end_ns, *injected_ns);
  spans.erase(std::remove_if(spans.begin(), spans.end(), [](const OfferedSpan& s) { return s.begin_ns >= s.end_ns; }),
              spans.end());
  return spans;
}

int64_t FirstSent(absl::Span<const Request> requests) { return requests.empty() ? 0 : requests.front().sent_ns; }

// All that may have been admitted, also when the answer did not come through.
Room RoomOf(const AdmissionLimit& limit, absl::Span<const Request> requests, const Credits& credits) {
  std::vector<int64_t> sent_ns, end_ns;
  for (const Request& request : requests) {
    if (request.outcome == REJECTED) continue;
    sent_ns.push_back(request.sent_ns);
    end_ns.push_back(request.end_ns);
  }
  // What came before the load is not known.
  std::vector<int64_t> emptied = credits.restarts_ns();
  if (!requests.empty()) emptied.insert(emptied.begin(), FirstSent(requests));
  return limit.window_ns > 0
             ? Room::Window(std::move(sent_ns), std::move(end_ns), limit.burst, limit.window_ns, std::move(emptied))
             : Room::Bucket(std::move(sent_ns), std::move(end_ns), limit.burst, limit.rate, std::move(emptied));
}

// The worth of all causes that are before `ns`, or at it where `inclusive`.
int64_t WorthBefore(const std::vector<std::pair<int64_t, int64_t>>& sums, int64_t ns, bool inclusive) {
  const auto after = std::partition_point(sums.begin(), sums.end(), [&](const auto& each) {
    return inclusive ? each.first <= ns : each.first < ns;
  });
  return after == sums.begin() ? 0 : std::prev(after)->second;
}

}  // namespace

bool IsAdmitted(const Request& request) { return request.outcome == OK || request.outcome == DEGRADED; }

Credits::Credits(const Timeline& timeline, const Stalls& stalls, int64_t from_ns, int64_t refill_ns) {
  std::vector<Cause> causes;
  for (const auto& [begin_ns, end_ns] : stalls.Spans()) causes.push_back({begin_ns, end_ns, end_ns - begin_ns});
  for (const ServiceEvent& event : timeline.services) {
    if (event.at_ns() <= from_ns || (event.what() != ServiceEvent::STARTED && event.what() != ServiceEvent::EXITED)) continue;
    causes.push_back({event.at_ns(), event.at_ns(), refill_ns});
    restarts_ns_.push_back(event.at_ns());
  }
  std::sort(restarts_ns_.begin(), restarts_ns_.end());
  const auto sums = [&](int64_t Cause::*at) {
    std::sort(causes.begin(), causes.end(), [&](const Cause& a, const Cause& b) { return a.*at < b.*at; });
    std::vector<std::pair<int64_t, int64_t>> sorted;
    int64_t worth_ns = 0;
    for (const Cause& cause : causes) sorted.emplace_back(cause.*at, worth_ns += cause.worth_ns);
    return sorted;
  };
  by_begin_ = sums(&Cause::begin_ns);
  by_end_ = sums(&Cause::end_ns);
}

Decided Credits::Stretched(int64_t sent_ns, int64_t end_ns, uint32_t number) const {
  return {sent_ns + WorthBefore(by_end_, sent_ns, false), end_ns + WorthBefore(by_begin_, end_ns, true), number};
}

LimiterScene::LimiterScene(const RateLimiter& limiter, const Timeline& from, const Load& limited, const Stalls& left_out)
    : spec(limiter),
      timeline(from),
      load(limited),
      limit(LimitOf(limiter)),
      stalls(left_out),
      requests(RequestsOf(from, limited)),
      spans(SpansBeforeFaults(from, limited)),
      credits(from, stalls, FirstSent(requests), absl::ToInt64Nanoseconds(limit.refill)),
      room(RoomOf(limit, requests, credits)) {
  for (size_t i = 1; i < spans.size(); ++i) {
    if (!IsBurst(spans[i - 1], spans[i], limit.rate)) continue;
    // Quiet before and, as a rule, after: nothing else is near.
    const int64_t edge_ns = std::min(kEdgeNs, (spans[i - 1].end_ns - spans[i - 1].begin_ns) / 2);
    Burst burst;
    size_t first = static_cast<size_t>(
        IntendedWithin(requests, INT64_MIN, spans[i].begin_ns - edge_ns).size());
    while (first < requests.size() && requests[first].retried) ++first;
    const auto within = IntendedWithin(requests, spans[i].begin_ns - edge_ns, spans[i].end_ns + edge_ns);
    const size_t past = static_cast<size_t>(within.end() - requests.begin());
    size_t last = first;
    while (last < past && !requests[last].retried) ++last;
    burst.requests = requests.subspan(first, last - first);
    if (burst.requests.empty()) continue;
    int64_t last_sent_ns = 0, before_ns = INT64_MIN;
    int64_t first_sent_ns = burst.requests.front().sent_ns;
    for (const Request& request : burst.requests) {
      first_sent_ns = std::min(first_sent_ns, request.sent_ns);
      last_sent_ns = std::max(last_sent_ns, request.sent_ns);
      burst.end_ns = std::max(burst.end_ns, request.end_ns);
      burst.admitted += IsAdmitted(request);
    }
    for (size_t k = 0; k < first; ++k) {
      if (requests[k].outcome != REJECTED) before_ns = std::max(before_ns, requests[k].end_ns);
    }
    burst.quiet_ns = before_ns == INT64_MIN ? 0 : std::max<int64_t>(0, first_sent_ns - before_ns);
    burst.stalled = stalls.Touch(first_sent_ns, burst.end_ns);
    burst.due = std::floor(room.Left(first_sent_ns, first_sent_ns) + (burst.requests.front().outcome == REJECTED ? 0 : 1) + 1e-6);
    burst.enough = static_cast<double>(burst.requests.size()) > limit.Most(last_sent_ns - first_sent_ns);
    bursts.push_back(burst);
  }
}

std::pair<int64_t, int64_t> LimiterScene::Core(const OfferedSpan& span) const {
  const int64_t edge_ns = std::min(kEdgeNs, (span.end_ns - span.begin_ns) / 10);
  return {span.begin_ns + edge_ns, span.end_ns - edge_ns};
}

std::vector<const Request*> LimiterScene::Offered(int64_t begin_ns, int64_t end_ns) const {
  std::vector<const Request*> offered;
  for (const Request& request : IntendedWithin(requests, begin_ns, end_ns)) {
    if (!request.retried && request.outcome != ABANDONED) offered.push_back(&request);
  }
  return offered;
}

bool LimiterScene::RejectedForNothing(const Request& request) const {
  if (request.outcome != REJECTED || stalls.Touch(request.sent_ns, request.end_ns)) return false;
  double room_needed = 1;
  // nginx may have read its clock a little earlier than the request came.
  if (spec.model() == RateLimiter::MODEL_NGINX) room_needed += limit.at_once - limit.burst;
  // Which of several instances a request went to is not known; most of their room must be left together.
  if (spec.instances() > 1) room_needed = std::max(room_needed, limit.burst / 2);
  return room.Left(request.sent_ns, request.end_ns) >= room_needed - 1e-6;
}

}  // namespace squall
