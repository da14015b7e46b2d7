#include "controller/assertions/gray.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "base/text.h"
#include "controller/assertions/fault_time.h"
#include "controller/assertions/verdicts.h"
#include "controller/assertions/words.h"

namespace squall {
namespace {

enum class Light { kUnknown, kGreen, kRed };

// What the health said over a window.
Light LightOf(const std::vector<HealthSample>& samples, int64_t begin_ns, int64_t end_ns) {
  auto sample = std::lower_bound(samples.begin(), samples.end(), begin_ns,
                                 [](const HealthSample& each, int64_t ns) { return each.at_ns() < ns; });
  if (sample == samples.end() || sample->at_ns() >= end_ns) return Light::kUnknown;
  for (; sample != samples.end() && sample->at_ns() < end_ns; ++sample) {
    if (sample->status() < 200 || sample->status() >= 400) return Light::kRed;
  }
  return Light::kGreen;
}

bool IsOut(Standing standing) { return standing == Standing::kOut || standing == Standing::kFarOut; }

}  // namespace

Judgement JudgeGray(const Gray& spec, const Timeline& timeline, const Load& load, const Baseline& baseline, const Band& band,
                    const Stalls& stalls) {
  const std::optional<int64_t> injected_ns = FirstInjection(timeline);
  const auto requests = timeline.requests.find(load.name());
  const auto health = timeline.health.find(spec.service());
  if (!injected_ns || requests == timeline.requests.end()) return Obstructed({"nothing was injected", "run it again"});
  if (health == timeline.health.end() || health->second.empty()) {
    return Obstructed({absl::StrCat("the health of ", spec.service(), " was never asked"), "check the URL under its `health`"});
  }
  int64_t until_ns = CompleteUntil(timeline, load);
  if (const auto rests_ns = LoadChangesAt(timeline, *injected_ns)) until_ns = std::min(until_ns, *rests_ns);
  const int64_t count = std::max<int64_t>((until_ns - *injected_ns) / baseline.window_ns, 0);
  const std::vector<Window> windows =
      CutWindows(requests->second, *injected_ns, baseline.window_ns, count, stalls, LeaveOut::kTouchedByStall);
  int out = 0, unknown = 0, longest_out = 0, gray = 0;
  for (const Window& window : windows) {
    if (window.left_out) continue;
    if (!IsOut(StandingOf(window, band))) {
      out = gray = 0;
      continue;
    }
    longest_out = std::max(longest_out, ++out);
    const Light light = LightOf(health->second, window.begin_ns, window.begin_ns + baseline.window_ns);
    unknown += light == Light::kUnknown;
    gray = light == Light::kGreen ? gray + 1 : 0;
    if (gray < spec.windows()) continue;
    Verdict verdict;
    verdict.set_result(Verdict::FAIL);
    verdict.set_first_broken_ns(window.begin_ns - (gray - 1) * baseline.window_ns);
    verdict.set_samples(count);
    verdict.set_reason(absl::StrCat("gray failure: the health of ", spec.service(), " stayed green for ", Counted(gray, "window"),
                                    " in a row in which callers were not served: ", WorstSeries(window, band)));
    return {verdict, /*final=*/true};
  }
  if (longest_out < spec.windows()) {
    return Obstructed({absl::StrCat("callers were out of band for at most ", Counted(longest_out, "window"), " in a row, and ", spec.windows(),
                                    " are needed to tell a gray failure"),
                       "let the fault last longer, or write fewer `windows` in `gray`"});
  }
  if (unknown > 0) {
    return Obstructed({absl::StrCat("the health of ", spec.service(), " was not asked in ", Counted(unknown, "window"), " that matter"),
                       "run it again on a machine with less else to do"});
  }
  Verdict verdict;
  verdict.set_result(Verdict::PASS);
  return {verdict, timeline.footer.has_value()};
}

}  // namespace squall
