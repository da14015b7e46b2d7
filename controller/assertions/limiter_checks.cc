#include "controller/assertions/limiter_checks.h"

#include <algorithm>
#include <cmath>
#include <optional>
#include <tuple>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/time.h"
#include "base/text.h"
#include "controller/assertions/baseline.h"
#include "controller/assertions/durations.h"
#include "controller/assertions/windows.h"
#include "controller/assertions/words.h"

namespace squall {
namespace {

constexpr double kBelow = 0.8;
constexpr double kAbove = 1.2;
constexpr double kRateTolerance = 0.05;
constexpr double kRejectsBelow = 0.001;
constexpr int64_t kEnough = 20;
// Intervals of so many windows are held against the exact bound of the model, longer ones against a straight line.
constexpr int kWindows = 16;
// Times are recorded in whole microseconds.
constexpr int64_t kRoundingNs = 2'000;
constexpr int64_t kSpanNs = 9'500'000'000;  // 10 s without its edges
constexpr double kEps = 1e-6;

std::string Rate(double per_second) { return absl::StrFormat("%.4g/s", per_second); }

// At least what a limiter of this kind may do, in words: "20 at once and 100/s".
std::string Promise(const LimiterScene& scene) {
  const AdmissionLimit& limit = scene.limit;
  if (limit.window_ns > 0) {
    return absl::StrCat(Grouped(std::llround(limit.per_window)), " in ", HumanNanos(limit.window_ns));
  }
  return absl::StrCat("a burst of ", Grouped(std::llround(limit.burst)), " and ", Rate(limit.rate));
}

void Break(LimiterCheck& check, std::string reason, const std::vector<const Request*>& examples) {
  check.state = LimiterCheck::kBroken;
  check.reason = std::move(reason);
  check.examples = examples;
  if (check.first_broken_ns == 0 && !examples.empty()) check.first_broken_ns = examples.front()->sent_ns;
}

// An interval, and how many it may have had.
struct Held {
  Busiest busiest;
  double allowed = 0;
  double Over() const { return static_cast<double>(busiest.count) - allowed; }
};

// With the times as they were recorded, since credits are put into those of `busiest`.
Held Hold(const LimiterScene& scene, const Busiest& busiest, double allowed) {
  Held held{busiest, allowed};
  held.busiest.begin_ns = scene.requests[busiest.first].sent_ns;
  held.busiest.end_ns = scene.requests[busiest.last].end_ns;
  return held;
}

struct Bound {
  std::optional<Held> worst;
  std::optional<Held> at_once;     // the worst among short ones
  std::optional<Held> first_over;  // in time
};

void Take(Bound& bound, const Held& held, bool over) {
  if (!bound.worst || held.Over() > bound.worst->Over()) bound.worst = held;
  if (over && (!bound.first_over || held.busiest.begin_ns < bound.first_over->busiest.begin_ns)) bound.first_over = held;
}

Bound FindBound(const LimiterScene& scene) {
  std::vector<Decided> admitted;
  for (size_t i = 0; i < scene.requests.size(); ++i) {
    const Request& request = scene.requests[i];
    if (IsAdmitted(request)) {
      admitted.push_back(scene.credits.Stretched(request.sent_ns, request.end_ns, static_cast<uint32_t>(i)));
    }
  }
  Bound bound;
  const AdmissionLimit& limit = scene.limit;
  const auto most = [&](const Busiest& busiest) { return limit.Most(busiest.end_ns - busiest.begin_ns); };
  if (const auto worst = MostAbove(admitted, limit.rate, limit.at_once + limit.slack + kEps)) {
    Take(bound, Hold(scene, worst->most, most(worst->most)), false);
    if (worst->first_over) {
      Take(bound, Hold(scene, *worst->first_over, most(*worst->first_over)), true);
      // What is too many at once is too many in every interval around it as well; a steeper line finds the short one.
      const Busiest brief = MostAbove(admitted, 2 * limit.rate, 0)->most;
      bound.at_once = Hold(scene, brief, most(brief));
    }
  }
  for (int k = 1; limit.window_ns > 0 && k <= kWindows; ++k) {
    const double allowed = limit.MostWithin(k);
    const auto worst = MostWithin(admitted, k * limit.window_ns - kRoundingNs, allowed + kEps);
    if (!worst || worst->most.count == 0) continue;
    Take(bound, Hold(scene, worst->most, allowed), false);
    if (worst->first_over) Take(bound, Hold(scene, *worst->first_over, allowed), true);
  }
  return bound;
}

std::vector<const Request*> AdmittedIn(const LimiterScene& scene, const Busiest& busiest) {
  std::vector<const Request*> inside;
  for (const Request& request : scene.requests) {
    if (IsAdmitted(request) && request.sent_ns >= busiest.begin_ns && request.end_ns <= busiest.end_ns) {
      inside.push_back(&request);
    }
  }
  // The last of them are those that were too many.
  if (inside.size() > 10) inside.erase(inside.begin(), inside.end() - 10);
  return inside;
}

// A span with more than the limit was offered, from where the burst was spent.
struct Spent {
  int64_t begin_ns = 0;
  int64_t end_ns = 0;
  double offered = 0;      // per second, asked for
  int64_t sent = 0;        // requests in it
  int64_t admitted = 0;    // that were answered
  int64_t passed = 0;      // that were not rejected
  int64_t stalled_ns = 0;
  const Request* first_rejected = nullptr;
  double Seconds() const { return static_cast<double>(end_ns - begin_ns) / 1e9; }
};

// REQUIRES: the span offers more than the limit. Nothing was rejected in it: `begin_ns` is its own.
Spent SpentIn(const LimiterScene& scene, const OfferedSpan& span) {
  Spent spent;
  std::tie(spent.begin_ns, spent.end_ns) = scene.Core(span);
  spent.offered = span.per_second;
  const std::vector<const Request*> offered = scene.Offered(spent.begin_ns, spent.end_ns);
  for (const Request* request : offered) {
    if (request->outcome == REJECTED) {
      spent.first_rejected = request;
      spent.begin_ns = request->end_ns;
      break;
    }
  }
  for (const Request* request : offered) {
    if (request->sent_ns < spent.begin_ns) continue;
    ++spent.sent;
    spent.admitted += IsAdmitted(*request);
    spent.passed += request->outcome != REJECTED;
  }
  spent.stalled_ns = scene.stalls.Within(spent.begin_ns, spent.end_ns);
  return spent;
}

std::vector<Spent> SpansAbove(const LimiterScene& scene) {
  std::vector<Spent> above;
  for (const OfferedSpan& span : scene.spans) {
    const auto [begin_ns, end_ns] = scene.Core(span);
    if (span.per_second >= kAbove * scene.limit.rate - kEps && end_ns - begin_ns >= kSpanNs) above.push_back(SpentIn(scene, span));
  }
  return above;
}

// By how many the requests of a span may differ from rate x time: a window begins or ends in it.
double Ragged(const AdmissionLimit& limit) { return limit.window_ns > 0 ? limit.per_window + limit.slack : limit.slack; }

}  // namespace

LimiterCheck CheckBound(const LimiterScene& scene) {
  LimiterCheck check;
  check.name = "most admitted";
  const Bound bound = FindBound(scene);
  if (!bound.worst) {
    check.figures = check.reason = absl::StrCat("no request of load ", scene.load.name(), " was admitted");
    check.advice = "check that the service answers these requests";
    return check;
  }
  const Held& worst = *bound.worst;
  const std::string length = HumanNanos(worst.busiest.end_ns - worst.busiest.begin_ns);
  const double allowed = std::floor(worst.allowed + kEps);
  check.measured = absl::StrCat(Grouped(worst.busiest.count), " in ", length);
  check.limit = absl::StrCat("at most ", Grouped(std::llround(allowed)), " in ", length);
  check.margin = Grouped(std::llround(allowed) - worst.busiest.count);
  const std::string when = absl::StrCat("from ", Tenths(worst.busiest.begin_ns), " on");
  check.figures = absl::StrCat(check.measured, ", ", when, "; ", Promise(scene), " allow ", Grouped(std::llround(allowed)));
  check.state = LimiterCheck::kHolds;
  if (!bound.first_over) return check;
  check.first_broken_ns = bound.first_over->busiest.begin_ns;
  for (const Spent& spent : SpansAbove(scene)) {
    const double rate = static_cast<double>(spent.admitted) / spent.Seconds();
    const double most = (1 + kRateTolerance) * scene.limit.rate * spent.Seconds() + Ragged(scene.limit);
    if (static_cast<double>(spent.admitted) <= most) continue;
    check.measured = Rate(rate);
    check.limit = absl::StrCat("at most ", Rate((1 + kRateTolerance) * scene.limit.rate));
    check.margin = Rate((1 + kRateTolerance) * scene.limit.rate - rate);
    Break(check,
          absl::StrCat("too much is admitted in the long run: of ", Rate(spent.offered), " offered for ",
                       HumanNanos(spent.end_ns - spent.begin_ns), ", ", check.measured, " were admitted; the limit is ",
                       Rate(scene.limit.rate)),
          AdmittedIn(scene, bound.first_over->busiest));
    return check;
  }
  const Held& told = bound.at_once && bound.at_once->Over() > 0 ? *bound.at_once : worst;
  const auto may = std::llround(std::floor(told.allowed + kEps));
  const std::string within = HumanNanos(told.busiest.end_ns - told.busiest.begin_ns);
  check.measured = absl::StrCat(Grouped(told.busiest.count), " in ", within);
  check.limit = absl::StrCat("at most ", Grouped(may), " in ", within);
  check.margin = Grouped(may - told.busiest.count);
  Break(check,
        absl::StrCat("too many are admitted at once: ", Grouped(told.busiest.count), " were sent and answered within ", within,
                     ", from ", Tenths(told.busiest.begin_ns), " on; ", Promise(scene), " allow ", Grouped(may),
                     " in that time, ", Grouped(told.busiest.count - may), " fewer"),
        AdmittedIn(scene, told.busiest));
  return check;
}

LimiterCheck CheckRejects(const LimiterScene& scene) {
  LimiterCheck check;
  check.name = "turned away otherwise";
  std::vector<const Request*> failed;
  int64_t all = 0;
  for (const OfferedSpan& span : scene.spans) {
    if (span.per_second <= scene.limit.rate) continue;
    for (const Request* request : scene.Offered(span.begin_ns, span.end_ns)) {
      if (scene.stalls.Touch(request->sent_ns, request->end_ns)) continue;
      ++all;
      if (IsError(request->outcome)) failed.push_back(request);
    }
  }
  const auto count = static_cast<int64_t>(failed.size());
  check.figures = absl::StrCat(Grouped(count), " of ", Counted(all, "request"), " offered above the limit");
  check.state = LimiterCheck::kHolds;
  const double allowed =
      std::max(1.0, scene.timeline.header.scenario().steady().errors() / 100 * static_cast<double>(all));
  if (static_cast<double>(count) <= allowed) return check;
  const Request& first = *failed.front();
  const std::string how = first.status > 0               ? absl::StrCat("with status ", first.status)
                          : first.outcome == TIMED_OUT   ? "without an answer in time"
                          : first.outcome == REFUSED     ? "with a refused connection"
                                                         : "with a broken connection";
  check.measured = Counted(count, "error");
  check.limit = absl::StrCat("at most ", Grouped(static_cast<int64_t>(allowed)));
  check.margin = Grouped(static_cast<int64_t>(allowed) - count);
  Break(check,
        absl::StrCat("not rejected as `rejected_when` says: ", Grouped(count), " of ", Counted(all, "request"),
                     " offered above the limit failed instead, the first ", how),
        failed);
  return check;
}

LimiterCheck CheckBelow(const LimiterScene& scene) {
  LimiterCheck check;
  check.only_if_offered = true;
  check.name = absl::StrCat("offered ", Rate(kBelow * scene.limit.rate), " or less");
  std::vector<const Request*> wrongly;
  int64_t all = 0;
  for (const OfferedSpan& span : scene.spans) {
    if (span.per_second <= 0 || span.per_second > kBelow * scene.limit.rate + kEps) continue;
    const auto [begin_ns, end_ns] = scene.Core(span);
    for (const Request* request : scene.Offered(begin_ns, end_ns)) {
      if (scene.stalls.Touch(request->sent_ns, request->end_ns)) continue;
      ++all;
      if (scene.RejectedForNothing(*request)) wrongly.push_back(request);
    }
  }
  const auto count = static_cast<int64_t>(wrongly.size());
  if (all < kEnough) {
    check.figures = absl::StrCat(Counted(all, "request"), ", too few to judge");
    check.reason = absl::StrCat("only ", Counted(all, "request"), " were offered at ", Rate(kBelow * scene.limit.rate),
                                " or less; ", kEnough, " are needed to see that it is not too strict");
    check.advice = "leave out the load's `rate` and `steps`, so that the plan offers what is needed";
    return check;
  }
  check.figures = absl::StrCat(Grouped(count), " of ", Counted(all, "request"), " rejected although there was room for them");
  check.state = LimiterCheck::kHolds;
  if (static_cast<double>(count) <= kRejectsBelow * static_cast<double>(all)) return check;
  check.measured = HumanPercent(100.0 * static_cast<double>(count) / static_cast<double>(all));
  check.limit = "at most 0.1 %";
  Break(check,
        absl::StrCat("too strict: ", Grouped(count), " of ", Counted(all, "request"), " were rejected although ",
                     Rate(kBelow * scene.limit.rate), " or less were offered and there was room for them; the limit is ",
                     Rate(scene.limit.rate)),
        wrongly);
  return check;
}

LimiterCheck CheckAbove(const LimiterScene& scene) {
  LimiterCheck check;
  check.only_if_offered = true;
  check.name = "admitted when more is offered";
  for (const Spent& spent : SpansAbove(scene)) {
    const double seconds = spent.Seconds() - static_cast<double>(spent.stalled_ns) / 1e9;
    const double expected = scene.limit.rate * seconds;
    const bool offered = static_cast<double>(spent.sent) >= 0.95 * kAbove * expected;
    if (spent.first_rejected == nullptr || !offered || expected < static_cast<double>(kEnough) || seconds < 5) continue;
    const double rate = static_cast<double>(spent.passed) / seconds;
    check.figures = absl::StrCat(Rate(rate), " of ", Rate(spent.offered), " over ", HumanNanos(spent.end_ns - spent.begin_ns),
                                 ", once the burst was spent; the limit is ", Rate(scene.limit.rate));
    check.state = LimiterCheck::kHolds;
    if (static_cast<double>(spent.passed) >= (1 - kRateTolerance) * expected - Ragged(scene.limit)) continue;
    check.measured = Rate(rate);
    check.limit = absl::StrCat("at least ", Rate((1 - kRateTolerance) * scene.limit.rate));
    check.margin = Rate(rate - (1 - kRateTolerance) * scene.limit.rate);
    Break(check,
          absl::StrCat("too strict: of ", Rate(spent.offered), " offered for ", HumanNanos(spent.end_ns - spent.begin_ns),
                       ", only ", check.measured, " were admitted; the limit is ", Rate(scene.limit.rate)),
          {spent.first_rejected});
    return check;
  }
  if (check.state == LimiterCheck::kOpen) {
    check.figures = "not offered for long enough";
    check.reason = absl::StrCat("no span of 10 s was offered ", Rate(kAbove * scene.limit.rate),
                                " or more and spent its burst, so that the rate cannot be judged");
    check.advice = "leave out the load's `rate` and `steps`, so that the plan offers what is needed";
  }
  return check;
}

LimiterCheck CheckBursts(const LimiterScene& scene) {
  LimiterCheck check;
  check.only_if_offered = true;
  check.name = "full burst after a quiet time";
  const int64_t needed = std::llround(scene.limit.burst);
  int64_t judged = 0;
  std::string counts;
  for (const Burst& burst : scene.bursts) {
    absl::StrAppend(&counts, counts.empty() ? "" : ", ", Grouped(burst.admitted), " of ",
                    Counted(static_cast<int64_t>(burst.requests.size()), "request"), " after ", HumanNanos(burst.quiet_ns),
                    burst.stalled ? " (the machine stood still)" : "");
    if (burst.stalled) continue;
    std::vector<const Request*> wrongly;
    for (const Request& request : burst.requests) {
      if (scene.RejectedForNothing(request)) wrongly.push_back(&request);
    }
    if (!wrongly.empty()) {
      check.measured = Counted(burst.admitted, "request");
      const int64_t due = std::min<int64_t>(needed, std::llround(burst.due));
      check.limit = absl::StrCat("at least ", Grouped(due));
      check.margin = Grouped(burst.admitted - due);
      Break(check,
            absl::StrCat("the full burst is not there: ", Counted(static_cast<int64_t>(wrongly.size()), "request"),
                         " of a burst after ", HumanNanos(burst.quiet_ns), " of quiet were rejected when at most ",
                         Grouped(burst.admitted), " of ", Grouped(needed), " had been admitted"),
            wrongly);
    }
    judged += burst.enough && burst.due + kEps >= scene.limit.burst;
  }
  check.figures = counts.empty() ? "no burst was offered" : absl::StrCat("admitted ", counts, "; ", Grouped(needed), " are promised");
  if (check.state == LimiterCheck::kBroken) return check;
  if (judged > 0) {
    check.state = LimiterCheck::kHolds;
    return check;
  }
  if (scene.bursts.empty()) {
    check.reason = "no burst was offered after a quiet time, so that the burst cannot be judged";
    check.advice = "leave out the load's `rate` and `steps`, so that the plan offers what is needed";
  } else {
    check.reason = absl::StrCat("no burst can be judged: the machine stood still in it, it was not fast enough to be more than ",
                                Promise(scene), " allow, or the quiet time before was too short");
    check.advice = "run it again on a machine with less else to do";
  }
  return check;
}

}  // namespace squall
