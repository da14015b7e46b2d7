#include "controller/assertions/timeout.h"

#include <algorithm>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "base/text.h"
#include "controller/assertions/deadline_calls.h"
#include "controller/assertions/durations.h"
#include "controller/assertions/gates.h"
#include "controller/assertions/verdicts.h"
#include "controller/assertions/windows.h"
#include "controller/assertions/words.h"

namespace squall {
namespace {

// With this many requests, their 99.9th percentile is judged too.
constexpr size_t kEnoughForP999 = 1000;

// The numbers that a request is held against.
struct Limits {
  int64_t deadline_ns = 0;  // D
  int64_t margin_ns = 0;    // m
  std::string margin_from;  // in words

  int64_t latest_ns() const { return deadline_ns + 2 * margin_ns; }
  int64_t p999_ns() const { return deadline_ns + margin_ns; }
  int64_t earliest_ns() const { return deadline_ns - margin_ns; }
};

Limits LimitsOf(const Timeout& spec, const Baseline& baseline) {
  Limits limits;
  limits.deadline_ns = Nanos(spec.deadline());
  if (spec.has_margin()) {
    limits.margin_ns = Nanos(spec.margin());
    limits.margin_from = "as asked";
  } else {
    const int64_t slack_ns = std::max<int64_t>(50'000'000, limits.deadline_ns / 20);
    limits.margin_ns = slack_ns + baseline.fastest_ns;
    limits.margin_from = absl::StrCat(HumanNanos(slack_ns), " + ", HumanNanos(baseline.fastest_ns),
                                      " that the fastest baseline request took");
  }
  return limits;
}

// The service itself says that it gave up.
bool DeclaredTimeout(const Request& request) { return request.status == 504 || request.status == 408; }

bool RanIntoDeadline(const Request& request, const Limits& limits) {
  return request.AnswerNs() >= limits.earliest_ns() || DeclaredTimeout(request) ||
         request.outcome == TIMED_OUT;
}

// A machine that stands still can only delay an answer. So a request says nothing when it was too slow and
// would not have been without the stall, and counts in every other case.
bool MaybeOnlyStalled(const Request& request, const Limits& limits, const Stalls& stalls) {
  const int64_t answer_ns = request.AnswerNs();
  if (answer_ns <= limits.p999_ns()) return false;
  const int64_t stalled_ns = stalls.Within(request.sent_ns, request.end_ns);
  return stalled_ns > 0 && answer_ns - stalled_ns <= limits.latest_ns();
}

// The requests that ran into the deadline, and those of them that broke the promise.
struct Deadlined {
  std::vector<int64_t> answers_ns;
  std::vector<const Request*> late;   // after D + 2m
  std::vector<const Request*> slow;   // after D + m
  std::vector<const Request*> early;  // declared timeouts before D - m
  const Request* slowest = nullptr;
  const Request* earliest = nullptr;  // of `early`
  int64_t given_up = 0;
  int64_t left_out = 0;    // the machine stood still meanwhile
  int64_t sent = 0;        // in the span, whether or not they ran into the deadline
  int64_t longest_ns = 0;  // answer of any of them
};

Deadlined Collect(absl::Span<const Request> requests, int64_t begin_ns, int64_t end_ns, const Limits& limits,
                  const Stalls& stalls) {
  Deadlined found;
  for (const Request& request : requests) {
    if (request.sent_ns < begin_ns || request.sent_ns > end_ns || request.outcome == ABANDONED) continue;
    ++found.sent;
    if (!RanIntoDeadline(request, limits)) {
      found.longest_ns = std::max(found.longest_ns, request.AnswerNs());
      continue;
    }
    const int64_t answer_ns = request.AnswerNs();
    if (MaybeOnlyStalled(request, limits, stalls)) {
      ++found.left_out;
      continue;
    }
    found.longest_ns = std::max(found.longest_ns, answer_ns);
    found.answers_ns.push_back(answer_ns);
    found.given_up += request.outcome == TIMED_OUT;
    if (answer_ns > limits.latest_ns()) found.late.push_back(&request);
    if (answer_ns > limits.p999_ns()) found.slow.push_back(&request);
    if (found.slowest == nullptr || answer_ns > found.slowest->AnswerNs()) found.slowest = &request;
    if (DeclaredTimeout(request) && answer_ns < limits.earliest_ns()) {
      found.early.push_back(&request);
      if (found.earliest == nullptr || answer_ns < found.earliest->AnswerNs()) found.earliest = &request;
    }
  }
  return found;
}

Obstacle TooFew(const Timeout& spec, const Deadlined& found, const Limits& limits) {
  const auto n = static_cast<int64_t>(found.answers_ns.size());
  Obstacle obstacle;
  obstacle.reason =
      absl::StrCat(n == 0 ? "no request" : Counted(n, "request"), " ran into the deadline of ",
                   HumanNanos(limits.deadline_ns), " during the fault; ", spec.at_least(), " are needed");
  if (n == 0 && found.sent > 0) {
    absl::StrAppend(&obstacle.reason, ". The longest of ", Counted(found.sent, "request"), " took ",
                    HumanNanos(found.longest_ns));
  }
  obstacle.advice = n == 0 ? absl::StrCat("make the fault hold requests up for longer than ",
                                          HumanNanos(limits.deadline_ns),
                                          ", and check that these requests need the faulty dependency")
                           : "raise `rate` or the fault's `for`";
  return obstacle;
}

void AddFigures(Verdict& verdict, const Limits& limits, Deadlined& found) {
  AddDetail(verdict, "deadline", HumanNanos(limits.deadline_ns));
  AddDetail(verdict, "margin", absl::StrCat(Tenths(limits.margin_ns), " (", limits.margin_from, ")"));
  AddDetail(verdict, "sent during the fault", Counted(found.sent, "request"));
  AddDetail(verdict, "ran into the deadline",
            Counted(static_cast<int64_t>(found.answers_ns.size()), "request"));
  if (!found.answers_ns.empty()) {
    AddDetail(verdict, "their p50", Tenths(Percentile(found.answers_ns, 50)));
    AddDetail(verdict, "their p99", Tenths(Percentile(found.answers_ns, 99)));
  }
  if (found.answers_ns.size() >= kEnoughForP999) {
    AddDetail(
        verdict, "their p99.9",
        absl::StrCat(Tenths(Percentile(found.answers_ns, 99.9)), ", at most ", Tenths(limits.p999_ns())));
  }
  if (found.given_up > 0) AddDetail(verdict, "given up by the client", Counted(found.given_up, "request"));
  if (found.left_out > 0) {
    AddDetail(verdict, "left out because the machine stood still", Counted(found.left_out, "request"));
  }
}

void SetFigures(Verdict& verdict, absl::string_view bound, int64_t measured_ns, int64_t limit_ns,
                int64_t margin_ns) {
  verdict.set_measured(Tenths(measured_ns));
  verdict.set_limit(absl::StrCat(bound, " ", Tenths(limit_ns)));
  verdict.set_margin(Tenths(margin_ns));
}

void AddBreaches(Verdict& verdict, const std::vector<const Request*>& breaches, const Timeline& timeline,
                 const Load& load) {
  verdict.set_result(Verdict::FAIL);
  verdict.set_first_broken_ns(breaches.front()->sent_ns);
  for (const Request* request : breaches) AddExample(verdict, timeline, load, *request);
}

std::string HowSlow(const Request& request) {
  return request.outcome == TIMED_OUT ? absl::StrCat("the slowest had no answer after ",
                                                     Tenths(request.AnswerNs()), ", when the client gave up")
                                      : absl::StrCat("the slowest took ", Tenths(request.AnswerNs()));
}

// Sets result, reason and figures. REQUIRES: `found` has answers.
void ConcludeAnswers(Verdict& verdict, const Limits& limits, Deadlined& found, const Timeline& timeline,
                     const Load& load) {
  const auto n = static_cast<int64_t>(found.answers_ns.size());
  const std::string deadline = HumanNanos(limits.deadline_ns);
  const int64_t slowest_ns = found.slowest->AnswerNs();
  SetFigures(verdict, "at most", slowest_ns, limits.latest_ns(), limits.latest_ns() - slowest_ns);
  if (!found.late.empty()) {
    AddBreaches(verdict, found.late, timeline, load);
    verdict.set_reason(absl::StrCat(Grouped(static_cast<int64_t>(found.late.size())), " of ",
                                    Counted(n, "request"), " that ran into the deadline of ", deadline,
                                    " had no answer by ", Tenths(limits.latest_ns()), ": ",
                                    HowSlow(*found.slowest)));
    return;
  }
  if (found.answers_ns.size() >= kEnoughForP999) {
    const int64_t p999_ns = Percentile(found.answers_ns, 99.9);
    if (p999_ns > limits.p999_ns()) {
      AddBreaches(verdict, found.slow, timeline, load);
      SetFigures(verdict, "p99.9 at most", p999_ns, limits.p999_ns(), limits.p999_ns() - p999_ns);
      verdict.set_reason(absl::StrCat("of ", Counted(n, "request"), " that ran into the deadline of ",
                                      deadline, ", ", Grouped(static_cast<int64_t>(found.slow.size())),
                                      " took longer than ", Tenths(limits.p999_ns()),
                                      "; only 0.1 % of them may"));
      return;
    }
  }
  if (!found.early.empty()) {
    AddBreaches(verdict, found.early, timeline, load);
    const int64_t earliest_ns = found.earliest->AnswerNs();
    SetFigures(verdict, "no sooner than", earliest_ns, limits.earliest_ns(),
               earliest_ns - limits.earliest_ns());
    verdict.set_reason(absl::StrCat(
        Counted(static_cast<int64_t>(found.early.size()), "request"), " timed out (status ",
        found.earliest->status, ") before the deadline of ", deadline, " had come: the earliest after ",
        Tenths(earliest_ns), " (no sooner than ", Tenths(limits.earliest_ns()), ")"));
    return;
  }
  verdict.set_result(Verdict::PASS);
  verdict.set_reason(absl::StrCat(Counted(n, "request"), " ran into the deadline of ", deadline,
                                  "; the slowest took ", Tenths(slowest_ns), " (limit ",
                                  Tenths(limits.latest_ns()), ")"));
}

}  // namespace

Judgement JudgeTimeout(const Timeout& spec, const Timeline& timeline, const Stalls& stalls) {
  const Load* load = FindLoad(timeline, spec.load());
  if (load == nullptr) return Obstructed({absl::StrCat("the scenario has no load ", spec.load()), ""});
  if (auto obstacle = SteadyGate(timeline)) return Obstructed(*obstacle);
  const FaultTime time = TimeOf(timeline, spec.fault());
  if (auto obstacle = FaultGate(timeline, time, /*must_be_over=*/true)) return Obstructed(*obstacle);

  const Baseline baseline = BaselineOf(timeline, *load);
  if (auto obstacle = BaselineGate(*load, baseline, stalls)) return Obstructed(*obstacle);

  const int64_t begin_ns = *time.injected_ns;
  const int64_t end_ns = *time.over_ns;
  const Limits limits = LimitsOf(spec, baseline);
  const auto requests = timeline.requests.find(load->name());
  Deadlined found;
  if (requests != timeline.requests.end()) {
    // A request is sent after its intended start, late by at most its whole latency.
    found = Collect(requests->second, begin_ns, end_ns, limits, stalls);
  }
  const auto n = static_cast<int64_t>(found.answers_ns.size());
  Verdict verdict;
  verdict.set_samples(n);
  AddFigures(verdict, limits, found);
  if (auto obstacle = GeneratorGate(timeline, *load, begin_ns, end_ns, stalls))
    return Obstructed(*obstacle, verdict);
  if (auto obstacle = StallGate(found.left_out, n + found.left_out, "request", stalls))
    return Obstructed(*obstacle, verdict);

  // What was sent until the fault was over must have ended before the verdict can be the last word.
  const bool complete = CompleteUntil(timeline, *load) > end_ns;
  Judgement judgement;
  if (n < spec.at_least()) {
    judgement = Obstructed(TooFew(spec, found, limits), verdict);
  } else {
    ConcludeAnswers(verdict, limits, found, timeline, *load);
    judgement.verdict = verdict;
  }
  judgement.final = complete;
  JudgeDeadlineCalls(spec, {limits.deadline_ns, limits.margin_ns, baseline.fastest_ns, begin_ns, end_ns}, timeline, stalls, judgement);
  return judgement;
}

}  // namespace squall
