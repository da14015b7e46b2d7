#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "proto/suite.pb.h"
#include "proto/verdict.pb.h"

// The words that all reports share. Pure functions.

namespace squall {

// How a run ended, the most serious thing first; follows the exit code.
enum class Standing { kPass, kFail, kInconclusive, kHarnessFailed, kGuardrail, kNotHealed, kInterrupted };
Standing StandingOf(const RunResult& result);
Standing StandingOf(int exit_code);

// "PASS", "FAIL", "INCONCLUSIVE", "HARNESS FAILED", "STOPPED BY A GUARDRAIL", "NOT HEALED", "INTERRUPTED".
std::string StandingWord(Standing standing);

// "PASS", "FAIL", "INCONCLUSIVE"; "NOT JUDGED" when unspecified.
std::string ResultWord(Verdict::Result result);
// "✓", "✗", "?".
std::string ResultMark(Verdict::Result result);
// The result that looks like the standing: FAIL for all that is neither PASS nor INCONCLUSIVE.
Verdict::Result AsResult(Standing standing);

// What the standing rests on, without a full stop: "1 of 3 assertions failed, 1 could not be judged".
std::string Headline(const RunResult& result);

// "3 of 5 scenarios pass, 1 failed, 1 was not run".
std::string Headline(const SuiteResult& result);
// The word for a scenario of a suite: that of its standing, or "NOT RUN".
std::string ScenarioWord(const ScenarioResult& scenario);
// The runs of a scenario, where there was more than one: "3 runs: PASS, FAIL, PASS", "INCONCLUSIVE, run again: PASS".
std::string RunsWords(const ScenarioResult& scenario);
// A run's failed or unjudged assertions, or why it ended, as "NAME: REASON": for those who read no further.
std::vector<std::string> CausesOf(const RunResult& result);

// What happened, in whole sentences: what was injected, whether it was undone, why the run ended early.
std::string Story(const RunResult& result);

// The verdicts that the standing rests on when it is not PASS: those that failed or, when none did, those
// that could not be given. Point into `result`.
std::vector<const Verdict*> Decisive(const RunResult& result);

// `text` with a full stop, whether or not its author ended it.
std::string Sentence(absl::string_view text);

// A moment of the run for people: "11.02 s", "4:05.3", "1:02:03".
std::string RunTime(int64_t ns);

// When a fault was healed: "11.02 s", "not confirmed", "never injected", or "nothing to heal" for a kill that
// stayed dead.
std::string HealedWords(const FaultResult& fault);

// "asked for 500 ms; measured 502 ms at p50, 505 ms at p99", "3 of 3 processes gone, started again once";
// empty where the evidence compares nothing.
std::string AchievedWords(const Evidence& evidence);

// What was seen of a fault: in the words of the result or, without them, what the evidence compares.
std::string SeenWords(const FaultResult& fault);

// Whether each agent's host is as it was, and what was compared to say so, a line each: "host as before: 12 cgroups, 3 files compared".
// What others changed meanwhile comes behind that. Empty where nothing was compared.
std::vector<std::string> HostWords(const RunResult& result);
// "cgroup /sys/fs/cgroup/x was made", "file /etc/hosts: 12 bytes, a1b2 instead of 13 bytes, c3d4".
std::string ChangeWords(const HostChange& change);

// "12,034": a count for people.
std::string Thousands(int64_t count);

// "3 processes", "1 process".
std::string Count(int64_t count, const std::string& singular, const std::string& plural);

}  // namespace squall
