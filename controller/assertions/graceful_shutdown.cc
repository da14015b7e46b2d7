#include "controller/assertions/graceful_shutdown.h"

#include <algorithm>
#include <cmath>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/text.h"
#include "controller/assertions/baseline.h"
#include "controller/assertions/durations.h"
#include "controller/assertions/fault_time.h"
#include "controller/assertions/gates.h"
#include "controller/assertions/promise.h"
#include "controller/assertions/shutdown_exit.h"
#include "controller/assertions/verdicts.h"
#include "controller/assertions/windows.h"
#include "controller/assertions/words.h"
#include "controller/process_faults.h"

namespace squall {
namespace {

// A request may be on its way for so long before the service has it, and an answer before the client has that.
constexpr int64_t kMostOnItsWayNs = 5'000'000;
constexpr int64_t kDefaultWithinNs = 30'000'000'000;
constexpr int64_t kLeastNew = 20;

// What was accepted and then turned away was not finished either.
bool IsUnanswered(Outcome outcome) { return IsError(outcome) || outcome == REJECTED; }

// The requests of the load, as the signal found them.
struct Tally {
  int64_t in_flight = 0;
  std::vector<const Request*> dropped;  // in flight, and failed
  int64_t fresh = 0;
  std::vector<const Request*> refused;  // sent afterwards, and failed
  int64_t crossed = 0;                  // the closing of an idle connection
  int64_t left_out = 0;                 // failed while the machine stood still
  double failed_share = 0;              // of the baseline: what fails all the same
};

// When they are told apart.
struct Moments {
  int64_t signalled_ns = 0;
  int64_t on_its_way_ns = 0;
  int64_t until_ns = 0;  // it is there again, or nobody looks any more
  int64_t crossing_ns = 0;
};

Tally Collect(absl::Span<const Request> requests, const Moments& moments, const Stalls& stalls) {
  Tally found;
  // What was sent a moment before the signal may have met a service that had it already: it counts as sent afterwards.
  const int64_t begun_ns = moments.signalled_ns - moments.on_its_way_ns;
  for (const Request& request : requests) {
    if (request.outcome == ABANDONED || request.end_ns <= moments.signalled_ns || request.sent_ns >= moments.until_ns) continue;
    const bool in_flight = request.sent_ns < begun_ns;
    const bool failed = in_flight ? IsUnanswered(request.outcome) : IsError(request.outcome);
    if (!in_flight && request.reused && request.outcome == RESET && request.AnswerNs() <= moments.crossing_ns) {
      ++found.crossed;
      continue;
    }
    if (failed && stalls.Touch(request.sent_ns, request.end_ns)) {
      ++found.left_out;
      continue;
    }
    // An answer that came this soon had been given before.
    if (in_flight && !failed && request.end_ns < moments.signalled_ns + moments.on_its_way_ns) continue;
    ++(in_flight ? found.in_flight : found.fresh);
    if (failed) (in_flight ? found.dropped : found.refused).push_back(&request);
  }
  return found;
}

// Of the baseline, as far as it was before the signal: that is sent before the injection is confirmed.
double FailedShare(absl::Span<const Request> baseline, int64_t signalled_ns) {
  int64_t all = 0, failed = 0;
  for (const Request& request : baseline) {
    if (request.outcome == ABANDONED || request.end_ns > signalled_ns) continue;
    ++all;
    failed += IsUnanswered(request.outcome);
  }
  return all == 0 ? 0 : static_cast<double>(failed) / static_cast<double>(all);
}

// So many of `n` fail where the baseline's share does, with three standard deviations.
double FailAnyway(int64_t n, double share) {
  const double mean = static_cast<double>(n) * share;
  return mean + 3 * std::sqrt(mean);
}

Promise CheckInFlight(const GracefulShutdown& spec, const Load& load, const Tally& found, const std::string& signal) {
  const auto dropped = static_cast<int64_t>(found.dropped.size());
  const int64_t may_fail = spec.in_flight_fail();
  const std::string failed = absl::StrCat(Grouped(dropped), " of ", Counted(found.in_flight, "request"));
  Promise promise;
  promise.name = "in flight";
  promise.measured = absl::StrCat(failed, " failed");
  promise.limit = absl::StrCat("at most ", Grouped(may_fail));
  promise.margin = Grouped(may_fail - dropped);
  promise.text = absl::StrCat(failed, " in flight at ", signal, " failed");
  if (static_cast<double>(dropped) > static_cast<double>(may_fail) + FailAnyway(found.in_flight, found.failed_share)) {
    promise.result = Verdict::FAIL;
    absl::StrAppend(&promise.text, " (", Grouped(may_fail), " may)");
    promise.first_broken_ns = found.dropped.front()->end_ns;
    promise.load = &load;
    promise.examples = found.dropped;
  } else if (found.in_flight <= may_fail) {
    promise.Open({absl::StrCat(found.in_flight == 0 ? "no request" : absl::StrCat("only ", Counted(found.in_flight, "request")),
                               " of load ", load.name(), found.in_flight < 2 ? " was" : " were", " in flight at ", signal,
                               "; at least ", Grouped(may_fail + 1), may_fail == 0 ? " is needed" : " are needed"),
                  "raise `rate`, or send requests that take longer (a latency fault on what they need makes them)"});
  }
  return promise;
}

std::string Points(double points) { return absl::StrFormat("%.2f points", points); }

Promise CheckNew(const GracefulShutdown& spec, const Load& load, const Tally& found, int64_t signalled_ns) {
  const auto refused = static_cast<int64_t>(found.refused.size());
  Promise promise;
  promise.name = "sent afterwards";
  promise.text = absl::StrCat(Grouped(refused), " of ", Counted(found.fresh, "request"), " sent afterwards failed");
  if (spec.new_errors() >= 100) {
    absl::StrAppend(&promise.text, " (all may)");
    return promise;
  }
  if (found.fresh < kLeastNew) {
    promise.Open({absl::StrCat("only ", Counted(found.fresh, "request"), " of load ", load.name(),
                               " were sent between the signal and the restart; at least ", kLeastNew, " are needed"),
                  "raise `rate` or `restart_after`, or write `new_errors: 100%` where no other instance takes over"});
    return promise;
  }
  const auto n = static_cast<double>(found.fresh);
  const double above = 100 * (static_cast<double>(refused) / n - found.failed_share);
  promise.measured = Points(above);
  promise.limit = absl::StrCat("at most ", Points(spec.new_errors()));
  promise.margin = Points(spec.new_errors() - above);
  if (static_cast<double>(refused) <= n * spec.new_errors() / 100 + FailAnyway(found.fresh, found.failed_share) + 1e-9)
    return promise;
  const Request& first = *found.refused.front();
  promise.result = Verdict::FAIL;
  absl::StrAppend(&promise.text, ": ", Points(above), " above the baseline (", HumanPercent(spec.new_errors()),
                  " allowed); the first was ", first.outcome == REFUSED ? "refused " : "sent ",
                  Tenths(std::max<int64_t>(0, first.sent_ns - signalled_ns)), " after it");
  promise.first_broken_ns = first.sent_ns;
  promise.load = &load;
  promise.examples = found.refused;
  return promise;
}

// Why there is no shutdown to be judged.
std::optional<Obstacle> SignalGate(const FaultTime& time) {
  const Fault& fault = *time.parts.front().fault;
  const std::string& signal = fault.kill().signal();
  if (time.parts.size() > 1 || (signal != "SIGTERM" && signal != "SIGINT" && signal != "SIGQUIT" && signal != "SIGHUP")) {
    return Obstacle{absl::StrCat(time.Names(), " asks no service to stop"),
                    "name one kill with `signal: SIGTERM`, SIGINT, SIGQUIT or SIGHUP"};
  }
  if (time.parts.front().span->evidence.signalled_ns() > 0) return std::nullopt;
  return Obstacle{absl::StrCat("it was not recorded when ", fault.name(), " sent its signal"),
                  "run it again with agents of this version"};
}

int64_t WithinOf(const GracefulShutdown& spec, const Kill& kill) {
  if (spec.has_within()) return Nanos(spec.within());
  return kill.has_grace() ? Nanos(kill.grace()) : kDefaultWithinNs;
}

}  // namespace

Judgement JudgeGracefulShutdown(const GracefulShutdown& spec, const Timeline& timeline, const Stalls& stalls) {
  const Load* load = FindLoad(timeline, spec.load());
  if (load == nullptr) return Obstructed({absl::StrCat("the scenario has no load ", spec.load()), ""});
  if (auto obstacle = SteadyGate(timeline)) return Obstructed(*obstacle);
  FaultTime time = TimeOf(timeline, spec.fault());
  FaultSpan gated;
  if (time.parts.size() == 1) {
    // What goes on running breaks a promise here, and is no want of evidence.
    gated = *time.parts.front().span;
    gated.evidence.set_gone(gated.evidence.signalled());
    time.parts.front().span = &gated;
  }
  if (auto obstacle = FaultGate(timeline, time, /*must_be_over=*/true)) return Obstructed(*obstacle);
  if (auto obstacle = SignalGate(time)) return Obstructed(*obstacle);
  const Baseline baseline = BaselineOf(timeline, *load);
  if (auto obstacle = BaselineGate(*load, baseline, stalls)) return Obstructed(*obstacle);

  const Fault& fault = *time.parts.front().fault;
  Shutdown shutdown = {timeline, stalls, fault.kill(), *timeline.FindFault(fault.name())};
  shutdown.signalled_ns = gated.evidence.signalled_ns();
  shutdown.within_ns = WithinOf(spec, fault.kill());
  // When the run is over, squall stops every service.
  shutdown.known_ns = timeline.PhaseStart(PhaseEvent::DONE).value_or(timeline.last_ns);
  Moments moments = {shutdown.signalled_ns, std::min(baseline.fastest_ns, kMostOnItsWayNs) + CrossHostNs(timeline), *time.over_ns,
                     Nanos(spec.crossing())};
  if (LeavesDead(fault)) {
    moments.until_ns = std::min(NextOtherInjection(timeline, time, *time.injected_ns).value_or(INT64_MAX),
                                shutdown.signalled_ns + shutdown.within_ns);
    if (timeline.footer) moments.until_ns = std::min(moments.until_ns, shutdown.known_ns);
  }
  Tally found;
  if (const auto requests = timeline.requests.find(load->name()); requests != timeline.requests.end()) {
    found = Collect(requests->second, moments, stalls);
  }
  found.failed_share = FailedShare(BaselineRequests(timeline, *load, baseline), shutdown.signalled_ns);

  Verdict verdict;
  verdict.set_samples(found.in_flight);
  if (found.crossed > 0) {
    AddDetail(verdict, "crossed the closing of an idle connection",
              absl::StrCat(Counted(found.crossed, "request"), ", not counted"));
  }
  if (found.left_out > 0) AddDetail(verdict, "left out because the machine stood still", Counted(found.left_out, "request"));
  if (auto obstacle = GeneratorGate(timeline, *load, shutdown.signalled_ns, moments.until_ns, stalls)) {
    return Obstructed(*obstacle, std::move(verdict));
  }
  std::vector<Promise> promises = {CheckInFlight(spec, *load, found, fault.kill().signal()), CheckExit(shutdown),
                                   CheckNew(spec, *load, found, shutdown.signalled_ns)};
  if (CompleteUntil(timeline, *load) < moments.until_ns && !timeline.footer)
    promises.back().Open({"not every request has ended", ""});
  if (auto obstacle = StallGate(found.left_out, found.in_flight + found.fresh + found.left_out, "request", stalls)) {
    for (Promise* promise : {&promises.front(), &promises.back()}) {
      if (promise->result == Verdict::PASS) promise->Open(*obstacle);
    }
  }
  verdict = Conclude(promises, std::move(verdict), timeline);
  return {verdict, verdict.result() != Verdict::INCONCLUSIVE};
}

}  // namespace squall
