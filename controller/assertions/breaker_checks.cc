#include "controller/assertions/breaker_checks.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "base/text.h"
#include "controller/assertions/attempts.h"
#include "controller/assertions/breaker_probes.h"
#include "controller/assertions/breaker_shape.h"
#include "controller/assertions/durations.h"
#include "controller/assertions/verdicts.h"
#include "controller/assertions/windows.h"
#include "controller/assertions/words.h"

namespace squall {
namespace {

constexpr double kQuiet = 0.05;  // of the expected calls
constexpr double kFlowing = 0.9;
constexpr double kExpectedToTell = 20;
constexpr size_t kQuietBins = 3;
constexpr int64_t kFailuresToTell = 20;
constexpr size_t kSamplesToTell = 20;
constexpr int64_t kLookNs = 1'000'000'000;

// The first bin of the first quiet span.
std::optional<size_t> FirstQuiet(const Attempts& attempts, double calls_per_request) {
  size_t last = 0;
  for (size_t first = 0; first < attempts.bins(); ++first) {
    last = std::max(last, first + kQuietBins);
    while (last <= attempts.bins() && calls_per_request * attempts.Requests(first, last) < kExpectedToTell)
      ++last;
    if (last > attempts.bins()) return std::nullopt;
    if (attempts.Calls(first, last) <= kQuiet * calls_per_request * attempts.Requests(first, last))
      return first;
  }
  return std::nullopt;
}

// The last call that started in [from_ns, to_ns); `from_ns` when there was none.
int64_t LastStart(absl::Span<const Call> calls, int64_t from_ns, int64_t to_ns) {
  const auto end = std::lower_bound(calls.begin(), calls.end(), to_ns,
                                    [](const Call& call, int64_t ns) { return call.start_ns < ns; });
  return end == calls.begin() ? from_ns : std::max(from_ns, std::prev(end)->start_ns);
}

bool HasDns(const BreakerScene& scene) {
  const std::vector<FaultTime::Part>& parts = scene.time.parts;
  return std::any_of(parts.begin(), parts.end(), [](const FaultTime::Part& part) { return part.fault->has_dns(); });
}

Finding Unexercised(const BreakerScene& scene) {
  Finding finding{"opens", Verdict::INCONCLUSIVE};
  finding.text = absl::StrCat("no call over edge ", scene.spec->edge(),
                              " failed during the fault, so that the breaker had no reason to open");
  finding.advice = "raise `delay` above the service's own deadline, or `for`";
  if (scene.peer_dead) {
    finding.text += "; calls to a dead peer vanish with or without a breaker";
    finding.advice = "check the edge's address: neither failed calls nor refused connects were seen there";
  } else if (scene.by_connects) {
    finding.text = absl::StrCat("no connect over edge ", scene.spec->edge(),
                                " was tried during the fault, so that the breaker had no reason to open");
    finding.advice = "raise the fault's `for` until the service gives up the connections that it has";
  } else if (scene.calls_hidden) {
    finding.text = absl::StrCat(HasDns(scene) ? "calls vanish where a name cannot be resolved, with or without a breaker"
                                              : "calls vanish under this fault with or without a breaker",
                                ", and nothing counts the attempts");
    finding.advice =
        absl::StrCat("give the service `metrics` and the assertion its `state`, ",
                     HasDns(scene) ? "" : "leave out `relay_at` on the edge so that connects are counted, ",
                     "or use `latency` or `kill` instead");
  }
  return finding;
}

// Where calls and attempts tell nothing: by what the breaker says itself.
Finding OpensByMetric(const BreakerScene& scene, const StateSpans& own, std::optional<int64_t>* opened_ns) {
  const int64_t within_ns = Nanos(scene.spec->opens_within());
  Finding finding{"opens", Verdict::PASS};
  for (const StateSpan& span : own) {
    if (span.state != "open" || span.to_ns <= scene.begin_ns || span.from_ns >= scene.over_ns) continue;
    *opened_ns = std::max(span.from_ns, scene.begin_ns);
    const int64_t took_ns = **opened_ns - scene.begin_ns;
    finding.Took(took_ns, within_ns);
    finding.text = absl::StrCat("opened ", Tenths(took_ns), " after the injection, by its own metric (limit ",
                                HumanNanos(within_ns), ")");
    if (took_ns > within_ns) {
      finding.result = Verdict::FAIL;
      finding.first_broken_ns = scene.begin_ns + within_ns;
    }
    return finding;
  }
  const int64_t seen_ns = scene.over_ns - scene.begin_ns;
  if (seen_ns < within_ns) {
    finding.result = Verdict::INCONCLUSIVE;
    finding.text = absl::StrCat("never opened by its own metric in ", Tenths(seen_ns), ", but it may take ",
                                HumanNanos(within_ns));
    finding.advice = "raise the fault's `for`, or lower `opens_within`";
    return finding;
  }
  finding.result = Verdict::FAIL;
  finding.text = absl::StrCat("never opened by its own metric in the ", Tenths(seen_ns), " of the fault");
  finding.first_broken_ns = scene.begin_ns + within_ns;
  return finding;
}

// When the load first learned that something is wrong while the fault acted: an answer that is not ok, or late.
std::optional<int64_t> FirstFelt(const BreakerScene& scene) {
  std::optional<int64_t> first_ns;
  const auto found = scene.timeline->requests.find(scene.load->name());
  if (found == scene.timeline->requests.end()) return first_ns;
  for (const Request& request : IntendedWithin(found->second, scene.begin_ns, scene.over_ns)) {
    if (request.outcome == ABANDONED || request.end_ns > scene.over_ns) continue;
    if (request.outcome == OK && request.AnswerNs() <= scene.fail_fast_ns) continue;
    if (!first_ns || request.end_ns < *first_ns) first_ns = request.end_ns;
  }
  return first_ns;
}

// By when it must have opened where calls vanish: what is answered before may still have been tried.
int64_t OpenBy(const BreakerScene& scene, int64_t opened_ns) {
  return std::max(opened_ns, FirstFelt(scene).value_or(opened_ns) + Nanos(scene.spec->opens_within()));
}

// No connect was tried: it has learned from the connections that it had. That its answers are fast from the end of its time
// on tells it from one that goes on waiting on them, which the check for that finds out.
Finding OpensUntried(const BreakerScene& scene, std::optional<int64_t>* opened_ns) {
  if (!FirstFelt(scene)) return Unexercised(scene);
  const int64_t within_ns = Nanos(scene.spec->opens_within());
  const int64_t by_ns = OpenBy(scene, scene.begin_ns);
  Finding finding{"opens", Verdict::PASS};
  if (scene.Expected(by_ns, scene.over_ns) < kExpectedToTell) {
    finding.result = Verdict::INCONCLUSIVE;
    finding.text = absl::StrCat("no connect over edge ", scene.spec->edge(), " was tried, but the fault was over before ",
                                HumanNanos(within_ns), " in which it must open and some calls beyond");
    finding.advice = "raise the fault's `for`, or lower `opens_within`";
    return finding;
  }
  *opened_ns = by_ns;
  finding.text = absl::StrCat("opened within its ", HumanNanos(within_ns), ": no connect over edge ", scene.spec->edge(),
                              " was tried after the connections that it had");
  return finding;
}

// Calls are few, and come evenly nevertheless.
Finding OpensInAnotherShape(const BreakerScene& scene, int64_t from_ns, int64_t to_ns) {
  const double expected = scene.Expected(from_ns, to_ns);
  const auto came = static_cast<double>(scene.CallsBetween(from_ns, to_ns));
  const std::string shape = OtherShape(scene, from_ns, scene.over_ns);
  Finding finding{"opens", Verdict::FAIL};
  finding.measured = HumanPercent(expected > 0 ? 100 * came / expected : 0);
  finding.limit = "no calls";
  finding.first_broken_ns = from_ns;
  finding.text = absl::StrCat("did not open: calls over edge ", scene.spec->edge(), " went down to ", finding.measured,
                              " of what is usual and did not stop: ", shape.empty() ? "they came evenly" : shape);
  return finding;
}

// Requests that were sent while nothing was called: after the call at `from_ns`, before the one at `to_ns`.
void CollectAnswers(const BreakerScene& scene, int64_t from_ns, int64_t to_ns, bool probed,
                    std::vector<const Request*>& answers) {
  const auto found = scene.timeline->requests.find(scene.load->name());
  if (found == scene.timeline->requests.end()) return;
  for (const Request& request : IntendedWithin(found->second, from_ns, to_ns)) {
    const int64_t e_ns = scene.cross_host_ns;
    if (request.sent_ns <= from_ns + e_ns || request.sent_ns >= to_ns - e_ns || !Waited(request.outcome)) continue;
    // It may be the one that became the probe, unless it was too slow before the probe came.
    if (probed && request.end_ns > to_ns - e_ns && request.sent_ns > to_ns - scene.fail_fast_ns - e_ns) continue;
    if (!scene.stalls->Touch(request.sent_ns, request.end_ns)) answers.push_back(&request);
  }
}

std::vector<const Request*> AnswersWhileOpen(const BreakerScene& scene, int64_t opened_ns, size_t instances) {
  std::vector<const Request*> answers;
  if (scene.peer_dead || scene.calls_hidden) {
    // A probe of a dead peer is refused at once: no need to tell it apart.
    const int64_t from_ns = scene.by_connects ? OpenBy(scene, opened_ns) : opened_ns;
    CollectAnswers(scene, from_ns, scene.AliveFrom(opened_ns), /*probed=*/false, answers);
    return answers;
  }
  // The probes of several breakers come that much closer.
  const int64_t quiet_ns = Nanos(scene.spec->open_time()) / 2 / static_cast<int64_t>(instances);
  int64_t before_ns = opened_ns;
  for (const Call& call : scene.calls) {
    if (call.start_ns <= opened_ns) continue;
    if (call.start_ns >= scene.over_ns) break;
    if (call.start_ns - before_ns >= quiet_ns)
      CollectAnswers(scene, before_ns, call.start_ns, /*probed=*/true, answers);
    before_ns = call.start_ns;
  }
  if (scene.over_ns - before_ns >= quiet_ns)
    CollectAnswers(scene, before_ns, scene.over_ns, /*probed=*/true, answers);
  return answers;
}

// Leaves at least one.
void LeaveOutSlowest(int64_t count, std::vector<int64_t>& times_ns) {
  std::sort(times_ns.begin(), times_ns.end());
  times_ns.resize(times_ns.size() - std::min(static_cast<size_t>(count), times_ns.size() - 1));
}

}  // namespace

void Finding::Took(int64_t ns, int64_t limit_ns) {
  took_ns = ns;
  measured = Tenths(ns);
  limit = absl::StrCat("at most ", Tenths(limit_ns));
  margin = Tenths(limit_ns - ns);
}

Finding CheckOpens(const BreakerScene& scene, const StateSpans& own, std::optional<int64_t>* opened_ns) {
  const BreakerScene::Failures failures = scene.FailedCalls();
  const bool untold = !failures.first_ns || (scene.calls_hidden && !scene.by_connects);
  if (untold && scene.calls_hidden && !own.empty()) return OpensByMetric(scene, own, opened_ns);
  if (scene.by_connects && !failures.connects) return OpensUntried(scene, opened_ns);
  if (untold) return Unexercised(scene);
  const int64_t within_ns = Nanos(scene.spec->opens_within());
  const bool counted = scene.peer_dead || scene.by_connects;  // nothing is seen but counts
  const std::string first = scene.by_connects ? "connect that was tried" : "failed call";
  const Attempts attempts(*scene.timeline, scene.spec->edge(), scene.load->name(), *failures.first_ns,
                          scene.over_ns, scene.source, scene.by_connects);
  const std::optional<size_t> quiet = FirstQuiet(attempts, scene.calls_per_request);
  Finding finding{"opens", Verdict::PASS};
  if (quiet) {
    const int64_t from_ns = attempts.BinStart(*quiet);
    const int64_t last_ns = LastStart(scene.calls, counted ? from_ns : *failures.first_ns, from_ns + Attempts::kBinNs);
    const int64_t until_ns = std::min(last_ns + scene.open_at_least_ns, scene.over_ns);
    if (!counted && until_ns - last_ns >= scene.open_at_least_ns / 2 &&
        GoesOnEvenly(scene, last_ns, until_ns)) {
      return OpensInAnotherShape(scene, last_ns, until_ns);
    }
    *opened_ns = last_ns;
    const int64_t took_ns = last_ns - *failures.first_ns;
    finding.Took(took_ns, within_ns);
    finding.text = absl::StrCat("opened ", Tenths(took_ns), " after the first ", first, " (limit ",
                                HumanNanos(within_ns), ")");
    // Connects are counted once a second: it may have been as much sooner.
    if (took_ns > within_ns + (scene.by_connects ? kLookNs : 0)) {
      finding.result = Verdict::FAIL;
      finding.first_broken_ns = *failures.first_ns + within_ns;
    }
    return finding;
  }

  const double expected = scene.calls_per_request * attempts.Requests(0, attempts.bins());
  const double percent = expected > 0 ? 100 * attempts.Calls(0, attempts.bins()) / expected : 0;
  const int64_t seen_ns = scene.over_ns - *failures.first_ns;
  finding.text = absl::StrCat("never opened: in the ", Tenths(seen_ns),
                              " from the first ", first, " to the end of the fault, ", HumanPercent(percent),
                              " of the usual calls went on over edge ", scene.spec->edge());
  if (!counted && percent < 100 * kFlowing) {
    const std::string shape = OtherShape(scene, *failures.first_ns, scene.over_ns);
    if (!shape.empty()) absl::StrAppend(&finding.text, ", ", shape);
  }
  if (seen_ns < within_ns + static_cast<int64_t>(kQuietBins + 1) * Attempts::kBinNs) {
    finding.result = Verdict::INCONCLUSIVE;
    finding.text += absl::StrCat(", but it may take ", HumanNanos(within_ns));
    finding.advice = "raise the fault's `for`, or lower `opens_within`";
    return finding;
  }
  if (failures.count < kFailuresToTell) {
    finding.result = Verdict::INCONCLUSIVE;
    finding.text += absl::StrCat(", but only ", Counted(failures.count, "call"), " failed; ", kFailuresToTell,
                                 " are needed");
    finding.advice = "raise `rate`, or `delay` above the service's own deadline";
    return finding;
  }
  finding.result = Verdict::FAIL;
  finding.measured = absl::StrCat("not within ", Tenths(seen_ns));
  finding.limit = absl::StrCat("at most ", Tenths(within_ns));
  finding.first_broken_ns = *failures.first_ns + within_ns;
  return finding;
}

Finding CheckFailsFast(const BreakerScene& scene, int64_t opened_ns, size_t instances, Verdict* verdict) {
  const std::vector<const Request*> answers = AnswersWhileOpen(scene, opened_ns, instances);
  verdict->set_samples(static_cast<int64_t>(answers.size()));
  Finding finding{"fails fast", Verdict::PASS};
  if (answers.size() < kSamplesToTell) {
    finding.result = Verdict::INCONCLUSIVE;
    finding.text =
        absl::StrCat("only ", Counted(static_cast<int64_t>(answers.size()), "request"),
                     " can be told to have been answered while it was open; ", kSamplesToTell, " are needed");
    finding.advice = "raise `rate` or the fault's `for`";
    return finding;
  }
  std::vector<int64_t> times_ns;
  for (const Request* request : answers) times_ns.push_back(request->AnswerNs());
  // Probes hang, and are not told apart: so many of the slowest may be probes.
  if (scene.by_connects) LeaveOutSlowest(scene.ProbesAllowed(opened_ns, scene.over_ns) * static_cast<int64_t>(instances), times_ns);
  const int64_t p99_ns = Percentile(times_ns, 99);
  finding.Took(p99_ns, scene.fail_fast_ns);
  finding.text = absl::StrCat("p99 of the answers while it was open is ", Tenths(p99_ns), " (limit ",
                              Tenths(scene.fail_fast_ns), ")");
  if (p99_ns <= scene.fail_fast_ns) return finding;
  finding.result = Verdict::FAIL;
  for (const Request* request : answers) {
    if (request->AnswerNs() <= scene.fail_fast_ns) continue;
    if (finding.first_broken_ns == 0) finding.first_broken_ns = request->sent_ns;
    AddExample(*verdict, *scene.timeline, *scene.load, *request);
  }
  return finding;
}

}  // namespace squall
