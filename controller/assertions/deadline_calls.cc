#include "controller/assertions/deadline_calls.h"

#include <algorithm>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/text.h"
#include "controller/assertions/attempts.h"
#include "controller/assertions/baseline.h"
#include "controller/assertions/durations.h"
#include "controller/assertions/fault_time.h"
#include "controller/assertions/gates.h"
#include "controller/assertions/promise.h"
#include "controller/assertions/verdicts.h"
#include "controller/assertions/words.h"

namespace squall {
namespace {

// Between what a service takes for the time that is left and the call that tells it, a request travels, waits for a core, and is
// rounded up to a millisecond.
constexpr int64_t kToldWithinNs = 11'000'000;
// So many percent of the calls may be told more than that, as long as they stay within the margin.
constexpr int64_t kMostHeldUpPercent = 10;
// What piled up while a service had no core is worked off within so long.
constexpr int64_t kWorkedOffNs = 500'000'000;

// A call that the fault met, and the request that it was made for where that is known.
struct Traced {
  const Call* call = nullptr;
  const Request* request = nullptr;
};

// Finds the requests of a load by their numbers. Points into the timeline.
class ByNumber {
 public:
  ByNumber(const Timeline& timeline, const std::string& load, int64_t begin_ns, int64_t end_ns) {
    const auto requests = timeline.requests.find(load);
    if (requests == timeline.requests.end()) return;
    for (const Request& request : requests->second) {
      if (request.end_ns >= begin_ns && request.sent_ns <= end_ns) requests_.push_back(&request);
    }
    std::sort(requests_.begin(), requests_.end(), [](const Request* a, const Request* b) { return a->number < b->number; });
  }
  const Request* Find(int64_t number) const {
    const auto found = std::lower_bound(requests_.begin(), requests_.end(), number,
                                        [](const Request* request, int64_t wanted) { return request->number < wanted; });
    return found == requests_.end() || (*found)->number != number ? nullptr : *found;
  }

 private:
  std::vector<const Request*> requests_;
};

// Those that began while the fault acted. What other loads have caused has deadlines of its own.
std::vector<Traced> CallsOf(const Timeout& spec, const std::string& edge, const DeadlineLimits& limits,
                            const Timeline& timeline) {
  std::vector<Traced> calls;
  const auto found = timeline.calls.find(edge);
  if (found == timeline.calls.end()) return calls;
  const uint16_t trace = timeline.TraceOf(spec.load());
  const ByNumber requests(timeline, spec.load(), limits.begin_ns, limits.end_ns);
  for (const Call& call : found->second) {
    if (call.start_ns < limits.begin_ns || call.start_ns > limits.end_ns || !IsCall(call.result)) continue;
    if (call.trace != 0 && call.trace != trace) continue;
    calls.push_back({&call, call.trace == 0 ? nullptr : requests.Find(call.number)});
  }
  return calls;
}

void Break(Promise& promise, std::string text, const std::vector<Traced>& broken, const Load* load) {
  promise.result = Verdict::FAIL;
  promise.text = std::move(text);
  promise.first_broken_ns = broken.front().call->start_ns;
  promise.load = load;
  for (const Traced& traced : broken) {
    if (traced.request != nullptr) promise.examples.push_back(traced.request);
  }
}

std::string OfAll(size_t some, size_t all, const std::string& edge) {
  return absl::StrCat(Grouped(static_cast<int64_t>(some)), " of ", Counted(static_cast<int64_t>(all), "call"), " over ", edge);
}

Obstacle TooFew(size_t count, int64_t at_least, const std::string& edge, absl::string_view what, std::string advice) {
  const auto n = static_cast<int64_t>(count);
  return {absl::StrCat(n == 0 ? "no call" : Counted(n, "call"), " over ", edge, " ", what, " during the fault; ",
                       Grouped(at_least), at_least == 1 ? " is needed" : " are needed"),
          std::move(advice)};
}

// The header in which callers over the edge say how long they will wait, in words.
std::string HeaderOf(const Timeline& timeline, const std::string& name) {
  for (const Edge& edge : timeline.header.scenario().edges()) {
    if (edge.name() == name && !edge.deadline_header().empty())
      return absl::StrCat("neither grpc-timeout nor ", edge.deadline_header());
  }
  return "no grpc-timeout, and the edge has no `deadline_header`";
}

Promise CheckPropagates(const Timeout& spec, const std::string& edge, const std::vector<Traced>& calls,
                        const DeadlineLimits& limits, const Timeline& timeline, const Stalls& stalls) {
  const Load* load = FindLoad(timeline, spec.load());
  const int64_t clocks_ns = CrossHostNs(timeline);
  std::vector<Traced> silent, spent, too_long, held_up;
  size_t traced = 0;
  int64_t longest_ns = 0, left_out = 0;
  for (const Traced& each : calls) {
    const Call& call = *each.call;
    if (!call.TimeoutNs()) {
      silent.push_back(each);
      continue;
    }
    const int64_t told_ns = *call.TimeoutNs();
    longest_ns = std::max(longest_ns, told_ns);
    if (told_ns <= 0) spent.push_back(each);
    const int64_t left_ns = limits.deadline_ns - (each.request == nullptr ? 0 : call.start_ns - each.request->sent_ns);
    const bool beyond = told_ns > left_ns + limits.margin_ns + clocks_ns;
    const bool late = each.request != nullptr && told_ns > left_ns + kToldWithinNs + clocks_ns;
    if ((beyond || late) && each.request != nullptr && stalls.Touch(each.request->sent_ns, call.start_ns)) {
      ++left_out;
      continue;
    }
    traced += each.request != nullptr;
    if (beyond) too_long.push_back(each);
    if (late) held_up.push_back(each);
  }
  const std::string deadline = HumanNanos(limits.deadline_ns);
  Promise promise;
  promise.name = "propagates";
  promise.measured = calls.size() == silent.size() ? "none told" : absl::StrCat("at most ", Tenths(longest_ns), " told");
  promise.limit = absl::StrCat("what is left of ", deadline);
  promise.text =
      absl::StrCat(Counted(static_cast<int64_t>(calls.size()), "call"), " over ", edge, " were told what is left of the deadline",
                   traced == 0 ? " (by the whole of it: no call carries a trace id of the load)" : "");
  const auto n = static_cast<int64_t>(calls.size());
  if (n < spec.at_least()) {
    promise.Open(TooFew(calls.size(), spec.at_least(), edge, "began",
                        n == 0
                            ? "check that these requests call over this edge, and in plain text: what is encrypted cannot be read"
                            : "raise `rate` or the fault's `for`"));
  } else if (!silent.empty()) {
    Break(promise,
          absl::StrCat("the deadline is not propagated: ", OfAll(silent.size(), calls.size(), edge), " told nothing of it (",
                       HeaderOf(timeline, edge), "), so that the dependency may work on them for ever"),
          silent, load);
  } else if (!spent.empty()) {
    Break(promise,
          absl::StrCat("the deadline is not propagated: ", OfAll(spent.size(), calls.size(), edge), " told that no time is left"),
          spent, load);
  } else if (!too_long.empty() ||
             static_cast<int64_t>(held_up.size()) * 100 > static_cast<int64_t>(traced) * kMostHeldUpPercent) {
    const std::vector<Traced>& broken = too_long.empty() ? held_up : too_long;
    const Call& first = *broken.front().call;
    const Request* request = broken.front().request;
    Break(
        promise,
        absl::StrCat("the deadline is not propagated: ", OfAll(broken.size(), calls.size(), edge), " told more than was left of ",
                     deadline, ": the first ", Tenths(*first.TimeoutNs()),
                     request == nullptr ? "" : absl::StrCat(", when ", Tenths(first.start_ns - request->sent_ns), " were spent")),
        broken, load);
  } else if (auto obstacle = StallGate(left_out, n, "call", stalls)) {
    promise.Open(*obstacle);
  }
  return promise;
}

// The cores were not there, for more than a twentieth of the time, for who had to give these calls up.
bool Disturbed(const std::vector<Traced>& calls, const Stalls& stalls) {
  const int64_t begin_ns = calls.front().call->start_ns, end_ns = calls.back().call->end_ns;
  return stalls.Within(begin_ns, end_ns) * 20 > end_ns - begin_ns;
}

Promise CheckCancels(const Timeout& spec, const std::string& edge, const std::vector<Traced>& calls, const DeadlineLimits& limits,
                     const Timeline& timeline, const Stalls& stalls) {
  const int64_t within_ns = Nanos(spec.cancels_within());
  const int64_t clocks_ns = CrossHostNs(timeline);
  const int64_t allowed_ns = within_ns + limits.path_ns + clocks_ns;
  std::vector<Traced> went_on;
  size_t given_up = 0, open = 0;
  int64_t longest_ns = INT64_MIN, left_out = 0;
  for (const Traced& each : calls) {
    const Call& call = *each.call;
    const int64_t expiry_ns = each.request != nullptr ? each.request->sent_ns + limits.deadline_ns
                                                      : call.start_ns + call.TimeoutNs().value_or(limits.deadline_ns);
    const int64_t past_ns = call.end_ns - expiry_ns;
    if (past_ns > allowed_ns) {
      // Who had no core could not give it up, and then had all at once to give up that had piled up.
      const bool stalled = stalls.Touch(std::min(expiry_ns, call.start_ns), expiry_ns + allowed_ns);
      if (stalled && past_ns - stalls.Within(std::min(expiry_ns, call.start_ns), call.end_ns) <= allowed_ns + kWorkedOffNs) {
        ++left_out;
        continue;
      }
      open += call.result == STILL_OPEN;
      went_on.push_back(each);
    } else if (call.result == CALLER_LEFT && past_ns >= -limits.margin_ns - clocks_ns) {
      // A service counts from when it has the request, and gives up a little later than the deadline, or sooner to answer in
      // time.
      ++given_up;
    } else {
      continue;  // answered, or ended otherwise, before anybody had to give it up
    }
    longest_ns = std::max(longest_ns, past_ns);
  }
  const size_t n = given_up + went_on.size();
  const std::string deadline = HumanNanos(limits.deadline_ns);
  Promise promise;
  promise.name = "cancels";
  promise.limit = absl::StrCat("at most ", Tenths(allowed_ns), " after the deadline");
  if (n > 0) {
    promise.measured = Tenths(longest_ns);
    promise.margin = Tenths(allowed_ns - longest_ns);
  }
  promise.text =
      absl::StrCat(Counted(static_cast<int64_t>(n), "call"), " over ", edge, " that ran into the deadline of ", deadline,
                   " were given up, the last ", n == 0 ? "" : Tenths(std::max<int64_t>(longest_ns, 0)), " after it");
  if (static_cast<int64_t>(n) < spec.at_least()) {
    promise.Open(TooFew(n, spec.at_least(), edge, absl::StrCat("was open when the deadline of ", deadline, " had passed"),
                        absl::StrCat("make the fault hold calls up for longer than ", HumanNanos(limits.deadline_ns + allowed_ns),
                                     ", and raise `rate` or its `for`")));
  } else if (const bool few = static_cast<int64_t>(went_on.size()) * 100 <= static_cast<int64_t>(n) * kMostHeldUpPercent;
             few && !went_on.empty() && Disturbed(calls, stalls)) {
    // Who does not cancel goes on with nearly all.
    promise.Open({absl::StrCat(OfAll(went_on.size(), n, edge), " that ran into the deadline of ", deadline, " went on for up to ",
                               Tenths(longest_ns), " after it, while others had the cores at times, or the machine stood still"),
                  "run it again on a machine with less else to do"});
  } else if (!went_on.empty()) {
    Break(promise,
          absl::StrCat(
              "calls are not cancelled: ", OfAll(went_on.size(), n, edge), " that ran into the deadline of ", deadline,
              " went on for more than ", HumanNanos(within_ns), " after it, the longest for ", Tenths(longest_ns),
              open == 0 ? "" : absl::StrCat("; ", Grouped(static_cast<int64_t>(open)), " were still open when the run ended")),
          went_on, FindLoad(timeline, spec.load()));
  } else if (auto obstacle = StallGate(left_out, static_cast<int64_t>(n) + left_out, "call", stalls)) {
    promise.Open(*obstacle);
  }
  return promise;
}

// As bad as `result` says it is.
int Badness(Verdict::Result result) { return result == Verdict::FAIL ? 2 : result == Verdict::INCONCLUSIVE ? 1 : 0; }

}  // namespace

void JudgeDeadlineCalls(const Timeout& spec, const DeadlineLimits& limits, const Timeline& timeline, const Stalls& stalls,
                        Judgement& judgement) {
  if (!spec.propagates() && !spec.cancels()) return;
  const Scenario& scenario = timeline.header.scenario();
  const std::string edge = spec.edge().empty() && scenario.edges_size() == 1 ? scenario.edges(0).name() : spec.edge();
  const std::vector<Traced> calls = CallsOf(spec, edge, limits, timeline);
  std::vector<Promise> promises;
  if (spec.propagates()) promises.push_back(CheckPropagates(spec, edge, calls, limits, timeline, stalls));
  if (spec.cancels()) promises.push_back(CheckCancels(spec, edge, calls, limits, timeline, stalls));

  const Verdict of_calls = Conclude(promises, {}, timeline);
  Verdict& verdict = judgement.verdict;
  AddDetail(verdict, "answers", verdict.reason());
  verdict.mutable_details()->MergeFrom(of_calls.details());
  if (Badness(of_calls.result()) > Badness(verdict.result())) {
    verdict.set_result(of_calls.result());
    verdict.set_reason(of_calls.reason());
    verdict.set_advice(of_calls.advice());
    verdict.set_measured(of_calls.measured());
    verdict.set_limit(of_calls.limit());
    verdict.set_margin(of_calls.margin());
    verdict.set_first_broken_ns(of_calls.first_broken_ns());
    *verdict.mutable_examples() = of_calls.examples();
  } else if (verdict.result() == Verdict::PASS) {
    verdict.set_reason(absl::StrCat(verdict.reason(), "; ", of_calls.reason()));
  }
  // A call is told of when it has ended, and one that is never given up when the run has.
  judgement.final = verdict.result() == Verdict::FAIL ? judgement.final || of_calls.result() == Verdict::FAIL
                                                      : judgement.final && timeline.footer.has_value();
}

}  // namespace squall
