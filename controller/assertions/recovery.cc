#include "controller/assertions/recovery.h"

#include <algorithm>
#include <optional>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "base/text.h"
#include "controller/assertions/band.h"
#include "controller/assertions/durations.h"
#include "controller/assertions/gates.h"
#include "controller/assertions/gray.h"
#include "controller/assertions/pressure.h"
#include "controller/assertions/verdicts.h"
#include "controller/assertions/words.h"
#include "controller/plan.h"

namespace squall {
namespace {

// Where the clock of the budget starts, and where it must stop.
struct Clock {
  int64_t start_ns = 0;
  const char* after = "";        // "healing", "the injection"
  std::optional<int64_t> stops;  // the next fault that the assertion is not about, or the end of the load
};

Recovery::Since SinceOf(const Recovery& spec, const FaultTime& time) {
  if (spec.since() != Recovery::SINCE_UNSPECIFIED) return spec.since();
  return time.AllKills() ? Recovery::SINCE_INJECT : Recovery::SINCE_HEAL;
}

// REQUIRES: the fault gate is open.
Clock ClockOf(const Recovery& spec, const FaultTime& time, const Timeline& timeline) {
  Clock clock;
  if (SinceOf(spec, time) == Recovery::SINCE_HEAL) {
    clock.after = "healing";
    clock.start_ns = *time.over_ns;
  } else if (spec.since() == Recovery::SINCE_INJECT) {
    clock.after = "the injection";
    clock.start_ns = *time.injected_ns;
  } else {
    // Several kills, and nobody said which: the last one.
    clock.after = "the injection";
    for (const FaultTime::Part& part : time.parts)
      clock.start_ns = std::max(clock.start_ns, *part.span->injected_ns);
  }
  clock.stops = NextOtherInjection(timeline, time, clock.start_ns);
  if (const auto changes_ns = LoadChangesAt(timeline, clock.start_ns)) clock.stops = std::min(clock.stops.value_or(INT64_MAX), *changes_ns);
  // The fault's host may have been early with its "healed", as the load's clock has it.
  clock.start_ns += CrossHostNs(timeline);
  return clock;
}

// What is known of the time after the fault.
struct Aftermath {
  Clock clock;
  Band band;
  int64_t window_ns = 0;
  int64_t within_ns = 0;
  size_t needed = 0;  // windows of a run
  std::vector<Window> windows;
  std::vector<Standing> standings;
  Course course;

  int64_t After(size_t window) const { return static_cast<int64_t>(window) * window_ns; }
  // So many windows decide that it did not recover in time: those that begin within the budget, and one run.
  size_t Horizon() const { return static_cast<size_t>(within_ns / window_ns) + needed; }
  bool RecoveredInTime() const { return course.recovered && After(*course.recovered) <= within_ns; }
  // The windows on which the verdict rests.
  size_t Decisive() const { return course.recovered ? course.run_end : std::min(windows.size(), Horizon()); }
  // A run that begins within the budget may still come, as far as the windows tell.
  bool CanStillRecover() const {
    const bool pending = course.pending && After(*course.pending) <= within_ns;
    return pending || After(windows.size()) <= within_ns;
  }
};

int64_t CountOf(Standing standing, const std::vector<Standing>& standings, size_t count) {
  return std::count(standings.begin(), standings.begin() + static_cast<int64_t>(count), standing);
}
int64_t LeftOut(const std::vector<Standing>& standings, size_t count) {
  return CountOf(Standing::kLeftOut, standings, count);
}

bool IsOut(Standing standing) {
  return standing != Standing::kIn && standing != Standing::kLeftOut && standing != Standing::kHungUp;
}

// What a fault had clients hang up on says nothing of the service, and without it too little is left.
bool IsHungUp(const Window& window, int64_t length_ns, const Timeline& timeline, const Load& load) {
  return window.abandoned > 0 && window.requests < kRequestsInWindow &&
         !HungUpBy(timeline, load.name(), window.begin_ns, window.begin_ns + length_ns).empty();
}

Aftermath Observe(const Recovery& spec, const Timeline& timeline, const Load& load, const Baseline& baseline,
                  const Stalls& stalls, const Clock& clock) {
  Aftermath aftermath;
  aftermath.clock = clock;
  aftermath.band = BandOf(spec, timeline.header.scenario().steady(), baseline);
  aftermath.window_ns = baseline.window_ns;
  aftermath.within_ns = Nanos(spec.within());
  aftermath.needed = static_cast<size_t>(spec.windows());
  int64_t until_ns = CompleteUntil(timeline, load);
  if (clock.stops) until_ns = std::min(until_ns, *clock.stops);
  const int64_t count = until_ns > clock.start_ns ? (until_ns - clock.start_ns) / baseline.window_ns : 0;
  const auto requests = timeline.requests.find(load.name());
  if (requests != timeline.requests.end()) {
    const auto cut = [&](int64_t begin_ns, int64_t windows, LeaveOut leave_out, const Stalls& from) {
      return CutWindows(requests->second, begin_ns, baseline.window_ns, windows, from, leave_out);
    };
    aftermath.windows = cut(clock.start_ns, count, LeaveOut::kDueInStall, stalls);
    for (const Window& window : aftermath.windows) {
      // Where nothing stood still, both ways leave out the same.
      const Window untouched = window.stalled ? cut(window.begin_ns, 1, LeaveOut::kTouchedByStall, stalls).front() : window;
      Standing standing = StandingOf(window, untouched, aftermath.band);
      if (IsOut(standing) && stalls.WithSlight() != nullptr &&
          StandingOf(untouched, LaterBy(Stalls::kMostSlightNs, aftermath.band)) == Standing::kIn) {
        const Window without = cut(window.begin_ns, 1, LeaveOut::kTouchedByStall, *stalls.WithSlight()).front();
        if (without.left_out || StandingOf(without, aftermath.band) == Standing::kIn) standing = Standing::kLeftOut;
      }
      if (IsHungUp(window, baseline.window_ns, timeline, load)) standing = Standing::kHungUp;
      aftermath.standings.push_back(standing);
    }
  }
  aftermath.course = Follow(aftermath.standings, aftermath.needed);
  return aftermath;
}

// The last window out of band among the first `count`.
std::optional<size_t> LastOut(const Aftermath& aftermath, size_t count) {
  for (size_t i = std::min(count, aftermath.standings.size()); i-- > 0;) {
    if (IsOut(aftermath.standings[i])) return i;
  }
  return std::nullopt;
}

// The first window that broke the promise: the first out of band from the end of the budget on, else the last
// before it.
std::optional<size_t> Breaker(const Aftermath& aftermath) {
  const auto budget = static_cast<size_t>(aftermath.within_ns / aftermath.window_ns);
  for (size_t i = budget; i < aftermath.standings.size(); ++i) {
    if (IsOut(aftermath.standings[i])) return i;
  }
  return LastOut(aftermath, aftermath.standings.size());
}

void AddFigures(Verdict& verdict, const Aftermath& aftermath, const Baseline& baseline, const FaultTime& time,
                const Timeline& timeline) {
  const Band& band = aftermath.band;
  auto latency = [&](absl::string_view name, double median_ns, double limit_ns) {
    AddDetail(verdict, name,
              absl::StrCat("baseline ", HumanNanos(static_cast<int64_t>(median_ns)), ", in band up to ",
                           HumanNanos(static_cast<int64_t>(limit_ns))));
  };
  latency("p50", baseline.p50_ns, band.p50_ns);
  latency("p95", baseline.p95_ns, band.p95_ns);
  AddDetail(verdict, "errors",
            absl::StrCat("baseline ", HumanPercent(baseline.error_percent), ", in band up to ",
                         HumanPercent(band.error_percent), " or one request a window"));
  AddDetail(verdict, "goodput",
            absl::StrCat("baseline ", HumanPercent(baseline.ok_percent), " of requests, in band from ",
                         HumanPercent(band.ok_percent)));
  AddDetail(
      verdict, "windows",
      absl::StrCat(aftermath.windows.size(), " of ", HumanNanos(aftermath.window_ns), " after the fault, ",
                   baseline.windows.size(), " before; a run needs ", aftermath.needed));
  if (const int64_t left_out = LeftOut(aftermath.standings, aftermath.standings.size()); left_out > 0) {
    AddDetail(verdict, "left out because the machine stood still", Counted(left_out, "window"));
  }
  if (aftermath.course.recovered) {
    const int64_t back_ns = aftermath.clock.start_ns + aftermath.After(*aftermath.course.recovered);
    AddDetail(verdict, "counted from the injection", Tenths(back_ns - *time.injected_ns));
  }
  if (!aftermath.course.relapses.empty()) {
    AddDetail(verdict, "relapses", absl::StrCat(aftermath.course.relapses.size(), ", at most 1"));
  }
  if (time.healing_took_ns > 0) {
    AddDetail(verdict, "from asking for healing to its confirmation", Tenths(time.healing_took_ns));
  }
  if (timeline.header.clock_uncertainty_ns() > 0) {
    AddDetail(verdict, "clocks agree to within", HumanNanos(timeline.header.clock_uncertainty_ns()));
  }
}

void Break(Verdict& verdict, const Aftermath& aftermath, std::optional<size_t> window,
           const Timeline& timeline, const Load& load) {
  verdict.set_result(Verdict::FAIL);
  if (!window) return;
  const Window& broken = aftermath.windows[*window];
  verdict.set_first_broken_ns(broken.begin_ns);
  for (const Request& request : IntendedWithin(timeline.requests.at(load.name()), broken.begin_ns,
                                               broken.begin_ns + aftermath.window_ns)) {
    const auto latency_ns = static_cast<double>(request.LatencyNs());
    if (request.outcome != ABANDONED && (request.outcome != OK || latency_ns > aftermath.band.p95_ns)) {
      AddExample(verdict, timeline, load, request);
    }
  }
}

std::string LimitText(const Aftermath& aftermath) {
  return absl::StrCat("(limit ", HumanNanos(aftermath.within_ns), ")");
}

// REQUIRES: it recovered.
void ConcludeRecovered(Verdict& verdict, const Aftermath& aftermath, const Timeline& timeline,
                       const Load& load) {
  const size_t recovered = *aftermath.course.recovered;
  const int64_t took_ns = aftermath.After(recovered);
  verdict.set_measured(Tenths(took_ns));
  verdict.set_margin(Tenths(aftermath.within_ns - took_ns));
  std::string reason = recovered == 0
                           ? absl::StrCat("in band from the first window after ", aftermath.clock.after)
                           : absl::StrCat("back in band ", Tenths(took_ns), " after ", aftermath.clock.after);
  absl::StrAppend(&reason, " ", LimitText(aftermath));
  verdict.set_result(Verdict::PASS);
  if (took_ns > aftermath.within_ns) {
    const auto budget = static_cast<size_t>(aftermath.within_ns / aftermath.window_ns);
    Break(verdict, aftermath, Breaker(aftermath), timeline, load);
    if (const auto out = LastOut(aftermath, std::min(budget + 1, recovered))) {
      absl::StrAppend(&reason,
                      "; when the budget ended: ", WorstSeries(aftermath.windows[*out], aftermath.band));
    }
  } else if (!aftermath.course.relapses.empty()) {
    absl::StrAppend(&reason, ", after one relapse ",
                    Tenths(aftermath.After(aftermath.course.relapses.front())), " after ",
                    aftermath.clock.after);
  }
  verdict.set_reason(reason);
}

void ConcludeRelapses(Verdict& verdict, const Aftermath& aftermath, const Timeline& timeline,
                      const Load& load) {
  const size_t last = aftermath.course.relapses.back();
  Break(verdict, aftermath, last, timeline, load);
  verdict.set_measured(Counted(static_cast<int64_t>(aftermath.course.relapses.size()), "relapse"));
  verdict.set_reason(absl::StrCat("back in band, and out of it again ",
                                  aftermath.course.relapses.size() > 1 ? "more than once" : "for good",
                                  ": the last time ", Tenths(aftermath.After(last)), " after ",
                                  aftermath.clock.after, ", with ",
                                  WorstSeries(aftermath.windows[last], aftermath.band)));
}

void ConcludeNotRecovered(Verdict& verdict, const Aftermath& aftermath, const Timeline& timeline,
                          const Load& load) {
  Break(verdict, aftermath, Breaker(aftermath), timeline, load);
  verdict.set_measured(absl::StrCat("not within ", HumanNanos(aftermath.After(aftermath.windows.size()))));
  const auto budget = static_cast<size_t>(aftermath.within_ns / aftermath.window_ns);
  std::string reason =
      absl::StrCat("still out of band ", HumanNanos(aftermath.within_ns), " after ", aftermath.clock.after);
  if (const auto out = LastOut(aftermath, budget + 1)) {
    absl::StrAppend(&reason, ": ", WorstSeries(aftermath.windows[*out], aftermath.band));
  } else if (const auto later = LastOut(aftermath, aftermath.windows.size())) {
    absl::StrAppend(&reason, ": later on, ", WorstSeries(aftermath.windows[*later], aftermath.band));
  }
  verdict.set_reason(reason);
}

// The second half of what was seen after the fault: what settles down shows there.
Pressure PressureAfter(const Recovery& spec, const Timeline& timeline, const Load& load, const Baseline& baseline,
                       const Aftermath& aftermath) {
  const size_t half = aftermath.windows.size() / 2;
  return PressureOf(timeline, spec.edge(), load, baseline, aftermath.clock.start_ns + aftermath.After(half),
                    aftermath.clock.start_ns + aftermath.After(aftermath.windows.size()));
}

std::string PressureText(const Pressure& pressure) {
  std::vector<std::string> parts;
  if (pressure.amplification) parts.push_back(absl::StrFormat("%.1f times the calls per request", *pressure.amplification));
  if (pressure.in_flight) parts.push_back(absl::StrFormat("%.1f times the requests in flight", *pressure.in_flight));
  return absl::StrJoin(parts, ", ");
}

// What kind of failure it is that lasts: told by what happened when the load was cut (design of the test: Bronson et al., "Metastable
// Failures in Distributed Systems", HotOS 2021), else only suspected.
void TellWhyItLasts(Verdict& verdict, const Recovery& spec, const Timeline& timeline, const Load& load, const Baseline& baseline,
                    const Aftermath& aftermath, const Stalls& stalls) {
  const Pressure pressure = PressureAfter(spec, timeline, load, baseline, aftermath);
  const std::string figures = PressureText(pressure);
  if (!figures.empty()) AddDetail(verdict, "while it lasts, against the baseline", figures);
  const std::optional<int64_t> restored_ns = timeline.PhaseStart(PhaseEvent::RESTORED);
  if (!restored_ns) {
    if (pressure.IsHigh() && !spec.confirm_metastable()) {
      verdict.set_reason(absl::StrCat(verdict.reason(), "; with ", figures,
                                      " it may be held down by its own load: `confirm_metastable: true` tells"));
    }
    return;
  }
  Clock clock;
  clock.after = "the load was restored";
  clock.start_ns = *restored_ns;
  clock.stops = LoadChangesAt(timeline, *restored_ns);
  const Aftermath restored = Observe(spec, timeline, load, baseline, stalls, clock);
  if (restored.RecoveredInTime()) {
    verdict.set_reason(absl::StrCat("METASTABLE: ", verdict.reason(), "; it recovered only once its load had been cut to nothing, ",
                                    Tenths(restored.After(*restored.course.recovered)), " after that was restored"));
  } else if (!restored.CanStillRecover()) {
    verdict.set_reason(absl::StrCat("DAMAGED: ", verdict.reason(), "; nor did it recover when its load was cut to nothing and restored"));
  } else {
    AddDetail(verdict, "after the load was restored", "too few windows to tell whether it recovered");
  }
}

// Whether it recovered in time cannot be told of windows in which clients hung up.
std::optional<Obstacle> HungUpGate(const Aftermath& aftermath, const Timeline& timeline, const Load& load) {
  const size_t decisive = aftermath.Decisive();
  const int64_t hung_up = CountOf(Standing::kHungUp, aftermath.standings, decisive);
  if (hung_up == 0) return std::nullopt;
  const std::string fault = HungUpBy(timeline, load.name(), aftermath.clock.start_ns,
                                     aftermath.clock.start_ns + aftermath.After(decisive));
  return Obstacle{absl::StrCat("fault ", fault, " had so many clients hang up in ", Grouped(hung_up), " of ",
                               Counted(static_cast<int64_t>(decisive), "window"), " that fewer than ", kRequestsInWindow,
                               " requests are left to judge each of them by"),
                  "lower its `share` or raise `rate`, or count the time from healing (`since: heal`)"};
}

// Why the windows do not suffice yet, or never will.
Obstacle NotEnough(const Aftermath& aftermath, const Timeline& timeline) {
  const std::string seen = absl::StrCat(Counted(static_cast<int64_t>(aftermath.windows.size()), "window"),
                                        " after ", aftermath.clock.after);
  if (aftermath.clock.stops && *aftermath.clock.stops == LoadChangesAt(timeline, aftermath.clock.start_ns)) {
    return {absl::StrCat("the load rested or was cut ", Tenths(*aftermath.clock.stops - aftermath.clock.start_ns), " after ",
                         aftermath.clock.after, ", with ", seen, ", and it may still have recovered"),
            "write a longer `rest` beside `repeat`"};
  }
  if (aftermath.clock.stops) {
    return {absl::StrCat("the next fault came ", Tenths(*aftermath.clock.stops - aftermath.clock.start_ns),
                         " after ", aftermath.clock.after, ", before ", HumanNanos(aftermath.within_ns),
                         " and a run of ", aftermath.needed, " windows could pass"),
            "start the next fault later: give it a larger `at`"};
  }
  if (!timeline.footer) return {absl::StrCat("not recovered yet: ", seen, " so far"), ""};
  return {
      absl::StrCat("the load ended too soon: only ", seen, " are recorded, and it may still have recovered"),
      "run it again; if the machine often stands still, on one with less else to do"};
}

std::optional<Obstacle> AfterStallGate(const Aftermath& aftermath, const Stalls& stalls) {
  const size_t decisive = aftermath.Decisive();
  const int64_t left_out = LeftOut(aftermath.standings, decisive);
  auto obstacle = StallGate(left_out, static_cast<int64_t>(decisive), "window", stalls);
  if (!obstacle) return std::nullopt;
  // A few stalls weigh less once there are more windows.
  const size_t all = aftermath.standings.size();
  return StallGate(LeftOut(aftermath.standings, all), static_cast<int64_t>(all), "window", stalls);
}

Judgement JudgeReturn(const Recovery& spec, const Timeline& timeline, const Stalls& stalls) {
  const Load* load = FindLoad(timeline, spec.load());
  if (load == nullptr) return Obstructed({absl::StrCat("the scenario has no load ", spec.load()), ""});
  if (auto obstacle = SteadyGate(timeline)) return Obstructed(*obstacle);
  const FaultTime time = TimeOf(timeline, spec.fault());
  const bool must_be_over = SinceOf(spec, time) == Recovery::SINCE_HEAL;
  if (auto obstacle = FaultGate(timeline, time, must_be_over)) return Obstructed(*obstacle);

  const Baseline baseline = BaselineOf(timeline, *load);
  if (auto obstacle = BaselineGate(*load, baseline, stalls)) return Obstructed(*obstacle);
  if (baseline.ok_percent <= 0) {
    return Obstructed({absl::StrCat("no request of load ", load->name(), " was `ok` before the fault"),
                       "mend the service or the load's `degraded_when` and `rejected_when` first"});
  }

  const Aftermath aftermath = Observe(spec, timeline, *load, baseline, stalls, ClockOf(spec, time, timeline));
  Verdict verdict;
  verdict.set_samples(static_cast<int64_t>(aftermath.windows.size()));
  verdict.set_limit(absl::StrCat("at most ", Tenths(aftermath.within_ns), " after ", aftermath.clock.after));
  AddFigures(verdict, aftermath, baseline, time, timeline);

  const int64_t decided_ns = aftermath.clock.start_ns + aftermath.After(aftermath.Decisive());
  for (const auto& [begin_ns, end_ns] :
       {std::pair(baseline.begin_ns, baseline.end_ns), std::pair(aftermath.clock.start_ns, decided_ns)}) {
    if (auto obstacle = GeneratorGate(timeline, *load, begin_ns, end_ns, stalls))
      return Obstructed(*obstacle, verdict);
  }
  if (auto obstacle = AfterStallGate(aftermath, stalls)) return Obstructed(*obstacle, verdict);

  bool final = true;
  if (aftermath.course.relapses.size() > 1) {
    ConcludeRelapses(verdict, aftermath, timeline, *load);
  } else if (aftermath.course.recovered) {
    ConcludeRecovered(verdict, aftermath, timeline, *load);
    if (spec.confirm_metastable() && verdict.result() == Verdict::FAIL) verdict.set_reason(absl::StrCat("SLOW: ", verdict.reason()));
  } else if (aftermath.CanStillRecover()) {
    Judgement judgement = Obstructed(NotEnough(aftermath, timeline), verdict);
    // With the next fault, no more of these windows will come.
    judgement.final = aftermath.clock.stops && CompleteUntil(timeline, *load) >= *aftermath.clock.stops;
    return judgement;
  } else {
    if (aftermath.course.relapses.empty()) {
      ConcludeNotRecovered(verdict, aftermath, timeline, *load);
    } else {
      ConcludeRelapses(verdict, aftermath, timeline, *load);
    }
    TellWhyItLasts(verdict, spec, timeline, *load, baseline, aftermath, stalls);
    // Refuted already, but a reader wants to see the windows after the budget too, and whether it comes back by itself.
    final = timeline.footer || (aftermath.windows.size() >= aftermath.Horizon() && !spec.confirm_metastable());
  }
  if (verdict.result() == Verdict::FAIL) {
    if (const auto obstacle = HungUpGate(aftermath, timeline, *load)) {
      verdict.clear_first_broken_ns();
      verdict.clear_examples();
      Judgement judgement = Obstructed(*obstacle, verdict);
      judgement.final = final;
      return judgement;
    }
    if (const std::string other = OtherActingAt(timeline, time, aftermath.clock.start_ns); !other.empty()) {
      verdict.clear_first_broken_ns();
      verdict.clear_examples();
      Judgement judgement =
          Obstructed({absl::StrCat("fault ", other, " was still acting: ", verdict.reason()),
                      "let the faults act one after another"},
                     verdict);
      judgement.final = final;
      return judgement;
    }
  }
  return {verdict, final};
}

}  // namespace

bool IsStuck(const Recovery& spec, const Timeline& timeline) {
  const Stalls stalls(timeline.stalls);
  if (JudgeReturn(spec, timeline, stalls).verdict.result() != Verdict::FAIL) return false;
  const Load* load = FindLoad(timeline, spec.load());
  const Clock clock = ClockOf(spec, TimeOf(timeline, spec.fault()), timeline);
  return !Observe(spec, timeline, *load, BaselineOf(timeline, *load), stalls, clock).course.recovered;
}

Judgement JudgeRecovery(const Recovery& spec, const Timeline& timeline, const Stalls& stalls) {
  Judgement judgement = JudgeReturn(spec, timeline, stalls);
  const Load* load = FindLoad(timeline, spec.load());
  if (!spec.has_gray() || load == nullptr || judgement.verdict.result() == Verdict::RESULT_UNSPECIFIED) return judgement;
  const Baseline baseline = BaselineOf(timeline, *load);
  if (SteadyGate(timeline) || BaselineGate(*load, baseline, stalls) || FaultGate(timeline, TimeOf(timeline, spec.fault()), false)) return judgement;
  const Judgement gray = JudgeGray(spec.gray(), timeline, *load, baseline, BandOf(spec, timeline.header.scenario().steady(), baseline), stalls);
  if (gray.verdict.result() == Verdict::PASS) {
    AddDetail(judgement.verdict, "health", "turned red while callers were not served");
    return judgement;
  }
  if (judgement.verdict.result() == Verdict::FAIL) {
    AddDetail(judgement.verdict, "health", gray.verdict.reason());
    return judgement;
  }
  if (gray.verdict.result() == Verdict::INCONCLUSIVE && judgement.verdict.result() == Verdict::INCONCLUSIVE) return judgement;
  AddDetail(judgement.verdict, "of the return to normal", judgement.verdict.reason());
  judgement.verdict.set_result(gray.verdict.result());
  judgement.verdict.set_reason(gray.verdict.reason());
  judgement.verdict.set_advice(gray.verdict.advice());
  judgement.verdict.set_first_broken_ns(gray.verdict.first_broken_ns());
  judgement.final = gray.final || timeline.footer.has_value();
  return judgement;
}

}  // namespace squall
