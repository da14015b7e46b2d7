#include <algorithm>
#include <cmath>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_set.h"
#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "base/text.h"
#include "controller/assertions/attempts.h"
#include "controller/assertions/durations.h"
#include "controller/assertions/retry_checks.h"
#include "controller/assertions/words.h"

namespace squall {
namespace {

constexpr int64_t kRequestsToTell = 20;
constexpr double kMostUntraced = 0.1;  // of the calls
constexpr double kMostFannedOut = 0.05;
constexpr double kMayBeShort = 0.01;  // of the gaps
constexpr size_t kMostExamples = 10;

using Calls = absl::Span<const Call* const>;

// The load's calls for which that holds, by request and then by their start.
template <typename Is>
std::vector<const Call*> Traced(const RetryScene& scene, Is is) {
  const uint16_t trace = scene.timeline->TraceOf(scene.load->name());
  std::vector<const Call*> calls;
  for (const Call* call : scene.calls) {
    if (trace != 0 && call->trace == trace && is(*call)) calls.push_back(call);
  }
  std::stable_sort(calls.begin(), calls.end(), [](const Call* a, const Call* b) { return a->number < b->number; });
  return calls;
}

// Says of how many requests they are.
template <typename Each>
int64_t ForEachRequest(Calls calls, Each each) {
  int64_t requests = 0;
  for (size_t first = 0, last = 0; first < calls.size(); first = last) {
    while (last < calls.size() && calls[last]->number == calls[first]->number) ++last;
    each(calls.subspan(first, last - first));
    ++requests;
  }
  return requests;
}

// Why attempts cannot be told by trace ids.
std::optional<Obstacle> TraceGate(const RetryScene& scene, Calls calls) {
  int64_t all = 0, traced = 0;
  for (const Call* call : scene.calls) {
    if (call->start_ns < scene.begin_ns || call->start_ns > scene.over_ns) continue;
    ++all;
    traced += call->trace != 0;
  }
  const std::string& edge = scene.spec->edge();
  if (all > 0 && static_cast<double>(all - traced) > kMostUntraced * static_cast<double>(all)) {
    return Obstacle{
        absl::StrCat(traced == 0 ? "no call" : absl::StrCat("only ", Grouped(traced), " of ", Counted(all, "call")), " over edge ",
                     edge, " carried the trace id of its request, by which the attempts of one are told"),
        "let the service pass on the header `traceparent`, or leave out `attempts` and `backoff`"};
  }
  const int64_t failing = ForEachRequest(calls, [](Calls) {});
  if (failing >= kRequestsToTell) return std::nullopt;
  return Obstacle{
      absl::StrCat(failing == 0 ? "no request" : absl::StrCat("only ", Counted(failing, "request")), " of load ",
                   scene.load->name(), " had a call over edge ", edge, " fail of which the trace id was seen; ", kRequestsToTell,
                   " are needed"),
      "raise `rate` or the fault's `for`, and let calls fail after they have come through (`http`, `latency`): a connect that is "
      "refused, or vanishes, carries no trace id"};
}

void AddExamples(const RetryScene& scene, const std::vector<int64_t>& numbers, Promise& promise) {
  promise.load = scene.load;
  for (const int64_t number : numbers) {
    if (promise.examples.size() >= kMostExamples) return;
    const auto found = std::find_if(scene.requests.begin(), scene.requests.end(),
                                    [&](const Request& request) { return request.number == number; });
    if (found != scene.requests.end()) promise.examples.push_back(&*found);
  }
}

// Attempt `number` + 1 comes no sooner after the end of attempt `number`.
int64_t LeastGapNs(const Backoff& backoff, size_t number) {
  const double grown = static_cast<double>(Nanos(backoff.base())) * std::pow(backoff.multiplier(), static_cast<double>(number) - 1);
  const double longest = std::min(grown, static_cast<double>(Nanos(backoff.longest())));
  return static_cast<int64_t>(longest * (1 - backoff.jitter() / 100));
}

// A call that its caller gives up is seen to end a little later than the caller's clock for the next one starts.
int64_t SlackNs(int64_t gap_ns) { return std::min<int64_t>(gap_ns / 5, 10'000'000); }

// One that makes several calls for a request when nothing fails does not only retry.
bool FansOut(const RetryScene& scene) {
  const auto at_baseline = [&](const Call& call) {
    return call.start_ns >= scene.baseline.begin_ns && call.start_ns < scene.baseline.end_ns;
  };
  int64_t several = 0;
  const int64_t requests = ForEachRequest(Traced(scene, at_baseline), [&](Calls calls) { several += calls.size() > 1; });
  return static_cast<double>(several) > kMostFannedOut * static_cast<double>(requests);
}

}  // namespace

std::vector<const Call*> CallsOfFailing(const RetryScene& scene) {
  const uint16_t trace = scene.timeline->TraceOf(scene.load->name());
  // A load numbers its requests from 0: a bit for each is the least that tells them. Those of retries have numbers far beyond.
  std::vector<bool> failing(scene.requests.size() + scene.requests.size() / 8);
  absl::flat_hash_set<int64_t> others;
  for (const Call* call : scene.calls) {
    if (trace == 0 || call->trace != trace || !IsFailedCall(call->result)) continue;
    if (call->end_ns < scene.begin_ns || call->start_ns > scene.over_ns) continue;
    const auto number = static_cast<uint64_t>(call->number);
    if (number < failing.size()) {
      failing[number] = true;
    } else {
      others.insert(call->number);
    }
  }
  // The first call of such a request may have begun before the fault did, and its last may come after.
  return Traced(scene, [&](const Call& call) {
    const auto number = static_cast<uint64_t>(call.number);
    return number < failing.size() ? failing[number] : others.contains(call.number);
  });
}

Promise CheckAttempts(const RetryScene& scene, const std::vector<const Call*>& calls_of_failing) {
  Promise promise;
  promise.name = "attempts";
  const auto limit = static_cast<size_t>(scene.spec->attempts());
  size_t most = 0;
  int64_t broken_ns = INT64_MAX;
  std::vector<int64_t> beyond;
  const int64_t failing = ForEachRequest(calls_of_failing, [&](Calls calls) {
    most = std::max(most, calls.size());
    if (calls.size() <= limit) return;
    beyond.push_back(calls.front()->number);
    broken_ns = std::min(broken_ns, calls[limit]->start_ns);
  });
  promise.measured = Counted(static_cast<int64_t>(most), "call");
  promise.limit = absl::StrCat("at most ", limit);
  promise.margin = absl::StrCat(static_cast<int64_t>(limit) - static_cast<int64_t>(most));
  if (!beyond.empty()) {
    promise.result = Verdict::FAIL;
    promise.text =
        absl::StrCat(Grouped(static_cast<int64_t>(beyond.size())), " of ", Counted(failing, "request"), " made more than ",
                     Counted(static_cast<int64_t>(limit), "call"), " over edge ", scene.spec->edge(), ": one made ", most);
    promise.first_broken_ns = broken_ns;
    AddExamples(scene, beyond, promise);
  } else if (auto obstacle = TraceGate(scene, calls_of_failing)) {
    promise.Open(*obstacle);
  } else {
    promise.text = absl::StrCat("no request made more than ", Counted(static_cast<int64_t>(most), "call"), " (limit ", limit, ")");
  }
  return promise;
}

Promise CheckBackoff(const RetryScene& scene, const std::vector<const Call*>& calls_of_failing) {
  Promise promise;
  promise.name = "backoff";
  if (auto obstacle = TraceGate(scene, calls_of_failing)) {
    promise.Open(*obstacle);
    return promise;
  }
  if (FansOut(scene)) {
    promise.Open({absl::StrCat("requests of load ", scene.load->name(), " make several calls over edge ", scene.spec->edge(),
                               " when nothing fails, so that attempts cannot be told from other calls"),
                  "leave out `backoff`, or let the load send requests that make one call each"});
    return promise;
  }
  struct Short {
    int64_t number, at_ns, gap_ns, least_ns;
  };
  int64_t gaps = 0;
  std::vector<Short> shorts;
  double shortest = INFINITY;  // against what it must be
  ForEachRequest(calls_of_failing, [&](Calls calls) {
    for (size_t i = 1; i < calls.size(); ++i) {
      const Call &before = *calls[i - 1], &after = *calls[i];
      if (!IsFailedCall(before.result) || scene.stalls->Touch(std::min(before.end_ns, after.start_ns), after.start_ns)) continue;
      const int64_t gap_ns = after.start_ns - before.end_ns;
      const int64_t least_ns = LeastGapNs(scene.spec->backoff(), i);
      ++gaps;
      if (least_ns > 0) shortest = std::min(shortest, static_cast<double>(gap_ns) / static_cast<double>(least_ns));
      if (gap_ns < least_ns - SlackNs(least_ns)) shorts.push_back({after.number, after.start_ns, gap_ns, least_ns});
    }
  });
  if (gaps < kRequestsToTell) {
    promise.Open({absl::StrCat(gaps == 0 ? "nothing" : absl::StrCat("only ", Counted(gaps, "call")), " over edge ",
                               scene.spec->edge(), " was tried again after it had failed; ", kRequestsToTell, " are needed"),
                  "leave out `backoff` where the service does not retry; otherwise raise `rate` or the fault's `for`"});
    return promise;
  }
  if (static_cast<double>(shorts.size()) > kMayBeShort * static_cast<double>(gaps)) {
    const Short& worst = *std::min_element(shorts.begin(), shorts.end(), [](const Short& a, const Short& b) {
      return static_cast<double>(a.gap_ns) * static_cast<double>(b.least_ns) <
             static_cast<double>(b.gap_ns) * static_cast<double>(a.least_ns);
    });
    promise.result = Verdict::FAIL;
    promise.measured = Tenths(worst.gap_ns);
    promise.limit = absl::StrCat("at least ", Tenths(worst.least_ns));
    promise.margin = Tenths(worst.gap_ns - worst.least_ns);
    promise.text = absl::StrCat(Grouped(static_cast<int64_t>(shorts.size())), " of ", Grouped(gaps), " retries came too soon: one ",
                                worst.gap_ns < 0 ? absl::StrCat(Tenths(-worst.gap_ns), " before the attempt before had ended")
                                                 : absl::StrCat(Tenths(worst.gap_ns), " after the attempt before"),
                                " (no sooner than ", Tenths(worst.least_ns), " after it)");
    std::sort(shorts.begin(), shorts.end(), [](const Short& a, const Short& b) { return a.at_ns < b.at_ns; });
    promise.first_broken_ns = shorts.front().at_ns;
    std::vector<int64_t> numbers;
    for (const Short& each : shorts) numbers.push_back(each.number);
    numbers.erase(std::unique(numbers.begin(), numbers.end()), numbers.end());
    AddExamples(scene, numbers, promise);
    return promise;
  }
  promise.text = absl::StrCat(Grouped(gaps), " attempts came after a pause");
  if (std::isfinite(shortest))
    absl::StrAppend(&promise.text, "; the shortest was ", HumanPercent(100 * shortest), " of the least that it may be");
  return promise;
}

}  // namespace squall
