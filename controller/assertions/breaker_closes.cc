#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/text.h"
#include "controller/assertions/attempts.h"
#include "controller/assertions/breaker_checks.h"
#include "controller/assertions/breaker_probes.h"
#include "controller/assertions/breaker_shape.h"
#include "controller/assertions/durations.h"
#include "controller/assertions/words.h"
#include "controller/process_faults.h"

namespace squall {
namespace {

constexpr double kFlowing = 0.9;  // of the expected calls
constexpr double kHalf = 0.5;
constexpr int kClosedWindows = 3;
constexpr double kStaysClosed = 0.99;  // of the windows
constexpr int64_t kWindowsToTell = 10;

// Why calls have not come back, as far as what came tells.
std::string WhyNotClosed(const BreakerScene& scene, const std::optional<int64_t>& opened_ns,
                         int64_t until_ns) {
  const int64_t tries = scene.CallsBetween(scene.over_ns, until_ns);
  int64_t answered = 0;
  int64_t last_ns = opened_ns.value_or(scene.over_ns);
  for (const Call& call : scene.calls) {
    if (call.start_ns >= until_ns) break;
    last_ns = std::max(last_ns, call.start_ns);
    answered += call.start_ns > scene.over_ns && call.result == ANSWERED;
  }
  if (answered > 0) {
    return absl::StrCat("; it tried ", Counted(tries, "call"), " meanwhile, of which ", Grouped(answered),
                        answered == 1 ? " was" : " were", " answered, and did not stay closed");
  }
  if (tries > 0)
    return absl::StrCat("; it tried ", Counted(tries, "call"), " meanwhile, none of which was answered");
  if (!opened_ns) return "";
  const bool probed = !EpisodesOf(scene, *opened_ns, until_ns).empty();
  return absl::StrCat("; it has tried nothing since ", probed ? "the probe at " : "it opened at ",
                      Tenths(last_ns), ", ", HumanNanos(until_ns - last_ns), " before, with an open time of ",
                      HumanNanos(Nanos(scene.spec->open_time())),
                      probed ? ": wedged half-open, as if that probe were still awaited" : "");
}

// Whether bins [first, last) carry what is usual. Requests may be shared out among several processes
// otherwise than at baseline: then it is enough that all of them together make the usual calls, and this one
// at least half of its own.
class Flow {
 public:
  Flow(const BreakerScene& scene, int64_t from_ns, int64_t until_ns)
      : scene_(scene),
        own_(*scene.timeline, scene.spec->edge(), scene.load->name(), from_ns, until_ns, scene.source),
        all_(*scene.timeline, scene.spec->edge(), scene.load->name(), from_ns, until_ns) {}

  const Attempts& own() const { return own_; }
  double Usual(size_t first, size_t last) const {
    return scene_.calls_per_request * own_.Requests(first, last);
  }
  bool Calls(size_t first, size_t last) const { return Enough(first, last, &Attempts::Calls); }
  bool Answers(size_t first, size_t last) const { return Enough(first, last, &Attempts::Answered); }

 private:
  bool Enough(size_t first, size_t last, double (Attempts::*count)(size_t, size_t) const) const {
    const double usual = Usual(first, last);
    if (usual <= 0) return false;
    const double own = (own_.*count)(first, last) / usual;
    if (own >= kFlowing || !scene_.source) return own >= kFlowing;
    const double usual_of_all = scene_.calls_of_all * all_.Requests(first, last);
    return own >= kHalf && (all_.*count)(first, last) >= kFlowing * usual_of_all;
  }

  const BreakerScene& scene_;
  const Attempts own_;
  const Attempts all_;
};

size_t BinsOfAWindow(const BreakerScene& scene) {
  return static_cast<size_t>((scene.baseline.window_ns + Attempts::kBinNs - 1) / Attempts::kBinNs);
}

}  // namespace

Finding CheckCloses(const BreakerScene& scene, const std::optional<int64_t>& opened_ns,
                    std::optional<int64_t>* closed_ns) {
  Finding finding{"closes", Verdict::PASS};
  const std::vector<FaultTime::Part>& parts = scene.time.parts;
  if (std::any_of(parts.begin(), parts.end(), [](const auto& part) { return LeavesDead(*part.fault); })) {
    finding.result = Verdict::INCONCLUSIVE;
    finding.text = "the peer stays dead, so that the breaker has no reason to close";
    finding.advice = "give the `kill` a `restart_after` or, where it has a supervisor, `supervisor_within`";
    return finding;
  }
  const std::optional<int64_t> next = NextOtherInjection(*scene.timeline, scene.time, scene.over_ns);
  const int64_t until_ns = next ? std::min(*next, scene.complete_ns) : scene.complete_ns;
  const Flow flow(scene, scene.over_ns, until_ns);
  const Attempts& attempts = flow.own();
  const size_t width = BinsOfAWindow(scene);
  auto flows = [&](size_t first) {
    return flow.Calls(first, first + width) && flow.Answers(first, first + width);
  };
  for (size_t bin = 0; bin + kClosedWindows * width <= attempts.bins(); ++bin) {
    if (!flows(bin) || !flows(bin + width) || !flows(bin + 2 * width)) continue;
    const int64_t took_ns = static_cast<int64_t>(bin) * Attempts::kBinNs;
    *closed_ns = scene.over_ns + took_ns;
    finding.Took(took_ns, scene.close_within_ns);
    finding.text = absl::StrCat("closed ", Tenths(took_ns), " after healing (limit ",
                                HumanNanos(scene.close_within_ns), ")");
    if (took_ns > scene.close_within_ns + scene.cross_host_ns) {
      finding.result = Verdict::FAIL;
      finding.first_broken_ns = scene.over_ns + scene.close_within_ns;
    }
    return finding;
  }

  const int64_t needed_ns =
      scene.close_within_ns + kClosedWindows * static_cast<int64_t>(width) * Attempts::kBinNs;
  const int64_t seen_ns = static_cast<int64_t>(attempts.bins()) * Attempts::kBinNs;
  if (seen_ns < needed_ns) {
    finding.result = Verdict::INCONCLUSIVE;
    finding.pending = !next && !scene.timeline->footer;
    finding.text = absl::StrCat("calls have not come back in the ", Tenths(seen_ns),
                                " after healing that are recorded; ", Tenths(needed_ns), " are needed");
    finding.advice = next ? "start the next fault later: give it a larger `at`" : "run it to its end";
    return finding;
  }
  const size_t last = attempts.bins() - width;
  const double usual = scene.calls_per_request * attempts.Requests(last, last + width);
  finding.result = Verdict::FAIL;
  finding.first_broken_ns = scene.over_ns + scene.close_within_ns;
  finding.measured = absl::StrCat("not within ", Tenths(seen_ns));
  finding.limit = absl::StrCat("at most ", Tenths(scene.close_within_ns));
  finding.text =
      absl::StrCat("did not close: ", Tenths(seen_ns), " after healing ",
                   HumanPercent(usual > 0 ? 100 * attempts.Answered(last, last + width) / usual : 0),
                   " of the usual calls are answered (limit ", HumanNanos(scene.close_within_ns), ")",
                   WhyNotClosed(scene, opened_ns, until_ns));
  return finding;
}

Finding CheckStaysClosed(const BreakerScene& scene) {
  if (scene.calls_hidden) {
    Finding hidden{"stays closed", Verdict::INCONCLUSIVE, "calls vanish under this fault with or without a breaker"};
    hidden.advice = "use a fault that lets calls arrive, such as `latency`";
    return hidden;
  }
  const size_t width = BinsOfAWindow(scene);
  const Flow flow(scene, scene.begin_ns, scene.over_ns);
  const Attempts& attempts = flow.own();
  int64_t judged = 0;
  int64_t broken = 0;
  double least = 100;
  Finding finding{"stays closed", Verdict::PASS};
  for (size_t bin = 0; bin + width <= attempts.bins(); bin += width) {
    const int64_t from_ns = attempts.BinStart(bin);
    const double usual = flow.Usual(bin, bin + width);
    if (usual <= 0 || scene.stalls->Touch(from_ns, attempts.BinStart(bin + width))) continue;
    ++judged;
    least = std::min(least, 100 * attempts.Calls(bin, bin + width) / usual);
    if (flow.Calls(bin, bin + width)) continue;
    ++broken;
    if (finding.first_broken_ns == 0) finding.first_broken_ns = from_ns;
  }
  const BreakerScene::Failures failures = scene.FailedCalls();
  finding.took_ns = broken;
  finding.measured = absl::StrCat("at least ", HumanPercent(std::round(least)));
  finding.limit = absl::StrCat("at least ", HumanPercent(100 * kFlowing));
  finding.text =
      absl::StrCat("calls went below ", HumanPercent(100 * kFlowing), " of what is usual in ",
                   Grouped(broken), " of ", Counted(judged, "window"), " of the fault (limit 1 %), while ",
                   Counted(failures.count, "call"), " failed");
  if (static_cast<double>(broken) > (1 - kStaysClosed) * static_cast<double>(judged)) {
    finding.result = Verdict::FAIL;
    if (const std::string shape = OtherShape(scene, scene.begin_ns, scene.over_ns); !shape.empty()) {
      absl::StrAppend(&finding.text, "; ", shape);
    }
    return finding;
  }
  finding.first_broken_ns = 0;
  if (judged < kWindowsToTell) {
    finding.result = Verdict::INCONCLUSIVE;
    finding.text = absl::StrCat("only ", Counted(judged, "window"), " of the fault can be judged; ",
                                Grouped(kWindowsToTell), " are needed");
    finding.advice = "raise the fault's `for`";
  }
  return finding;
}

}  // namespace squall
