#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/time/time.h"
#include "base/text.h"
#include "controller/assertions/direct_traffic.h"
#include "controller/assertions/durations.h"
#include "controller/assertions/gates.h"
#include "controller/assertions/judge.h"
#include "controller/assertions/load_evidence.h"
#include "controller/assertions/network_evidence.h"
#include "controller/assertions/process_evidence.h"
#include "controller/assertions/verdicts.h"
#include "controller/assertions/words.h"
#include "controller/calibration.h"
#include "controller/exit_code.h"
#include "controller/fault_group.h"
#include "controller/placement.h"
#include "controller/plan.h"

namespace squall {
namespace {

bool HealingOpen(const Fault& fault, const FaultSpan& span) {
  if (span.healing_not_confirmed) return true;
  if (!span.injected_ns || span.healed_ns) return false;
  // Nothing has to be undone of a kill; whether a supervisor has done what is its part has to be seen.
  return !fault.has_kill() || fault.kill().has_supervisor_within();
}

// The fault was with an agent on another host that was lost: it heals by itself, and nobody can ask it.
bool WentWithItsAgent(const Timeline& timeline, const Fault& fault) {
  if (!timeline.footer) return false;
  const std::string agent = AgentOfFault(timeline.header.scenario(), fault);
  const auto& lost = timeline.footer->lost_agents();
  return std::any_of(lost.begin(), lost.end(), [&](const LostAgent& each) { return each.name() == agent; });
}

bool AllHealed(const Timeline& timeline) {
  if (timeline.footer && timeline.footer->not_healed_size() > 0) return false;
  if (timeline.footer && std::any_of(timeline.footer->host_changes().begin(), timeline.footer->host_changes().end(),
                                     [](const HostChange& change) { return change.by_squall(); })) {
    return false;
  }
  for (const Fault& fault : timeline.header.scenario().faults()) {
    const FaultSpan* span = timeline.FindFault(fault.name());
    if (span != nullptr && HealingOpen(fault, *span) && !WentWithItsAgent(timeline, fault)) return false;
  }
  return true;
}

bool HarnessFailed(const Timeline& timeline) {
  if (!timeline.footer) return true;
  switch (timeline.footer->ending()) {
    case Footer::COMPLETED:
    case Footer::NOT_STEADY:
    case Footer::GUARDRAIL:
    case Footer::INTERRUPTED:
      break;
    case Footer::HARNESS_FAILED:
    default:
      return true;
  }
  return std::any_of(timeline.faults.begin(), timeline.faults.end(),
                     [](const FaultSpan& span) { return span.injection_failed; });
}

// The most serious first, as WorstExit() ranks them.
int ExitCodeOf(const Timeline& timeline, Verdict::Result result) {
  if (!AllHealed(timeline)) return kExitNotHealed;
  if (HarnessFailed(timeline)) return kExitHarness;
  if (timeline.footer->ending() == Footer::INTERRUPTED) return kExitInterrupted;
  if (timeline.footer->ending() == Footer::GUARDRAIL) return kExitGuardrail;
  if (result == Verdict::FAIL) return kExitFail;
  if (result != Verdict::PASS || timeline.footer->ending() == Footer::NOT_STEADY) return kExitInconclusive;
  return kExitPass;
}

// FAIL over INCONCLUSIVE over PASS. Nothing judged is no PASS.
Verdict::Result Worst(const RunResult& run) {
  Verdict::Result worst = run.verdicts().empty() ? Verdict::INCONCLUSIVE : Verdict::PASS;
  for (const Verdict& verdict : run.verdicts()) {
    if (verdict.result() == Verdict::FAIL) return Verdict::FAIL;
    if (verdict.result() != Verdict::PASS) worst = Verdict::INCONCLUSIVE;
  }
  return worst;
}

// "412 queries answered so: 206 for recommend.test A, 206 for recommend.test AAAA".
std::string DnsSeen(const Evidence& evidence) {
  constexpr size_t kMostNamed = 4;
  const std::string others =
      evidence.forwarded() == 0
          ? ""
          : absl::StrCat("; ", Grouped(evidence.forwarded()), evidence.forwarded() == 1 ? " other" : " others", " forwarded");
  if (evidence.answered().empty()) return absl::StrCat("not observed: no query for its names", others);
  int64_t all = 0;
  std::vector<std::pair<std::string, int64_t>> names(evidence.answered().begin(), evidence.answered().end());
  std::sort(names.begin(), names.end());
  std::vector<std::string> parts;
  for (const auto& [name, count] : names) {
    all += count;
    if (parts.size() < kMostNamed) parts.push_back(absl::StrCat(Grouped(count), " for ", name));
  }
  if (names.size() > kMostNamed) parts.push_back("...");
  std::string seen = absl::StrCat(Grouped(all), all == 1 ? " query" : " queries", " answered so: ",
                                  absl::StrJoin(parts, ", "), others);
  if (evidence.achieved_p50_ns() > 0) {
    absl::StrAppend(&seen, "; achieved p50 ", Tenths(evidence.achieved_p50_ns()), ", p99 ",
                    Tenths(evidence.achieved_p99_ns()), " of ", HumanNanos(evidence.requested_ns()), " asked");
  }
  return seen;
}

std::string Seen(const Fault& fault, const FaultSpan& span) {
  if (span.injection_failed) {
    return span.message.empty() ? "could not be injected"
                                : absl::StrCat("could not be injected: ", span.message);
  }
  if (!span.injected_ns) return "was not injected";
  std::string seen;
  switch (GroupOf(fault)) {
    case FaultGroup::kNetwork:
      seen = NetworkSeen(fault, span.evidence);
      break;
    case FaultGroup::kDns:
      seen = DnsSeen(span.evidence);
      break;
    case FaultGroup::kProcess:
      seen = ProcessSeen(fault, span.evidence);
      break;
    case FaultGroup::kLoad:
      seen = LoadSeen(fault, span.evidence);
      break;
    case FaultGroup::kNone:
      break;
  }
  if (HealingOpen(fault, span)) {
    absl::StrAppend(&seen, "; healing not confirmed", span.message.empty() ? "" : ": ", span.message);
  }
  return seen;
}

FaultResult Describe(const Fault& fault, const FaultSpan& span) {
  FaultResult result;
  result.set_name(fault.name());
  result.set_kind(FaultKind(fault));
  result.set_what(DescribeFault(fault));
  result.set_injected_ns(span.injected_ns.value_or(0));
  result.set_healed_ns(span.healed_ns.value_or(0));
  if (span.heal_asked_ns && span.healed_ns) result.set_healing_took_ns(*span.healed_ns - *span.heal_asked_ns);
  *result.mutable_evidence() = span.evidence;
  result.set_seen(Seen(fault, span));
  return result;
}

// The delay on the path was neither what was asked for nor within what the jitter explains.
std::string DelayNote(const Fault& fault, const FaultSpan& span) {
  const Evidence& evidence = span.evidence;
  if (!fault.has_latency() || evidence.achieved_p50_ns() <= 0 || evidence.requested_ns() <= 0) return "";
  // Half of what has such a tail waits longer than its least delay.
  if (fault.latency().distribution() == Latency::DISTRIBUTION_PARETO) return "";
  const int64_t jitter_ns = Nanos(fault.latency().jitter());
  const auto allowed_ns = [&](int64_t asked_ns) { return std::max<int64_t>(asked_ns / 10, 2'000'000) + jitter_ns / 2; };
  // What a ramp held back last may have been asked for before its last step.
  int64_t least_ns = evidence.requested_ns(), most_ns = evidence.requested_ns();
  for (const auto& asked : fault.ramp().delay()) {
    least_ns = std::min<int64_t>(least_ns, Nanos(asked));
    most_ns = std::max<int64_t>(most_ns, Nanos(asked));
  }
  if (evidence.achieved_p50_ns() >= least_ns - allowed_ns(least_ns) && evidence.achieved_p50_ns() <= most_ns + allowed_ns(most_ns)) return "";
  return absl::StrCat("fault ", fault.name(), " did not act as asked: half of what it held back waited ",
                      Tenths(evidence.achieved_p50_ns()), " or longer, and ",
                      HumanNanos(evidence.requested_ns()), " was asked for");
}

std::string StallNote(const Timeline& timeline) {
  if (timeline.stalls.empty()) return "";
  int64_t total_ns = 0;
  int64_t longest_ns = 0;
  for (const Stall& stall : timeline.stalls) {
    total_ns += stall.length_ns();
    longest_ns = std::max(longest_ns, stall.length_ns());
  }
  return absl::StrCat(
      "the machine stood still ", Counted(static_cast<int64_t>(timeline.stalls.size()), "time"), ", for ",
      Tenths(total_ns), " in all and ", Tenths(longest_ns), " at most; what happened then is not judged");
}

std::string StarvedNote(const Timeline& timeline) {
  std::map<std::string, std::pair<int64_t, int64_t>> by_waiter;  // moments, nanoseconds
  for (const Stall& stall : timeline.starved) {
    const std::string who = stall.edge().empty() ? stall.service() : absl::StrCat("the peer on edge ", stall.edge());
    auto& [count, total_ns] = by_waiter[who];
    ++count;
    total_ns += stall.length_ns();
  }
  std::vector<std::string> parts;
  for (const auto& [who, sums] : by_waiter) {
    parts.push_back(absl::StrCat(who, " in ", Counted(sums.first, "moment"), " of ", Tenths(sums.second), " in all"));
  }
  if (parts.empty()) return "";
  return absl::StrCat("others had the cores that services needed: ", absl::StrJoin(parts, ", "), "; nothing fails for what happened then");
}

std::string GeneratorNote(const Timeline& timeline, const Load& load, const Stalls& stalls) {
  const auto requests = timeline.requests.find(load.name());
  if (requests == timeline.requests.end() || requests->second.empty()) {
    return absl::StrCat("load ", load.name(), " has no request that ended");
  }
  const auto obstacle = GeneratorGate(timeline, load, requests->second.front().intended_ns,
                                      requests->second.back().intended_ns + 1, stalls);
  return obstacle ? absl::StrCat("over the whole run, ", obstacle->reason) : "";
}

std::vector<std::string> Notes(const Timeline& timeline) {
  std::vector<std::string> notes;
  auto add = [&](std::string note) {
    if (!note.empty()) notes.push_back(std::move(note));
  };
  const Scenario& scenario = timeline.header.scenario();
  if (scenario.assertions().empty()) add("the scenario asserts nothing, so that nothing was judged");
  const Stalls stalls(timeline.stalls);
  add(StallNote(timeline));
  add(StarvedNote(timeline));
  for (const Load& load : scenario.load()) add(GeneratorNote(timeline, load, stalls));
  for (const Fault& fault : scenario.faults()) {
    if (const FaultSpan* span = timeline.FindFault(fault.name())) add(DelayNote(fault, *span));
    if (const FaultSpan* span = timeline.FindFault(fault.name())) add(ProcessNote(fault, span->evidence));
  }
  for (const auto& [edge, stats] : timeline.edge_stats) {
    if (stats.empty()) continue;
    const std::string direct = DirectTraffic(timeline, edge);
    if (!direct.empty()) add(absl::StrCat("edge ", edge, ": ", direct));
    if (stats.back().refused() > 0) {
      add(absl::StrCat("edge ", edge, ": ", Counted(stats.back().refused(), "connect"),
                       " refused, because the dependency did not accept"));
    }
    if (stats.back().cut() > 0) {
      add(absl::StrCat("edge ", edge, ": ", Counted(stats.back().cut(), "connection"),
                       " cut at the end of the run"));
    }
  }
  return notes;
}

}  // namespace

std::string SeenText(const Fault& fault, const Evidence& evidence) {
  FaultSpan span;
  span.injected_ns = span.healed_ns = 0;
  span.evidence = evidence;
  return Seen(fault, span);
}

RunResult Summarize(const Timeline& timeline) {
  const Header& header = timeline.header;
  RunResult run;
  run.set_scenario(header.scenario().name());
  run.set_description(header.scenario().description());
  run.set_run_id(header.run_id());
  run.set_started(absl::FormatTime(absl::RFC3339_sec, absl::FromUnixNanos(header.started_unix_ns()),
                                   absl::UTCTimeZone()));
  run.set_seconds(static_cast<double>(timeline.last_ns) / 1e9);
  run.set_seed(header.seed());
  run.set_squall_version(header.squall_version());
  if (timeline.footer) {
    run.set_ending(timeline.footer->ending());
    run.set_ending_reason(timeline.footer->reason());
    *run.mutable_not_healed() = timeline.footer->not_healed();
    *run.mutable_digested_hosts() = timeline.footer->digested_hosts();
    *run.mutable_host_changes() = timeline.footer->host_changes();
  } else {
    run.set_ending(Footer::HARNESS_FAILED);
    run.set_ending_reason("the timeline has no end");
  }
  for (Judgement& judgement : JudgeAll(timeline)) {
    Verdict& verdict = *run.add_verdicts() = std::move(judgement.verdict);
    if (std::string alarms = FalseAlarmText(header.calibration(), verdict.assertion()); !alarms.empty()) {
      AddDetail(verdict, std::string(kFailedOnNothing), std::move(alarms));
    }
  }
  for (const Fault& fault : header.scenario().faults()) {
    if (const FaultSpan* span = timeline.FindFault(fault.name())) *run.add_faults() = Describe(fault, *span);
  }
  for (std::string& note : Notes(timeline)) run.add_notes(std::move(note));
  run.set_result(Worst(run));
  run.set_exit_code(ExitCodeOf(timeline, run.result()));
  return run;
}

}  // namespace squall
