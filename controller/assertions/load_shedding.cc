#include "controller/assertions/load_shedding.h"

#include <algorithm>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/text.h"
#include "controller/assertions/durations.h"
#include "controller/assertions/gates.h"
#include "controller/assertions/promise.h"
#include "controller/assertions/shedding_scene.h"
#include "controller/assertions/verdicts.h"
#include "controller/assertions/words.h"

namespace squall {
namespace {

constexpr double kMostOffered = 1.1;    // of twice the capacity
constexpr size_t kSamplesToTell = 100;  // so that one alone is not their p99
constexpr int64_t kRejectedToTell = 20;
constexpr int64_t kBackWindows = 3;
constexpr double kBackPoints = 1;  // a window is back with so many percent fewer good answers than before
constexpr double kRounding = 1e-9;

// Over the surge, and at its end once more: a queue may take long to fill.
Promise CheckGoodput(const SheddingScene& scene) {
  Promise promise;
  promise.name = "goodput";
  const double limit = scene.spec->capacity() * scene.spec->goodput() / 100;
  const int64_t count = (scene.over_ns - scene.from_ns) / scene.window_ns;
  const int64_t end_ns = scene.from_ns + count * scene.window_ns;
  const Served all = ServedIn(scene, scene.from_ns, end_ns);
  const Served last = ServedIn(scene, end_ns - kSurgeWindows * scene.window_ns, end_ns);
  const bool worse_last = last.PerSecond() < all.PerSecond();
  const Served& worst = worse_last ? last : all;
  const double rate = worst.PerSecond();
  promise.measured = HumanRate(rate);
  promise.limit = absl::StrCat("at least ", HumanRate(limit));
  promise.margin = HumanRate(rate - limit);
  promise.text =
      absl::StrCat(HumanRate(rate), " were good", worse_last ? absl::StrCat(" in the last ", kSurgeWindows, " windows") : "",
                   " of the surge (", HumanRate(limit), " needed)");
  if (rate >= limit - kRounding) return promise;
  promise.result = Verdict::FAIL;
  absl::StrAppend(&promise.text, ": ", HumanPercent(worst.Percent(worst.rejected)), " of ", Counted(worst.all, "request"),
                  " were turned away, ", HumanPercent(worst.Percent(static_cast<int64_t>(worst.bad.size()))),
                  " failed or took longer than ", HumanNanos(scene.slo_ns));
  for (int64_t i = 0; i < count && promise.first_broken_ns == 0; ++i) {
    const int64_t at_ns = scene.from_ns + i * scene.window_ns;
    if (ServedIn(scene, at_ns, at_ns + scene.window_ns).PerSecond() < limit) promise.first_broken_ns = at_ns;
  }
  promise.load = scene.load;
  promise.examples = worst.bad;
  return promise;
}

// p99 of the answers of one sort to what was due after the onset.
template <typename IsOfSort, typename Took>
Promise CheckSpeed(const SheddingScene& scene, absl::string_view what, int64_t limit_ns, int64_t needed, const Obstacle& too_few,
                   IsOfSort is_of_sort, Took took) {
  Promise promise;
  std::vector<const Request*> slow;
  std::vector<int64_t> times_ns;
  for (const Request& request : IntendedWithin(scene.requests, scene.from_ns, scene.over_ns)) {
    if (!is_of_sort(request)) continue;
    times_ns.push_back(took(request));
    if (times_ns.back() > limit_ns) slow.push_back(&request);
  }
  if (static_cast<int64_t>(times_ns.size()) < needed) {
    promise.Open({absl::StrCat(too_few.reason, ": ", times_ns.empty() ? "none" : Grouped(static_cast<int64_t>(times_ns.size())),
                               " during the surge, and ", needed, " are needed"),
                  too_few.advice});
    return promise;
  }
  const int64_t p99_ns = Percentile(times_ns, 99);
  promise.measured = Tenths(p99_ns);
  promise.limit = absl::StrCat("at most ", Tenths(limit_ns));
  promise.margin = Tenths(limit_ns - p99_ns);
  promise.text = absl::StrCat("p99 of ", Counted(static_cast<int64_t>(times_ns.size()), "request"), " ", what, " is ",
                              Tenths(p99_ns), " (limit ", Tenths(limit_ns), ")");
  if (p99_ns <= limit_ns) return promise;
  promise.result = Verdict::FAIL;
  promise.first_broken_ns = slow.front()->intended_ns;
  promise.load = scene.load;
  promise.examples = std::move(slow);
  return promise;
}

Promise CheckAccepted(const SheddingScene& scene) {
  const int64_t limit_ns =
      scene.spec->has_accepted_within() ? Nanos(scene.spec->accepted_within()) : scene.slo_ns + scene.slo_ns / 5;
  Promise promise = CheckSpeed(
      scene, "that were accepted", limit_ns, kSamplesToTell,
      {"too few requests were accepted to tell how quickly", "raise the surge's `for`"},
      // An error is no answer, however quick: it counts against goodput.
      [](const Request& request) { return request.outcome == OK || request.outcome == DEGRADED || request.outcome == TIMED_OUT; },
      [&](const Request& request) { return OwnLatencyNs(request, *scene.stalls); });
  promise.name = "accepted";
  return promise;
}

Promise CheckShed(const SheddingScene& scene) {
  Promise promise = CheckSpeed(
      scene, "that were turned away", Nanos(scene.spec->sheds_within()), kRejectedToTell,
      {"hardly anything was turned away",
       absl::StrCat("raise `capacity` and the surge's `times` if it bears more than ", HumanRate(scene.spec->capacity()),
                    "; otherwise let `rejected_when` of load ", scene.load->name(), " tell what it answers instead")},
      [](const Request& request) { return request.outcome == REJECTED; },
      [&](const Request& request) { return OwnAnswerNs(request, *scene.stalls); });
  promise.name = "turned away";
  return promise;
}

// How the windows after the surge are, against the baseline.
struct Aftermath {
  std::optional<int64_t> back_ns;    // after the surge: end of the last window that was not back before a run of those that are
  std::optional<int64_t> broken_ns;  // begin of that window
  Served broken;
  bool told = false;  // more windows would not change that
  int64_t left_out = 0;
  int64_t all = 0;
};

Aftermath Observe(const SheddingScene& scene, int64_t within_ns, int64_t until_ns) {
  const Served before = ServedIn(scene, scene.baseline.begin_ns, scene.baseline.end_ns);
  const double may_be_bad = 100 - before.Percent(before.good) + kBackPoints;
  Aftermath aftermath;
  int64_t in_a_row = 0;
  for (int64_t at_ns = scene.over_ns; at_ns + scene.window_ns <= until_ns; at_ns += scene.window_ns) {
    const Served served = ServedIn(scene, at_ns, at_ns + scene.window_ns);
    ++aftermath.all;
    if (2 * served.ran_ns < scene.window_ns || served.all == 0) {
      ++aftermath.left_out;
      continue;
    }
    // One request alone tells nothing.
    const double bad = served.Percent(served.all - served.good), one = served.Percent(1) + kRounding;
    const bool back = bad <= std::max(may_be_bad, one) &&
                      served.Percent(served.rejected) <= std::max(before.Percent(before.rejected) + kRounding, one);
    if (!back) {
      in_a_row = 0;
      aftermath.broken_ns = at_ns;
      aftermath.broken = served;
      // No run can begin in time any more.
      if (at_ns + scene.window_ns > scene.over_ns + within_ns) aftermath.told = true;
      continue;
    }
    if (++in_a_row < kBackWindows) continue;
    aftermath.back_ns = aftermath.broken_ns ? *aftermath.broken_ns + scene.window_ns - scene.over_ns : 0;
    aftermath.told = true;
    return aftermath;
  }
  return aftermath;
}

Promise CheckRecovers(const SheddingScene& scene, const Timeline& timeline, bool* told) {
  Promise promise;
  promise.name = "afterwards";
  const int64_t within_ns = Nanos(scene.spec->recovers_within());
  const std::optional<int64_t> next = NextOtherInjection(timeline, scene.time, scene.over_ns);
  const Aftermath aftermath = Observe(scene, within_ns, next ? std::min(*next, scene.complete_ns) : scene.complete_ns);
  *told = aftermath.told || (next && scene.complete_ns >= *next);
  promise.limit = absl::StrCat("at most ", Tenths(within_ns));
  if (auto obstacle = StallGate(aftermath.left_out, aftermath.all, "window", *scene.stalls)) {
    promise.Open(*obstacle);
    return promise;
  }
  if (!aftermath.told) {
    promise.Open(next ? Obstacle{absl::StrCat("the next fault came ", Tenths(*next - scene.over_ns), " after the surge, before ",
                                              HumanNanos(within_ns), " and ", kBackWindows, " windows could pass"),
                                 "start the next fault later: give it a larger `at`"}
                 : !timeline.footer
                     ? Obstacle{"not as before yet after the surge", ""}
                     : Obstacle{"the load ended too soon after the surge to tell whether it is as before", "run it again"});
    return promise;
  }
  if (aftermath.back_ns) {
    const int64_t took_ns = *aftermath.back_ns;
    promise.measured = Tenths(took_ns);
    promise.margin = Tenths(within_ns - took_ns);
    promise.text = took_ns == 0 ? "as before from the first window after the surge"
                                : absl::StrCat("as before ", Tenths(took_ns), " after the surge");
    absl::StrAppend(&promise.text, " (limit ", HumanNanos(within_ns), ")");
    if (took_ns <= within_ns) return promise;
  } else {
    promise.measured = absl::StrCat("not within ", HumanNanos(within_ns));
    promise.text = absl::StrCat("not as before ", HumanNanos(within_ns), " after the surge");
  }
  promise.result = Verdict::FAIL;
  promise.first_broken_ns = *aftermath.broken_ns;
  const Served& broken = aftermath.broken;
  absl::StrAppend(&promise.text, ": at ", Tenths(*aftermath.broken_ns - scene.over_ns), ", ",
                  HumanPercent(broken.Percent(broken.rejected)), " of the requests were turned away, and ",
                  HumanPercent(broken.Percent(static_cast<int64_t>(broken.bad.size()))), " failed or took longer than ",
                  HumanNanos(scene.slo_ns));
  promise.load = scene.load;
  promise.examples = broken.bad;
  if (const std::string other = OtherActingAt(timeline, scene.time, scene.over_ns); !other.empty()) {
    promise.Open({absl::StrCat("fault ", other, " was still acting: ", promise.text), "let the faults act one after another"});
  }
  return promise;
}

// It promises what it does under twice its capacity. That it does so under more would be a promise of its own.
void ExcuseTooMuch(const SheddingScene& scene, std::vector<Promise>& promises) {
  if (scene.offered <= kMostOffered * scene.Twice()) return;
  for (Promise& promise : promises) {
    if (promise.result != Verdict::FAIL) continue;
    promise.Open({absl::StrCat("the surge offered ", HumanRate(scene.offered), ", more than twice the capacity (",
                               HumanRate(scene.Twice()), "), for which nothing is promised: ", promise.text),
                  "lower the surge's `times`"});
  }
}

}  // namespace

Judgement JudgeLoadShedding(const LoadShedding& spec, const Timeline& timeline, const Stalls& stalls) {
  SheddingScene scene;
  const auto obstacle = SetSheddingScene(spec, timeline, stalls, scene);
  const bool complete = scene.over_ns > 0 && scene.complete_ns > scene.over_ns;
  if (obstacle) return {Obstructed(*obstacle).verdict, complete};

  Verdict verdict;
  const Served during = ServedIn(scene, scene.from_ns, scene.over_ns);
  const Served before = ServedIn(scene, scene.baseline.begin_ns, scene.baseline.end_ns);
  verdict.set_samples(during.all);
  AddDetail(verdict, "offered",
            absl::StrCat(HumanRate(scene.offered), " during the surge; the capacity is ", HumanRate(spec.capacity())));
  AddDetail(verdict, "good before",
            absl::StrCat(HumanPercent(before.Percent(before.good)), " of ", Counted(before.all, "request")));
  const int64_t length_ns = scene.over_ns - scene.from_ns;
  if (auto stalled = StallGate((length_ns - during.ran_ns) / 1'000'000, length_ns / 1'000'000, "millisecond", stalls)) {
    return Obstructed(*stalled, verdict);
  }

  bool told = false;
  std::vector<Promise> promises = {CheckGoodput(scene), CheckAccepted(scene), CheckShed(scene),
                                   CheckRecovers(scene, timeline, &told)};
  const bool broken =
      std::any_of(promises.begin(), promises.end(), [](const Promise& promise) { return promise.result == Verdict::FAIL; });
  ExcuseTooMuch(scene, promises);
  return {Conclude(promises, std::move(verdict), timeline), complete && (told || broken)};
}

}  // namespace squall
