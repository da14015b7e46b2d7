#include "controller/assertions/gates.h"

#include <algorithm>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/text.h"
#include "controller/assertions/direct_traffic.h"
#include "controller/assertions/durations.h"
#include "controller/assertions/load_evidence.h"
#include "controller/assertions/network_evidence.h"
#include "controller/assertions/process_evidence.h"
#include "controller/assertions/words.h"
#include "controller/fault_group.h"

namespace squall {
namespace {

constexpr int64_t kBaselineWindows = 10;

std::string WithMessage(absl::string_view text, const FaultSpan& span) {
  return span.message.empty() ? std::string(text) : absl::StrCat(text, ": ", span.message);
}

std::optional<Obstacle> InjectionGate(const Timeline& timeline, const FaultSpan& span) {
  if (span.injection_failed) {
    return Obstacle{WithMessage(absl::StrCat("fault ", span.name, " could not be injected"), span),
                    "`squall check` says what the fault needs on this host"};
  }
  if (span.injected_ns) return std::nullopt;
  if (timeline.footer) {
    return Obstacle{absl::StrCat("fault ", span.name, " was never injected"), "run it to its end"};
  }
  return Obstacle{absl::StrCat("fault ", span.name, " is not injected yet"), ""};
}

// What stands in the way of believing that the fault fired.
std::optional<Obstacle> EvidenceGate(const Fault& fault, const Evidence& evidence) {
  switch (GroupOf(fault)) {
    case FaultGroup::kNetwork:
      return NetworkGate(fault, evidence);
    case FaultGroup::kDns:
      if (!evidence.answered().empty()) return std::nullopt;
      return Obstacle{
          absl::StrCat("fault ", fault.name(), " was not observed: ", fault.dns().service(), " asked for none of ",
                       absl::StrJoin(fault.dns().names(), ", "), " while it acted",
                       evidence.forwarded() > 0
                           ? absl::StrCat(" (it asked ", Counted(evidence.forwarded(), "time"), " for other names)")
                           : ""),
          "check the names as they are asked, search domains included; otherwise the service keeps addresses or connections "
          "(a cache, a pool: raise `for` beyond the records' TTL), or finds the name in /etc/hosts or through a "
          "daemon over a unix socket (nscd, systemd-resolved)"};
    case FaultGroup::kProcess:
      return ProcessGate(fault, evidence);
    case FaultGroup::kLoad:
      return LoadGate(fault, evidence);
    case FaultGroup::kNone:
      break;
  }
  return Obstacle{absl::StrCat("fault ", fault.name(), " is of no known kind"), ""};
}

std::optional<Obstacle> HealingGate(const Timeline& timeline, const FaultTime::Part& part) {
  const FaultSpan& span = *part.span;
  if (span.healing_not_confirmed) {
    return Obstacle{WithMessage(absl::StrCat("healing of fault ", span.name, " was not confirmed"), span),
                    "undo what the report lists as not healed, then run it again"};
  }
  if (OverAt(timeline, part)) return std::nullopt;
  if (timeline.footer) {
    return Obstacle{absl::StrCat("fault ", span.name, " was never confirmed as healed"), "run it to its end"};
  }
  return Obstacle{absl::StrCat("fault ", span.name, " still acts"), ""};
}

struct SendCounts {
  bool recorded = false;
  int64_t intended = 0;
  int64_t not_sent = 0;
};

SendCounts CountSends(const Timeline& timeline, const Load& load, int64_t begin_ns, int64_t end_ns,
                      const Stalls& stalls) {
  SendCounts counts;
  const auto totals = timeline.loads.find(load.name());
  if (totals == timeline.loads.end()) return counts;
  int64_t from_ns = INT64_MIN;  // each record counts since the one before
  for (const LoadStats& stats : totals->second.series) {
    const int64_t since_ns = from_ns;
    from_ns = stats.at_ns();
    if (stats.at_ns() <= begin_ns || since_ns >= end_ns) continue;
    counts.recorded = true;
    if (stalls.Touch(std::max(since_ns, begin_ns), stats.at_ns())) continue;
    // What is due at the very end of a record may be counted as sent in the next one, so that only what was
    // definitely given up counts against the generator.
    counts.intended += std::max(stats.intended(), stats.sent() + stats.not_sent());
    counts.not_sent += stats.not_sent();
  }
  return counts;
}

// How many percent were sent late.
double LatePercent(const Timeline& timeline, const Load& load, int64_t begin_ns, int64_t end_ns, const Stalls& stalls) {
  const auto found = timeline.requests.find(load.name());
  if (found == timeline.requests.end()) return 0;
  int64_t all = 0, late = 0;
  for (const Request& request : IntendedWithin(found->second, begin_ns, end_ns)) {
    if (stalls.Touch(request.intended_ns, request.sent_ns)) continue;
    ++all;
    late += SentLate(request);
  }
  return all == 0 ? 0 : 100.0 * static_cast<double>(late) / static_cast<double>(all);
}

// Why the first request that got no answer got none, as the generator saw it; empty: all were answered.
std::string FirstError(const Timeline& timeline, const Load& load) {
  const auto totals = timeline.loads.find(load.name());
  if (totals == timeline.loads.end()) return "";
  for (const LoadStats& stats : totals->second.series) {
    if (!stats.first_error().empty()) return stats.first_error();
  }
  return "";
}

}  // namespace

std::optional<Obstacle> SteadyGate(const Timeline& timeline) {
  if (!timeline.footer || timeline.footer->ending() != Footer::NOT_STEADY) return std::nullopt;
  std::string reason = "the service was not steady before anything was injected, so nothing was";
  if (!timeline.footer->reason().empty()) absl::StrAppend(&reason, ": ", timeline.footer->reason());
  return Obstacle{reason, "mend the service first, lower `rate`, or loosen `steady`"};
}

std::optional<Obstacle> FaultGate(const Timeline& timeline, const FaultTime& time, bool must_be_over) {
  if (time.parts.empty())
    return Obstacle{"the scenario injects no such fault", "name a fault of the scenario"};
  for (const FaultTime::Part& part : time.parts) {
    if (auto obstacle = InjectionGate(timeline, *part.span)) return obstacle;
  }
  for (const FaultTime::Part& part : time.parts) {
    if (must_be_over || part.span->healing_not_confirmed) {
      if (auto obstacle = HealingGate(timeline, part)) return obstacle;
    }
  }
  // Last, since the final evidence comes with the healing.
  for (const FaultTime::Part& part : time.parts) {
    // Where nothing was to be injected nothing is missing.
    if (timeline.header.placebo()) continue;
    if (auto obstacle = EvidenceGate(*part.fault, part.span->evidence)) return obstacle;
    if (auto obstacle = DirectGate(timeline, *part.fault, *part.span)) return obstacle;
  }
  return std::nullopt;
}

std::optional<Obstacle> BaselineGate(const Load& load, const Baseline& baseline, const Stalls& stalls) {
  const auto count = static_cast<int64_t>(baseline.windows.size());
  if (count < kBaselineWindows) {
    return Obstacle{
        absl::StrCat("the baseline of load ", load.name(), " has ", Counted(count, "window"), " of ",
                     HumanNanos(baseline.window_ns), "; ", kBaselineWindows, " are needed"),
        "let the load run longer before the first fault"};
  }
  const auto empty = std::count_if(baseline.windows.begin(), baseline.windows.end(),
                                   [](const Window& window) { return window.empty(); });
  if (empty > 0) {
    return Obstacle{absl::StrCat("no request was sent in ", Counted(empty, "window"),
                                 " of the baseline of load ", load.name()),
                    "raise `rate`"};
  }
  // In the baseline only what the machine did is left out.
  return StallGate(baseline.left_out, count, "baseline window", Stalls({}, stalls.most_left_out_percent()));
}

std::optional<Obstacle> StallGate(int64_t left_out, int64_t all, absl::string_view noun, const Stalls& stalls) {
  const int64_t most_percent = stalls.most_left_out_percent();
  if (left_out * 100 <= all * most_percent) return std::nullopt;
  return Obstacle{absl::StrCat(stalls.others_too() ? "others had the cores, or the machine stood still, in " : "the machine stood still in ", Grouped(left_out), " of ", Counted(all, noun),
                               "; at most ", most_percent, " % may be left out"),
                  "run it again on a machine with less else to do"};
}

std::optional<Obstacle> GeneratorGate(const Timeline& timeline, const Load& load, int64_t begin_ns,
                                      int64_t end_ns, const Stalls& stalls) {
  if (begin_ns >= end_ns) return std::nullopt;
  const std::string advice = "lower `rate`, or run on a machine with less else to do";
  const SendCounts counts = CountSends(timeline, load, begin_ns, end_ns, stalls);
  if (!counts.recorded) {
    return Obstacle{
        absl::StrCat("nothing is recorded of how many requests load ", load.name(), " had to send"), advice};
  }
  if (counts.not_sent * 100 > counts.intended) {
    const double percent =
        100.0 * static_cast<double>(counts.intended - counts.not_sent) / static_cast<double>(counts.intended);
    return Obstacle{absl::StrCat("load ", load.name(), " could not keep its promise: only ",
                                 HumanPercent(percent), " of the ", Counted(counts.intended, "request"),
                                 " that were due were sent (99 % needed)"),
                    absl::StrCat(advice, "; too many may wait at once for `max_in_flight`")};
  }
  const double late = LatePercent(timeline, load, begin_ns, end_ns, stalls);
  const auto most = static_cast<double>(stalls.most_left_out_percent());
  if (late <= most) return std::nullopt;
  return Obstacle{absl::StrCat("load ", load.name(), " could not keep its promise: ", HumanPercent(late),
                               " of its requests were sent more than ", HumanNanos(kMostLagNs), " late (", HumanPercent(most),
                               " may be)"),
                  advice};
}

std::string Unsteadiness(const Timeline& timeline, const Load& load, const Stalls& stalls) {
  const Steady& steady = timeline.header.scenario().steady();
  const Baseline baseline = BaselineOf(timeline, load);
  int64_t errors = 0;
  int64_t all = 0;
  std::vector<int64_t> latencies;
  for (const Request& request : BaselineRequests(timeline, load, baseline)) {
    if (request.outcome == ABANDONED) continue;
    ++all;
    errors += IsError(request.outcome);
    if (Waited(request.outcome) && !SentLate(request) && !stalls.Touch(request.intended_ns, request.end_ns)) {
      latencies.push_back(request.LatencyNs());
    }
  }
  if (all == 0)
    return absl::StrCat("no request of load ", load.name(), " was answered before the first fault");
  const double percent = 100.0 * static_cast<double>(errors) / static_cast<double>(all);
  if (percent > steady.errors() + 1e-9) {
    const std::string first = FirstError(timeline, load);
    return absl::StrCat(HumanPercent(percent), " of ", Counted(all, "request"), " of load ", load.name(),
                        " failed (at most ", HumanPercent(steady.errors()), " allowed)", first.empty() ? "" : absl::StrCat("; the first: ", first));
  }
  if (!steady.has_p99()) return "";
  if (latencies.empty())
    return absl::StrCat("no request of load ", load.name(), " has a latency that can be judged");
  const int64_t p99_ns = Percentile(latencies, 99);
  if (p99_ns <= Nanos(steady.p99())) return "";
  return absl::StrCat("p99 of load ", load.name(), " was ", HumanNanos(p99_ns), " (at most ",
                      HumanNanos(Nanos(steady.p99())), " allowed)");
}

}  // namespace squall
