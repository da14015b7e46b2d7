#include "controller/assertions/baseline.h"

#include <algorithm>

#include "absl/time/time.h"
#include "base/messages.h"
#include "controller/assertions/fault_time.h"
#include "controller/plan.h"

namespace squall {
namespace {

// The plan gives the baseline one window to warm up and ten to be judged. Where the load began a little late,
// the warm-up gives way, so that ten are left.
int64_t WarmUp(int64_t available_ns, int64_t window_ns) {
  return std::clamp(available_ns - 10 * window_ns, window_ns * 3 / 4, window_ns);
}

double MedianOf(const std::vector<Window>& windows, double (*figure)(const Window&)) {
  std::vector<double> values;
  for (const Window& window : windows) {
    if (!window.left_out && !window.empty()) values.push_back(figure(window));
  }
  return values.empty() ? 0 : Median(values);
}

}  // namespace

const Load* FindLoad(const Timeline& timeline, absl::string_view name) {
  return FindNamed(timeline.header.scenario().load(), name);
}

Baseline BaselineOf(const Timeline& timeline, const Load& load) {
  Baseline baseline;
  baseline.stalls = Stalls(timeline.stalls);
  baseline.window_ns = absl::ToInt64Nanoseconds(JudgedWindow(load));
  const auto found = timeline.requests.find(load.name());
  if (found == timeline.requests.end() || found->second.empty()) return baseline;
  const std::vector<Request>& requests = found->second;

  const int64_t start_ns = requests.front().intended_ns;
  // Limits are tried before anything is injected: from then on loads are no longer what they were.
  int64_t until_ns = FirstInjection(timeline).value_or(timeline.last_ns);
  if (const auto limits_ns = timeline.PhaseStart(PhaseEvent::LIMITS)) until_ns = std::min(until_ns, *limits_ns);
  // Nor while loads rest, and warm the service up again after that.
  if (const auto rest_ns = timeline.PhaseStart(PhaseEvent::REST)) until_ns = std::min(until_ns, *rest_ns);
  baseline.begin_ns = start_ns + WarmUp(until_ns - start_ns, baseline.window_ns);
  const int64_t count = std::max<int64_t>((until_ns - baseline.begin_ns) / baseline.window_ns, 0);
  baseline.end_ns = baseline.begin_ns + count * baseline.window_ns;
  baseline.windows = CutWindows(requests, baseline.begin_ns, baseline.window_ns, count, baseline.stalls);
  baseline.left_out = std::count_if(baseline.windows.begin(), baseline.windows.end(),
                                    [](const Window& window) { return window.left_out; });

  baseline.p50_ns = MedianOf(baseline.windows, [](const Window& w) { return static_cast<double>(w.p50_ns); });
  baseline.p95_ns = MedianOf(baseline.windows, [](const Window& w) { return static_cast<double>(w.p95_ns); });
  baseline.error_percent = MedianOf(baseline.windows, [](const Window& w) { return w.ErrorPercent(); });
  baseline.ok_percent = MedianOf(baseline.windows, [](const Window& w) { return w.OkPercent(); });
  for (const Request& request : IntendedWithin(requests, baseline.begin_ns, baseline.end_ns)) {
    if (request.outcome != OK) continue;
    if (baseline.fastest_ns == 0 || request.AnswerNs() < baseline.fastest_ns)
      baseline.fastest_ns = request.AnswerNs();
  }
  return baseline;
}

absl::Span<const Request> BaselineRequests(const Timeline& timeline, const Load& load,
                                           const Baseline& baseline) {
  const auto found = timeline.requests.find(load.name());
  if (found == timeline.requests.end()) return {};
  return IntendedWithin(found->second, baseline.begin_ns, baseline.end_ns);
}

}  // namespace squall
