#pragma once

#include <string>
#include <vector>

#include "controller/timeline.h"
#include "proto/assertion.pb.h"
#include "proto/verdict.pb.h"

namespace squall {

// Judges one assertion on a timeline. Pure: no clock, no I/O; the same timeline gives the same verdict. A
// timeline of a run that is still going on may be judged: then `final` says whether more data could still
// change the verdict.
struct Judgement {
  Verdict verdict;
  bool final = false;
};
Judgement Judge(const Assertion& assertion, const Timeline& timeline);

// All assertions of the scenario in the timeline's header, in their order.
std::vector<Judgement> JudgeAll(const Timeline& timeline);

// What the plan needs to know of a run that is going on.

// Every service that a no_leak is about holds no more than before the first fault. Without one: yes.
bool AllBackAtRest(const Timeline& timeline);
// A no_leak has failed.
bool AnyLeak(const Timeline& timeline);
// A recovery with `confirm_metastable` waits for a load that has not come back by itself.
bool AnyStuck(const Timeline& timeline);

// `steady` over the baseline: empty when it holds, else what was violated, in one sentence with the figures.
std::string SteadyViolation(const Timeline& timeline);

// The first guardrail that the timeline trips, in one sentence with the figures; empty: none.
std::string TrippedGuardrail(const Timeline& timeline);

// What proves that an injected fault fires, in words: "1,460 calls on 12 connections held back; achieved p50 ...".
std::string SeenText(const Fault& fault, const Evidence& evidence);

// The result of a finished run: verdicts, faults, ending, notes and exit code (see README.md).
RunResult Summarize(const Timeline& timeline);

}  // namespace squall
