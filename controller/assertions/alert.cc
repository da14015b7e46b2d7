#include "controller/assertions/alert.h"

#include <algorithm>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/text.h"
#include "controller/assertions/alert_course.h"
#include "controller/assertions/durations.h"
#include "controller/assertions/fault_time.h"
#include "controller/assertions/gates.h"
#include "controller/assertions/promise.h"
#include "controller/assertions/verdicts.h"
#include "controller/assertions/words.h"
#include "controller/process_faults.h"

namespace squall {
namespace {

// A monitor is asked so often.
constexpr int64_t kBetweenLooksNs = 1'000'000'000;
// It may be silent for so long, all in all, before what it did not say says nothing.
constexpr int64_t kMostSilentNs = 2'000'000'000;

bool Fires(AlertSample::State state) { return state == AlertSample::FIRING; }
bool Waits(AlertSample::State state) { return state == AlertSample::PENDING; }
bool FiresNot(AlertSample::State state) { return state != AlertSample::FIRING; }

// Everything that the parts of a verdict need.
struct Scene {
  const Alert& spec;
  const Stalls& stalls;
  AlertCourse course;
  Answering answering;
  FaultTime time;
  int64_t begin_ns = 0;
  int64_t cleared_ns = 0;  // the clock of resolving starts
  int64_t known_ns = 0;    // what was before is known
  int64_t slack_ns = 0;    // how exactly a moment is known
  bool stays_gone = false;
  bool footer = false;

  std::optional<Obstacle> SilenceGate(int64_t from_ns, int64_t to_ns) const {
    const int64_t silent_ns = answering.SilentWithin(from_ns, to_ns);
    if (silent_ns <= kMostSilentNs) return std::nullopt;
    return Obstacle{absl::StrCat("monitor ", spec.monitor(), " did not answer for ", Tenths(silent_ns), " of the ",
                                 Tenths(to_ns - from_ns), " in which it would have told of ", spec.alert()),
                    "see that the monitor runs and answers while the faults act, and that no fault takes it away"};
  }
  Obstacle TooEarly(absl::string_view what) const {
    return {absl::StrCat(spec.alert(), " ", what),
            footer ? "let the run go on for longer after the faults, and leave more time before the next one" : ""};
  }
};

std::optional<Obstacle> BeforeGate(const Scene& scene) {
  const Alert& spec = scene.spec;
  if (!scene.answering.Ever()) {
    return Obstacle{absl::StrCat("monitor ", spec.monitor(), " never answered"),
                    "check its `url`, and that it runs before the load does"};
  }
  if (!scene.answering.At(scene.begin_ns)) {
    return Obstacle{absl::StrCat("monitor ", spec.monitor(), " did not answer when ", scene.time.Names(), " was injected"),
                    "see that it runs before the load does, and that no fault takes it away"};
  }
  const AlertSample::State state = scene.course.At(scene.begin_ns);
  if (state == AlertSample::INACTIVE) return std::nullopt;
  return Obstacle{
      absl::StrCat(spec.alert(), Fires(state) ? " fired" : " was pending", " already when ", scene.time.Names(), " was injected"),
      "mend what it tells of first, or leave it more time to be resolved after what happened before"};
}

std::string NeverFired(const Scene& scene, std::optional<int64_t> pending_ns) {
  const Alert& spec = scene.spec;
  const std::string never = absl::StrCat(spec.alert(), " never fired");
  const std::string allowed = absl::StrCat(" within ", HumanNanos(Nanos(spec.fires_within())), " of the injection");
  if (pending_ns)
    return absl::StrCat(never, allowed, ": it was only pending, from ", Tenths(scene.stalls.Without(scene.begin_ns, *pending_ns)), " on");
  if (!scene.course.others.empty())
    return absl::StrCat(never, allowed, ": monitor ", spec.monitor(), " knows it only with other labels, ", scene.course.others);
  if (scene.answering.TellsByItself())
    return absl::StrCat(never, allowed, ": monitor ", spec.monitor(),
                        " was told nothing of it; check the name, and Alertmanager's routes, silences, mute times and webhook_configs");
  if (scene.course.changes.empty())
    return absl::StrCat(never, ": monitor ", spec.monitor(),
                        " knows no alert of this name that was pending or fired; check the name and that its rule is loaded");
  return absl::StrCat(never, allowed);
}

// `fired_ns`: when, where that was in time.
Promise CheckFires(const Scene& scene, int64_t& fired_ns) {
  const Alert& spec = scene.spec;
  const int64_t within_ns = Nanos(spec.fires_within());
  const int64_t limit_ns = within_ns + scene.slack_ns;
  const int64_t due_ns = scene.begin_ns + limit_ns;
  Promise promise;
  promise.name = "fires";
  const std::optional<int64_t> pending_ns = scene.course.First(scene.begin_ns, scene.known_ns, Waits);
  const std::optional<int64_t> fired = scene.course.First(scene.begin_ns, scene.known_ns, Fires);
  if (fired) {
    fired_ns = *fired;
    const int64_t took_ns = scene.stalls.Without(scene.begin_ns, *fired);
    const std::string pending = pending_ns && *pending_ns < *fired
                                    ? absl::StrCat(" (pending after ", Tenths(scene.stalls.Without(scene.begin_ns, *pending_ns)), ")")
                                    : "";
    promise.Took(took_ns, limit_ns);
    promise.text = absl::StrCat(spec.alert(), " fired ", Tenths(took_ns), " after the injection", pending);
    if (took_ns <= limit_ns) return promise;
    if (auto obstacle = scene.SilenceGate(scene.begin_ns, *fired)) {
      promise.Open(*obstacle);
    } else {
      promise.Break(absl::StrCat(spec.alert(), " fired only ", Tenths(took_ns), " after the injection, ", HumanNanos(within_ns),
                                 " allowed", pending),
                    due_ns);
    }
    return promise;
  }
  promise.measured = "never";
  promise.limit = absl::StrCat("at most ", Tenths(limit_ns));
  const int64_t acted_ns = *scene.time.over_ns - scene.begin_ns;
  if (!scene.stays_gone && acted_ns < within_ns) {
    promise.Open({absl::StrCat(spec.alert(), " never fired, and ", scene.time.Names(), " was over after ", Tenths(acted_ns),
                               ", sooner than the ", HumanNanos(within_ns), " that it may take"),
                  "raise the fault's `for`, or lower `fires_within`"});
  } else if (scene.known_ns < due_ns) {
    promise.Open(scene.TooEarly("has not fired yet"));
  } else if (auto obstacle = scene.SilenceGate(scene.begin_ns, due_ns)) {
    promise.Open(*obstacle);
  } else {
    promise.Break(NeverFired(scene, pending_ns), due_ns);
  }
  return promise;
}

// It went off and on again while the fault acted.
std::optional<Promise> Flapped(const Scene& scene, int64_t until_ns) {
  int64_t fired = 0, again_ns = 0;
  for (const AlertCourse::Change& change : scene.course.changes) {
    if (change.at_ns <= scene.begin_ns || change.at_ns > until_ns || !Fires(change.state)) continue;
    if (++fired == 2) again_ns = change.at_ns;
  }
  if (fired < 2) return std::nullopt;
  Promise promise;
  promise.name = "fires once";
  promise.limit = "once";
  promise.measured = absl::StrCat(fired, " times");
  promise.Break(absl::StrCat(scene.spec.alert(), " flapped: it fired ", fired, " times, the second time ",
                             Tenths(scene.stalls.Without(scene.begin_ns, again_ns)), " after the injection"),
                again_ns);
  return promise;
}

Promise CheckResolves(const Scene& scene, int64_t fired_ns) {
  const Alert& spec = scene.spec;
  const int64_t within_ns = Nanos(spec.resolves_within());
  const int64_t limit_ns = within_ns + scene.slack_ns;
  // It may fire after what it tells of is over, and be resolved before.
  const int64_t from_ns = std::max(scene.cleared_ns, fired_ns);
  const bool resolved_before = FiresNot(scene.course.At(from_ns));
  const std::optional<int64_t> resolved =
      resolved_before ? scene.course.First(fired_ns, from_ns, FiresNot) : scene.course.First(from_ns, scene.known_ns, FiresNot);
  const int64_t resolved_ns = resolved.value_or(scene.known_ns);
  const int64_t took_ns = scene.stalls.Without(scene.cleared_ns, resolved_ns);
  const std::string took = absl::StrCat(Tenths(took_ns), scene.stays_gone ? " after the injection" : " after the healing");
  Promise promise;
  promise.name = "is resolved";
  promise.Took(took_ns, limit_ns);
  promise.text = resolved_before ? "resolved before the healing" : absl::StrCat("resolved ", took);
  if (took_ns <= limit_ns) {
    if (!resolved) promise.Open(scene.TooEarly("is not resolved yet"));
  } else if (auto obstacle = scene.SilenceGate(from_ns, resolved_ns)) {
    promise.Open(*obstacle);
  } else {
    promise.Break(absl::StrCat(spec.alert(), resolved ? " was resolved only " : " still fired ", took, " (",
                               HumanNanos(within_ns), " allowed)"),
                  scene.cleared_ns + limit_ns);
  }
  return promise;
}

}  // namespace

Judgement JudgeAlert(const Alert& spec, const Timeline& timeline, const Stalls& stalls) {
  if (auto obstacle = SteadyGate(timeline)) return Obstructed(*obstacle);
  FaultTime time = TimeOf(timeline, spec.fault());
  if (auto obstacle = FaultGate(timeline, time, /*must_be_over=*/true)) return Obstructed(*obstacle);
  Scene scene = {spec, stalls, AlertCourseOf(spec, timeline), Answering(spec, timeline), std::move(time)};
  scene.begin_ns = *scene.time.injected_ns;
  scene.cleared_ns = ClearedAt(scene.time);
  scene.slack_ns = kBetweenLooksNs + CrossHostNs(timeline);
  scene.stays_gone = std::any_of(scene.time.parts.begin(), scene.time.parts.end(),
                                 [](const FaultTime::Part& part) { return LeavesDead(*part.fault); });
  scene.footer = timeline.footer.has_value();
  // What comes after is due to something else.
  scene.known_ns = NextOtherInjection(timeline, scene.time, *scene.time.over_ns).value_or(timeline.last_ns);
  if (const auto done_ns = timeline.PhaseStart(PhaseEvent::DONE)) scene.known_ns = std::min(scene.known_ns, *done_ns);
  if (auto obstacle = BeforeGate(scene)) return Obstructed(*obstacle);

  Verdict verdict;
  verdict.set_samples(static_cast<int64_t>(scene.course.changes.size()));
  int64_t fired_ns = 0;
  std::vector<Promise> promises = {CheckFires(scene, fired_ns)};
  if (promises.front().result == Verdict::PASS) {
    if (auto flapped = Flapped(scene, std::max(scene.cleared_ns, fired_ns))) promises.push_back(*flapped);
    promises.push_back(CheckResolves(scene, fired_ns));
  }
  verdict = Conclude(promises, std::move(verdict), timeline);
  return {verdict, verdict.result() != Verdict::INCONCLUSIVE};
}

}  // namespace squall
