#include "controller/assertions/retry_checks.h"

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/text.h"
#include "controller/assertions/durations.h"
#include "controller/assertions/words.h"
#include "controller/process_faults.h"

namespace squall {
namespace {

constexpr int64_t kFailedToTell = 20;
// Where more than this may be chance, a figure beyond the limit is not known to be within it.
constexpr double kMostNoise = 0.25;
constexpr int64_t kBinNs = 100'000'000;
constexpr double kZ99 = 2.33;
constexpr double kRounding = 1e-9;

// "1.08 x".
std::string Times(double times) { return absl::StrCat(std::round(times * 100) / 100, " x"); }

bool Counts(const Amplified& window) { return !window.left_out && !window.quiet; }

int64_t LeftOut(const std::vector<Amplified>& windows) {
  return std::count_if(windows.begin(), windows.end(), [](const Amplified& window) { return window.left_out; });
}

// What decides of the windows that count: the first that is sure to be beyond the limit, else the highest. Null: none counts.
const Amplified* Deciding(const std::vector<Amplified>& windows, double limit) {
  const Amplified* highest = nullptr;
  for (const Amplified& window : windows) {
    if (!Counts(window)) continue;
    if (window.AtLeast() > limit + kRounding) return &window;
    if (highest == nullptr || window.Times() > highest->Times()) highest = &window;
  }
  return highest;
}

// Holds one window against a limit. `when`: "during the fault".
void Hold(const Amplified& window, double limit, absl::string_view when, const RetryScene& scene, Promise& promise) {
  promise.measured = Times(window.Times());
  promise.limit = absl::StrCat("at most ", Times(limit));
  promise.margin = Times(limit - window.Times());
  promise.text = absl::StrCat("calls over edge ", scene.spec->edge(), " were ", Times(window.Times()), " the usual ", when,
                              " (limit ", Times(limit), ")");
  const std::string figures =
      absl::StrCat(": ", Grouped(std::llround(window.tried)), " in ", Tenths(window.end_ns - window.begin_ns), ", where ",
                   Grouped(std::llround(window.usual)), " are usual for ",
                   Counted(std::llround(scene.Requests(window.begin_ns, window.end_ns)), "request"));
  if (window.AtLeast() > limit + kRounding) {
    promise.result = Verdict::FAIL;
    promise.text += figures;
    promise.first_broken_ns = window.begin_ns;
  } else if (window.Times() > limit + kRounding && window.Noise() > kMostNoise) {
    promise.Open({absl::StrCat(promise.text, figures, ", which are too few to tell it from chance"), "raise `rate`"});
  }
}

// What stands in the way of saying anything about retries.
std::optional<Obstacle> FailuresGate(const RetryScene& scene, const std::vector<Amplified>& windows, bool any_counts) {
  const std::string& edge = scene.spec->edge();
  const int64_t failed = scene.Failed();
  if (failed == 0 && scene.by_connects) {
    return Obstacle{absl::StrCat("no connect over edge ", edge, " was tried during the fault, so that there was nothing to retry"),
                    "raise the fault's `for` until the service gives up the connections that it has"};
  }
  if (failed < kFailedToTell) {
    return Obstacle{
        absl::StrCat(failed == 0 ? "no call" : absl::StrCat("only ", Counted(failed, "call")), " over edge ", edge,
                     " failed during the fault, so that there was ", failed == 0 ? "nothing" : "too little", " to retry; ",
                     kFailedToTell, " are needed"),
        "raise `delay` above the service's own deadline, or `for` or `rate`; a breaker that opens leaves little to retry"};
  }
  if (auto obstacle = StallGate(LeftOut(windows), static_cast<int64_t>(windows.size()), "window", *scene.stalls)) return obstacle;
  if (any_counts) return std::nullopt;
  return Obstacle{absl::StrCat("hardly a call over edge ", edge,
                               " was tried in any window of the fault, as behind an open breaker, so that there was "
                               "nothing to retry"),
                  "let calls fail in a way that opens no breaker, as `http` with a `percent` below its threshold"};
}

// The most calls in one bin of the span, and when that began.
struct Busiest {
  double calls = 0;
  int64_t at_ns = 0;
};
Busiest BusiestIn(const RetryScene& scene, int64_t begin_ns, int64_t end_ns) {
  Busiest busiest;
  for (int64_t at_ns = begin_ns; at_ns + kBinNs <= end_ns; at_ns += kBinNs) {
    const double calls = scene.Calls(at_ns, at_ns + kBinNs);
    if (calls > busiest.calls) busiest = {calls, at_ns};
  }
  return busiest;
}

}  // namespace

Promise CheckAmplification(const RetryScene& scene, const std::vector<Amplified>& windows) {
  Promise promise;
  promise.name = "during the fault";
  const Amplified* deciding = Deciding(windows, scene.spec->at_most());
  if (auto obstacle = FailuresGate(scene, windows, deciding != nullptr)) {
    promise.Open(*obstacle);
  } else {
    Hold(*deciding, scene.spec->at_most(), "while calls failed", scene, promise);
  }
  return promise;
}

Promise CheckSurge(const RetryScene& scene, bool* told) {
  Promise promise;
  promise.name = "after healing";
  *told = true;
  const auto& parts = scene.time.parts;
  if (std::any_of(parts.begin(), parts.end(), [](const FaultTime::Part& part) { return LeavesDead(*part.fault); })) {
    promise.text = "not judged after the fault, since the peer stays dead";
    return promise;
  }
  const int64_t end_ns = scene.over_ns + Nanos(scene.spec->surge_for());
  const std::optional<int64_t> next = NextOtherInjection(*scene.timeline, scene.time, scene.over_ns);
  const int64_t until_ns = std::min({end_ns, next.value_or(end_ns), scene.complete_ns});
  const std::vector<Amplified> windows = AmplifiedIn(scene, scene.over_ns, until_ns, /*tried=*/false);
  if (const Amplified* deciding = Deciding(windows, scene.spec->surge()))
    Hold(*deciding, scene.spec->surge(), "after healing", scene, promise);
  if (promise.result == Verdict::FAIL) {
    if (const std::string other = OtherActingAt(*scene.timeline, scene.time, scene.over_ns); !other.empty()) {
      promise.Open({absl::StrCat("fault ", other, " was still acting: ", promise.text), "let the faults act one after another"});
    }
    return promise;
  }
  if (until_ns < end_ns || windows.empty()) {
    const std::string needed = absl::StrCat(HumanNanos(end_ns - scene.over_ns), " after healing are needed");
    if (next && until_ns == *next) {
      promise.Open({absl::StrCat("the next fault came ", Tenths(until_ns - scene.over_ns), " after healing; ", needed),
                    "start the next fault later: give it a larger `at`; or lower `surge_for`"});
    } else if (!scene.timeline->footer) {
      promise.Open({absl::StrCat(needed, ", and not all are recorded yet"), ""});
      *told = false;
    } else {
      promise.Open({absl::StrCat("the load ended too soon: ", needed), "run it again"});
    }
  } else if (auto obstacle = StallGate(LeftOut(windows), static_cast<int64_t>(windows.size()), "window", *scene.stalls)) {
    promise.Open(*obstacle);
  } else if (promise.text.empty()) {
    promise.Open(
        {absl::StrCat("hardly a call over edge ", scene.spec->edge(), " was made in the ", HumanNanos(end_ns - scene.over_ns),
                      " after healing"),
         "let the load run on after the fault, and see whether the service calls again at all (`circuit_breaker`, `recovery`)"});
  }
  return promise;
}

Promise CheckSynchrony(const RetryScene& scene, const std::vector<Amplified>& windows) {
  Promise promise;
  promise.name = "in step";
  const double limit = scene.spec->synchrony();
  // Requests that make many calls at once do so when nothing fails, too.
  const double anyway = BusiestIn(scene, scene.baseline.begin_ns, scene.baseline.end_ns).calls;
  double worst = 0;
  for (const Amplified& window : windows) {
    if (!Counts(window)) continue;
    const Busiest busiest = BusiestIn(scene, window.begin_ns, window.end_ns);
    // Few calls because a breaker held them back for a part of the window are no reason to call the others a crowd.
    const double calls = std::max(scene.Calls(window.begin_ns, window.end_ns),
                                  scene.calls_per_request * scene.Requests(window.begin_ns, window.end_ns));
    const double mean = calls * static_cast<double>(kBinNs) / static_cast<double>(window.end_ns - window.begin_ns);
    if (mean <= 0 || busiest.calls / mean <= worst) continue;
    worst = busiest.calls / mean;
    promise.measured = Times(worst);
    promise.limit = absl::StrCat("at most ", Times(limit));
    promise.margin = Times(limit - worst);
    // With few calls in a bin, three times as many come by chance: of 5 at random some bin has 15. What is sure of them, with 99 %
    // confidence, must be beyond the limit.
    const double sure = busiest.calls - kZ99 * std::sqrt(busiest.calls);
    if (sure <= std::max(limit * mean, anyway) + kRounding) continue;
    promise.result = Verdict::FAIL;
    promise.first_broken_ns = busiest.at_ns;
    promise.text =
        absl::StrCat("retries come in step: ", Grouped(std::llround(busiest.calls)), " calls over edge ", scene.spec->edge(),
                     " in 100 ms, ", Tenths(busiest.at_ns - scene.begin_ns), " after the injection, where the mean is ",
                     std::round(mean * 10) / 10, " (limit ", Times(limit), ")");
    return promise;
  }
  promise.text = worst > 0
                     ? absl::StrCat("the busiest 100 ms had ", Times(worst), " the mean (limit ", Times(limit), ")")
                     : "whether retries come in step is not known: connects that come to no call are counted only once a second";
  return promise;
}

}  // namespace squall
