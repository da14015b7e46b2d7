#include "controller/assertions/health.h"

#include <algorithm>
#include <limits>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "base/text.h"
#include "controller/assertions/durations.h"
#include "controller/assertions/fault_time.h"
#include "controller/assertions/gates.h"
#include "controller/assertions/health_looks.h"
#include "controller/assertions/promise.h"
#include "controller/assertions/verdicts.h"
#include "controller/assertions/words.h"
#include "controller/process_faults.h"

namespace squall {
namespace {

// A fault may act for so long before its injection is confirmed: what was before it is older than that,
constexpr int64_t kInjectingNs = 1'000'000'000;
// and was looked at for so long.
constexpr int64_t kBeforeNs = 2'000'000'000;
// What a fault does to a service that must stay ready may show so much after it.
constexpr int64_t kAftermathNs = 4'000'000'000;
constexpr size_t kShownOfBody = 100;

// What all parts of a verdict need. Points to what must outlive it.
struct Scene {
  const Health& spec;
  const Stalls& stalls;
  const std::vector<HealthSample>& samples;
  FaultTime time;
  int64_t begin_ns = 0;  // the fault acts
  int64_t over_ns = 0;
  int64_t known_ns = 0;    // the last look, as long as nothing else happens to it
  int64_t slack_ns = 0;    // how exactly a moment is known
  int64_t next_ns = 0;     // another fault begins, if ever
  bool comes_back = true;  // what the fault took away
  bool more_may_come = false;

  int64_t ActsUntil() const { return comes_back ? over_ns : known_ns; }
  // No look is missing in the span, so that what was not seen was not.
  bool Covered(int64_t from_ns, int64_t to_ns) const { return known_ns >= to_ns && Gap(samples, from_ns, to_ns, stalls).empty(); }
  // Why something is not known that a span that is not covered would have shown.
  Obstacle Unknown(absl::string_view what, int64_t from_ns, int64_t to_ns) const {
    std::string gap = Gap(samples, from_ns, std::min(to_ns, known_ns), stalls);
    if (gap.empty() && to_ns > next_ns) {
      return {absl::StrCat(what, ", and another fault began ", Tenths(next_ns - over_ns), " after the healing"),
              "leave more time between the faults"};
    }
    if (gap.empty()) gap = absl::StrCat("after ", Tenths(known_ns), " of the run");
    return {absl::StrCat(what, ", and the health of ", spec.service(), " was not asked ", gap),
            more_may_come ? "" : "see that the agent runs all the time, and that the run comes to its end"};
  }
};

std::optional<Obstacle> BeforeGate(const Scene& scene) {
  const std::string& service = scene.spec.service();
  const int64_t until_ns = scene.begin_ns - kInjectingNs;
  const Looks before = LooksOf(scene.samples, until_ns - kBeforeNs, until_ns, scene.stalls);
  if (before.all.size() < 2) {
    return Obstacle{absl::StrCat("the health of ", service, " was not looked at before ", scene.time.Names(), " was injected"),
                    "write `health` on the service, and see that the agent runs from the beginning"};
  }
  if (before.unready.empty()) return std::nullopt;
  return Obstacle{absl::StrCat(service, " was not ready before ", scene.time.Names(), " was injected: it ",
                               Said(before.all[before.unready.front().first])),
                  "mend the service first, or leave it more time after what happened before"};
}

Promise CheckStaysReady(const Scene& scene, const Looks& looks, int64_t until_ns) {
  const std::string& service = scene.spec.service();
  const auto n = static_cast<int64_t>(looks.all.size());
  Promise promise;
  promise.name = "stays ready";
  promise.limit = "always ready";
  if (!looks.unready.empty()) {
    const Look& first = looks.all[looks.unready.front().first];
    const std::string length = Tenths(looks.all[looks.unready.front().last].told_ns - first.told_ns);
    promise.measured = absl::StrCat("not ready for ", length);
    promise.Break(
        absl::StrCat(service, " had to stay ready, and was not for ", length, " from ",
                     Tenths(scene.stalls.Without(scene.begin_ns, first.told_ns)), " after the injection on: it ", Said(first)),
        first.told_ns);
  } else if (auto obstacle = StallGate(looks.left_out, n + looks.left_out, "look", scene.stalls)) {
    promise.Open(*obstacle);
  } else if (!scene.Covered(scene.begin_ns, until_ns)) {
    promise.Open(scene.Unknown("it never said that it was not ready", scene.begin_ns, until_ns));
  } else {
    promise.measured = "always ready";
    promise.text =
        absl::StrCat(service, " said that it was ready in each of ", Counted(n, "look"), ", from the injection to ",
                     Tenths(until_ns - scene.over_ns), " after the healing", looks.alone > 0 ? ", but for single ones" : "");
  }
  return promise;
}

// `unready_ns`: when it turned unready, where that was in time.
Promise CheckUnready(const Scene& scene, const Looks& looks, int64_t& unready_ns) {
  const std::string& service = scene.spec.service();
  const int64_t within_ns = Nanos(scene.spec.unready_within());
  const int64_t limit_ns = within_ns + scene.slack_ns;
  const int64_t due_ns = scene.begin_ns + limit_ns;
  Promise promise;
  promise.name = "not ready";
  if (!looks.unready.empty()) {
    const Look& first = looks.all[looks.unready.front().first];
    const int64_t took_ns = scene.stalls.Without(scene.begin_ns, first.told_ns);
    unready_ns = first.told_ns;
    promise.Took(took_ns, limit_ns);
    promise.text =
        absl::StrCat(service, " said that it was not ready ", Tenths(took_ns), " after the injection: it ", Said(first));
    if (took_ns <= limit_ns) return promise;
    if (!scene.Covered(scene.begin_ns, due_ns)) {
      promise.Open(scene.Unknown("it was not seen to turn unready in time", scene.begin_ns, due_ns));
      return promise;
    }
    promise.Break(absl::StrCat(service, " said that it was ready until ", Tenths(took_ns), " after the injection (",
                               HumanNanos(within_ns), " allowed)"),
                  due_ns);
    return promise;
  }
  promise.limit = absl::StrCat("at most ", Tenths(limit_ns));
  promise.measured = "never";
  const int64_t acted_ns = scene.ActsUntil() - scene.begin_ns;
  const auto n = static_cast<int64_t>(looks.all.size());
  if (scene.comes_back && acted_ns < within_ns) {
    // What it does to a service may show until it is over, and no longer.
    promise.Open({absl::StrCat(service, " never said that it was not ready, and ", scene.time.Names(), " was over after ",
                               Tenths(acted_ns), ", sooner than the ", HumanNanos(within_ns), " that it may take"),
                  "raise the fault's `for`, or lower `unready_within`"});
  } else if (auto obstacle = StallGate(looks.left_out, n + looks.left_out, "look", scene.stalls)) {
    promise.Open(*obstacle);
  } else if (!scene.Covered(scene.begin_ns, due_ns)) {
    promise.Open(scene.Unknown("it was not seen to turn unready", scene.begin_ns, due_ns));
  } else {
    promise.Break(absl::StrCat(service, " went on saying that it was ready for all of the ", Tenths(acted_ns), " that ",
                               scene.time.Names(), " acted", looks.alone > 0 ? ", but for single looks" : ""),
                  due_ns);
  }
  return promise;
}

Promise CheckNames(const Scene& scene, const Looks& looks, int64_t unready_ns) {
  const std::string& name = scene.spec.names();
  const std::string& service = scene.spec.service();
  Promise promise;
  promise.name = absl::StrCat("names ", name);
  promise.limit = absl::StrCat("names ", name);
  int64_t answers = 0;
  for (const Look& look : looks.all) {
    if (look.status < 400 || look.told_ns < unready_ns || look.told_ns > scene.ActsUntil()) continue;
    ++answers;
    if (absl::StrContains(*look.body, name)) continue;
    promise.measured = absl::StrCat("\"", look.body->substr(0, kShownOfBody), "\"");
    promise.Break(absl::StrCat(service, " said that it was not ready, and did not name ", name, ": ", promise.measured),
                  look.told_ns);
    return promise;
  }
  if (answers == 0) {
    promise.Open({absl::StrCat(service, " answered nothing while it was not ready, so that it could not name ", name),
                  "leave out `names` where the fault takes the service itself away"});
    return promise;
  }
  promise.text = absl::StrCat("it named ", name, " in all of ", Counted(answers, "answer"));
  return promise;
}

Promise CheckReady(const Scene& scene) {
  const std::string& service = scene.spec.service();
  const int64_t within_ns = Nanos(scene.spec.ready_within());
  const int64_t limit_ns = within_ns + scene.slack_ns;
  const int64_t due_ns = scene.over_ns + limit_ns;
  const std::string allowed = absl::StrCat(" (", HumanNanos(within_ns), " allowed)");
  const Looks looks = LooksOf(scene.samples, scene.begin_ns, scene.known_ns, scene.stalls);
  Promise promise;
  promise.name = "ready again";
  int64_t ready_ns = scene.over_ns;
  for (const Looks::Unready& unready : looks.unready) {
    if (looks.all[unready.first].told_ns > due_ns) break;  // what is after the time allowed is another matter
    if (unready.last + 1 < looks.all.size()) {
      ready_ns = std::max(ready_ns, looks.all[unready.last + 1].told_ns);
      continue;
    }
    const Look& last = looks.all.back();
    const int64_t still_ns = scene.stalls.Without(scene.over_ns, last.told_ns);
    promise.Took(still_ns, limit_ns);
    if (still_ns <= limit_ns) {
      promise.Open(scene.Unknown(absl::StrCat(service, " was not ready again yet"), scene.over_ns, due_ns));
    } else {
      promise.Break(
          absl::StrCat(service, " was still not ready ", Tenths(still_ns), " after the healing", allowed, ": it ", Said(last)),
          due_ns);
    }
    return promise;
  }
  const int64_t took_ns = scene.stalls.Without(scene.over_ns, ready_ns);
  promise.Took(took_ns, limit_ns);
  promise.text = absl::StrCat("ready again ", Tenths(took_ns), " after the healing");
  if (took_ns > limit_ns) {
    if (scene.Covered(scene.over_ns, ready_ns)) {
      promise.Break(absl::StrCat(service, " was ready again only ", Tenths(took_ns), " after the healing", allowed), due_ns);
    } else {
      promise.Open(scene.Unknown("it was not seen to be ready in time", scene.over_ns, ready_ns));
    }
  } else if (scene.more_may_come && scene.known_ns < due_ns + 2 * kBetweenLooksNs && scene.known_ns < scene.next_ns) {
    promise.Open(
        {absl::StrCat(service, " is ready again, and may change its mind until ", HumanNanos(within_ns), " after the healing"),
         ""});
  }
  return promise;
}

std::vector<Promise> CheckTurns(const Scene& scene, const Looks& looks) {
  int64_t unready_ns = 0;
  std::vector<Promise> promises = {CheckUnready(scene, looks, unready_ns)};
  if (promises.front().result != Verdict::PASS) return promises;
  if (!scene.spec.names().empty()) promises.push_back(CheckNames(scene, looks, unready_ns));
  if (scene.comes_back) {
    promises.push_back(CheckReady(scene));
  } else {
    promises.push_back(
        {.name = "ready again", .text = "not judged whether it is ready again: nothing starts again what was killed"});
  }
  return promises;
}

}  // namespace

Judgement JudgeHealth(const Health& spec, const Timeline& timeline, const Stalls& stalls) {
  if (auto obstacle = SteadyGate(timeline)) return Obstructed(*obstacle);
  FaultTime time = TimeOf(timeline, spec.fault());
  if (auto obstacle = FaultGate(timeline, time, /*must_be_over=*/true)) return Obstructed(*obstacle);
  const auto samples = timeline.health.find(spec.service());
  if (samples == timeline.health.end() || samples->second.empty()) {
    return Obstructed({absl::StrCat("the health of ", spec.service(), " was never asked"), "write `health` on the service"});
  }
  Scene scene = {spec, stalls, samples->second, std::move(time)};
  scene.begin_ns = *scene.time.injected_ns;
  scene.over_ns = *scene.time.over_ns;
  scene.slack_ns = kBetweenLooksNs + CrossHostNs(timeline);
  scene.comes_back = std::none_of(scene.time.parts.begin(), scene.time.parts.end(),
                                  [](const FaultTime::Part& part) { return LeavesDead(*part.fault); });
  scene.more_may_come = !timeline.footer.has_value();
  scene.next_ns = NextOtherInjection(timeline, scene.time, scene.over_ns).value_or(std::numeric_limits<int64_t>::max());
  const HealthSample& last = samples->second.back();
  scene.known_ns = std::min(last.at_ns() + last.took_ns(), scene.next_ns);
  // From here on services are stopped.
  if (const auto done_ns = timeline.PhaseStart(PhaseEvent::DONE)) scene.known_ns = std::min(scene.known_ns, *done_ns);
  if (auto obstacle = BeforeGate(scene)) return Obstructed(*obstacle);

  const bool stays = spec.expect_case() == Health::kStaysReady;
  const int64_t until_ns =
      std::min(std::max(scene.over_ns, scene.begin_ns + Nanos(spec.unready_within())) + kAftermathNs, scene.next_ns);
  const Looks looks = LooksOf(scene.samples, stays ? scene.begin_ns : scene.begin_ns - kInjectingNs, until_ns, stalls);
  Verdict verdict;
  verdict.set_samples(static_cast<int64_t>(looks.all.size()));
  if (looks.alone > 0) AddDetail(verdict, "not ready for one look alone", Counted(looks.alone, "time"));
  if (looks.left_out > 0) AddDetail(verdict, "left out because the machine stood still", Counted(looks.left_out, "look"));
  verdict = Conclude(stays ? std::vector<Promise>{CheckStaysReady(scene, looks, until_ns)} : CheckTurns(scene, looks),
                     std::move(verdict), timeline);
  return {verdict, verdict.result() != Verdict::INCONCLUSIVE};
}

}  // namespace squall
