#include "controller/report/words.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <map>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/strip.h"
#include "base/text.h"

namespace squall {
namespace {

int CountOf(const RunResult& result, Verdict::Result wanted) {
  int count = 0;
  for (const Verdict& verdict : result.verdicts()) count += verdict.result() == wanted;
  return count;
}

// "a", "a and b", "a, b and c".
std::string List(const std::vector<std::string>& items) {
  if (items.size() < 2) return absl::StrJoin(items, "");
  return absl::StrCat(absl::StrJoin(items.begin(), items.end() - 1, ", "), " and ", items.back());
}

std::string AssertionsWords(const RunResult& result) {
  const int all = result.verdicts_size();
  const int failed = CountOf(result, Verdict::FAIL);
  const int unjudged = all - failed - CountOf(result, Verdict::PASS);
  if (all == 0) return "no assertion was judged";
  if (failed == 0 && unjudged == 0) {
    return all == 1 ? "the assertion holds" : absl::StrCat("all ", all, " assertions hold");
  }
  const std::string of = absl::StrCat(" of ", Count(all, "assertion", "assertions"));
  if (failed == 0) return absl::StrCat(unjudged, of, " could not be judged");
  return absl::StrCat(failed, of, " failed",
                      unjudged == 0 ? "" : absl::StrCat(", ", unjudged, " could not be judged"));
}

std::string InjectedWords(const RunResult& result) {
  std::vector<std::string> injected, skipped;
  for (const FaultResult& fault : result.faults()) {
    const std::string name = absl::StrCat(fault.name(), fault.what().empty() ? "" : " (", fault.what(),
                                          fault.what().empty() ? "" : ")");
    (fault.injected_ns() > 0 ? injected : skipped).push_back(name);
  }
  std::string text =
      injected.empty() ? "Nothing was injected." : absl::StrCat("squall injected ", List(injected), ".");
  if (!injected.empty() && !skipped.empty()) absl::StrAppend(&text, " Not injected: ", List(skipped), ".");
  if (!injected.empty()) {
    absl::StrAppend(&text, result.not_healed().empty() ? " No fault was left in place."
                                                       : " Not everything could be confirmed as undone.");
  }
  return text;
}

}  // namespace

Standing StandingOf(const RunResult& result) { return StandingOf(result.exit_code()); }

Standing StandingOf(int exit_code) {
  switch (exit_code) {
    case 0:
      return Standing::kPass;
    case 1:
      return Standing::kFail;
    case 2:
      return Standing::kInconclusive;
    case 4:
      return Standing::kGuardrail;
    case 5:
      return Standing::kNotHealed;
    case 130:
      return Standing::kInterrupted;
    default:
      return Standing::kHarnessFailed;
  }
}

std::string StandingWord(Standing standing) {
  switch (standing) {
    case Standing::kPass:
      return "PASS";
    case Standing::kFail:
      return "FAIL";
    case Standing::kInconclusive:
      return "INCONCLUSIVE";
    case Standing::kHarnessFailed:
      return "HARNESS FAILED";
    case Standing::kGuardrail:
      return "STOPPED BY A GUARDRAIL";
    case Standing::kNotHealed:
      return "NOT HEALED";
    case Standing::kInterrupted:
      return "INTERRUPTED";
  }
  return "HARNESS FAILED";
}

std::string ResultWord(Verdict::Result result) {
  switch (result) {
    case Verdict::PASS:
      return "PASS";
    case Verdict::FAIL:
      return "FAIL";
    case Verdict::INCONCLUSIVE:
      return "INCONCLUSIVE";
    default:
      return "NOT JUDGED";
  }
}

std::string ResultMark(Verdict::Result result) {
  switch (result) {
    case Verdict::PASS:
      return "✓";
    case Verdict::FAIL:
      return "✗";
    default:
      return "?";
  }
}

Verdict::Result AsResult(Standing standing) {
  switch (standing) {
    case Standing::kPass:
      return Verdict::PASS;
    case Standing::kInconclusive:
      return Verdict::INCONCLUSIVE;
    default:
      return Verdict::FAIL;
  }
}

std::string Headline(const RunResult& result) {
  const std::string assertions = AssertionsWords(result);
  switch (StandingOf(result)) {
    case Standing::kPass:
    case Standing::kFail:
      return assertions;
    case Standing::kInconclusive:
      return result.ending() == Footer::NOT_STEADY
                 ? "the service was not steady before the first fault, so nothing was injected"
                 : assertions;
    case Standing::kHarnessFailed:
      return "squall itself failed, which says nothing about the service";
    case Standing::kGuardrail:
      return absl::StrCat("the run was ended early and healed; ", assertions);
    case Standing::kNotHealed:
      return absl::StrCat("a fault may still be in place on the host; ", assertions);
    case Standing::kInterrupted:
      return absl::StrCat("the run was ended from outside and healed; ", assertions);
  }
  return assertions;
}

std::string Story(const RunResult& result) {
  std::vector<std::string> sentences = {InjectedWords(result)};
  if (!result.ending_reason().empty()) sentences.push_back(Sentence(result.ending_reason()));
  return absl::StrJoin(sentences, " ");
}

std::vector<const Verdict*> Decisive(const RunResult& result) {
  std::vector<const Verdict*> failed, unjudged;
  for (const Verdict& verdict : result.verdicts()) {
    if (verdict.result() == Verdict::PASS) continue;
    (verdict.result() == Verdict::FAIL ? failed : unjudged).push_back(&verdict);
  }
  return failed.empty() ? unjudged : failed;
}

std::string ScenarioWord(const ScenarioResult& scenario) {
  return scenario.runs().empty() ? "NOT RUN" : StandingWord(StandingOf(scenario.exit_code()));
}

std::string Headline(const SuiteResult& result) {
  // In the order in which they are told.
  std::vector<std::pair<Standing, std::string>> kinds = {
      {Standing::kFail, "failed"},
      {Standing::kInconclusive, "could not be judged"},
      {Standing::kHarnessFailed, "ended by a failure of squall"},
      {Standing::kGuardrail, "stopped by a guardrail"},
      {Standing::kNotHealed, "not healed"},
      {Standing::kInterrupted, "interrupted"},
  };
  int passed = 0, not_run = 0;
  for (const ScenarioResult& scenario : result.scenarios()) {
    not_run += scenario.runs().empty();
    passed += !scenario.runs().empty() && scenario.exit_code() == 0;
  }
  const int all = result.scenarios_size();
  if (passed == all) {
    return all == 1 ? "the scenario passes" : absl::StrCat("all ", Thousands(all), " scenarios pass");
  }
  std::string text = absl::StrCat(passed, " of ", Count(all, "scenario passes", "scenarios pass"));
  for (const auto& [standing, words] : kinds) {
    int count = 0;
    for (const ScenarioResult& scenario : result.scenarios()) {
      count += !scenario.runs().empty() && StandingOf(scenario.exit_code()) == standing;
    }
    if (count > 0) absl::StrAppend(&text, ", ", count, " ", words);
  }
  if (not_run > 0) absl::StrAppend(&text, ", ", not_run, " not run");
  return text;
}

std::string RunsWords(const ScenarioResult& scenario) {
  if (scenario.runs_size() < 2 && scenario.repeat() < 2) return "";
  std::string text;
  bool replaced = false;
  for (const SuiteRun& run : scenario.runs()) {
    if (!text.empty()) absl::StrAppend(&text, replaced ? ", run again: " : ", ");
    absl::StrAppend(&text, StandingWord(StandingOf(run.result())));
    replaced = run.replaced();
  }
  if (scenario.repeat() < 2) return text;
  return absl::StrCat(Count(scenario.runs_size(), "run", "runs"), text.empty() ? "" : ": ", text);
}

std::vector<std::string> CausesOf(const RunResult& result) {
  const Standing standing = StandingOf(result);
  std::vector<std::string> causes;
  const bool by_assertions = standing == Standing::kFail || standing == Standing::kInconclusive;
  if (!by_assertions && standing != Standing::kPass) causes.push_back(result.ending_reason());
  for (const std::string& item : result.not_healed()) causes.push_back(absl::StrCat("not healed: ", item));
  if (result.ending() == Footer::NOT_STEADY) {
    causes.push_back(result.ending_reason());
    return causes;  // every assertion says so again
  }
  for (const Verdict* verdict : Decisive(result)) {
    // A run that was ended early says that once, not again with every assertion.
    if (!by_assertions && verdict->result() != Verdict::FAIL) continue;
    causes.push_back(absl::StrCat(verdict->assertion(), ": ", verdict->reason()));
  }
  causes.erase(std::remove(causes.begin(), causes.end(), ""), causes.end());
  return causes;
}

std::string Sentence(absl::string_view text) {
  while (absl::ConsumeSuffix(&text, " ") || absl::ConsumeSuffix(&text, "\n")) {
  }
  if (text.empty()) return "";
  const bool ended = text.back() == '.' || text.back() == '!' || text.back() == '?';
  return absl::StrCat(text, ended ? "" : ".");
}

std::string RunTime(int64_t ns) {
  if (std::abs(ns) < 120'000'000'000) return absl::StrFormat("%.2f s", ns / 1e9);
  const int64_t tenths = std::llround(ns / 1e8);
  const int64_t seconds = tenths / 10;
  if (seconds < 3600) return absl::StrFormat("%d:%02d.%d", seconds / 60, seconds % 60, tenths % 10);
  return absl::StrFormat("%d:%02d:%02d", seconds / 3600, seconds / 60 % 60, seconds % 60);
}

std::string ChangeWords(const HostChange& change) {
  const std::string what = absl::StrCat(change.kind(), " ", change.name());
  if (change.before().empty()) return absl::StrCat(what, change.kind() == "process" ? " began" : " was made");
  if (change.after().empty()) return absl::StrCat(what, " is gone");
  return absl::StrCat(what, ": ", change.after(), " instead of ", change.before());
}

std::vector<std::string> HostWords(const RunResult& result) {
  constexpr size_t kMostNamed = 3;
  std::vector<std::string> lines;
  for (const DigestedHost& host : result.digested_hosts()) {
    int64_t ours = 0;
    std::vector<std::string> others;
    for (const HostChange& change : result.host_changes()) {
      if (change.agent() != host.agent()) continue;
      ours += change.by_squall();
      if (!change.by_squall()) others.push_back(ChangeWords(change));
    }
    std::map<std::string, int64_t> compared(host.compared().begin(), host.compared().end());
    std::vector<std::string> counts, unseen;
    for (const auto& [kind, count] : compared) {
      if (count > 0) counts.push_back(absl::StrCat(Thousands(count), " ", kind));
    }
    for (const auto& [kind, count] : std::map<std::string, int64_t>(host.not_seen().begin(), host.not_seen().end())) unseen.push_back(kind);
    const std::string of = host.agent().empty() ? "host" : absl::StrCat("host of ", host.agent());
    std::string line = absl::StrCat(of, ours == 0 ? " as before: " : absl::StrCat(" NOT as before, ", Count(ours, "change", "changes"),
                                                                                  " of squall's: "),
                                    absl::StrJoin(counts, ", "), " compared");
    if (!unseen.empty()) absl::StrAppend(&line, "; this user may not see all ", List(unseen));
    lines.push_back(std::move(line));
    if (others.empty()) continue;
    const size_t more = others.size() > kMostNamed ? others.size() - kMostNamed : 0;
    others.resize(others.size() - more);
    if (more > 0) others.push_back(absl::StrCat(Thousands(static_cast<int64_t>(more)), " more"));
    lines.push_back(absl::StrCat(of, ": others changed meanwhile: ", absl::StrJoin(others, "; ")));
  }
  return lines;
}

std::string HealedWords(const FaultResult& fault) {
  if (fault.healed_ns() > 0) return RunTime(fault.healed_ns());
  if (fault.injected_ns() <= 0) return "never injected";
  return fault.kind() == "kill" ? "nothing to heal" : "not confirmed";
}

std::string AchievedWords(const Evidence& evidence) {
  if (evidence.requested_ns() > 0) {
    if (evidence.achieved_p50_ns() == 0) {
      return absl::StrCat("asked for ", HumanNanos(evidence.requested_ns()), "; nothing measured");
    }
    return absl::StrCat("asked for ", HumanNanos(evidence.requested_ns()), "; measured ",
                        HumanNanos(evidence.achieved_p50_ns()), " at p50, ",
                        HumanNanos(evidence.achieved_p99_ns()), " at p99");
  }
  if (evidence.signalled() > 0) {
    std::string text =
        absl::StrCat(evidence.gone(), " of ", Count(evidence.signalled(), "process", "processes"), " gone");
    if (evidence.restarts() == 1) absl::StrAppend(&text, ", started again once");
    if (evidence.restarts() > 1) {
      absl::StrAppend(&text, ", started again ", Thousands(evidence.restarts()), " times");
    }
    return text;
  }
  return "";
}

std::string SeenWords(const FaultResult& fault) {
  return fault.seen().empty() ? AchievedWords(fault.evidence()) : fault.seen();
}

std::string Thousands(int64_t count) {
  const std::string digits = absl::StrCat(std::abs(count));
  std::string out = count < 0 ? "-" : "";
  for (size_t i = 0; i < digits.size(); ++i) {
    if (i > 0 && (digits.size() - i) % 3 == 0) out += ',';
    out += digits[i];
  }
  return out;
}

std::string Count(int64_t count, const std::string& singular, const std::string& plural) {
  return absl::StrCat(Thousands(count), " ", count == 1 ? singular : plural);
}

}  // namespace squall
