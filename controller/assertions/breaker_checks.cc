#include "controller/assertions/breaker_checks.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/text.h"
#include "controller/assertions/attempts.h"
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
constexpr int kClosedWindows = 3;

struct Failures {
  int64_t count = 0;
  std::optional<int64_t> first_ns;  // when the service could know
};

Failures FailuresOf(const BreakerScene& scene) {
  Failures failures;
  for (const Call& call : scene.calls) {
    if (!IsFailedCall(call.result) || call.end_ns < scene.begin_ns || call.start_ns > scene.over_ns) continue;
    ++failures.count;
    if (!failures.first_ns || call.end_ns < *failures.first_ns) failures.first_ns = call.end_ns;
  }
  const Refusals refusals =
      RefusalsWithin(*scene.timeline, scene.spec->edge(), scene.begin_ns, scene.over_ns);
  failures.count += refusals.count;
  if (refusals.first_ns && (!failures.first_ns || *refusals.first_ns < *failures.first_ns)) {
    failures.first_ns = refusals.first_ns;
  }
  return failures;
}

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
int64_t LastStart(const std::vector<Call>& calls, int64_t from_ns, int64_t to_ns) {
  const auto end = std::lower_bound(calls.begin(), calls.end(), to_ns,
                                    [](const Call& call, int64_t ns) { return call.start_ns < ns; });
  return end == calls.begin() ? from_ns : std::max(from_ns, std::prev(end)->start_ns);
}

void SetFigures(Finding& finding, int64_t took_ns, int64_t limit_ns) {
  finding.measured = Tenths(took_ns);
  finding.limit = absl::StrCat("at most ", Tenths(limit_ns));
  finding.margin = Tenths(limit_ns - took_ns);
}

Finding Unexercised(const BreakerScene& scene) {
  Finding finding{"opens", Verdict::INCONCLUSIVE};
  finding.text = absl::StrCat("no call over edge ", scene.spec->edge(),
                              " failed during the fault, so that the breaker had no reason to open");
  finding.advice = "raise `delay` above the service's own deadline, or `for`";
  if (scene.peer_dead) {
    finding.text += "; calls to a dead peer vanish with or without a breaker";
    finding.advice = "check the edge's address: neither failed calls nor refused connects were seen there";
  }
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

std::vector<const Request*> AnswersWhileOpen(const BreakerScene& scene, int64_t opened_ns) {
  std::vector<const Request*> answers;
  if (scene.peer_dead) {
    // A probe is refused at once: no need to tell it apart.
    CollectAnswers(scene, opened_ns, scene.over_ns, /*probed=*/false, answers);
    return answers;
  }
  const int64_t quiet_ns = Nanos(scene.spec->open_time()) / 2;
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

// Calls that came through together after a quiet time.
struct Episode {
  int64_t first_ns = 0;
  int64_t last_ns = 0;  // start of its last call
  int64_t end_ns = 0;   // when its last call was over
  int64_t gap_ns = 0;   // since the call before it
  int64_t calls = 0;
  int64_t failed = 0;
};

std::vector<Episode> EpisodesOf(const BreakerScene& scene, int64_t opened_ns) {
  const int64_t quiet_ns = Nanos(scene.spec->open_time()) / 2;
  std::vector<Episode> episodes;
  int64_t before_ns = opened_ns;
  for (const Call& call : scene.calls) {
    if (call.start_ns <= opened_ns) continue;
    if (call.start_ns >= scene.over_ns) break;
    const int64_t gap_ns = call.start_ns - before_ns;
    before_ns = call.start_ns;
    if (gap_ns >= quiet_ns) {
      episodes.emplace_back();
      episodes.back().first_ns = call.start_ns;
      episodes.back().gap_ns = gap_ns;
    } else if (episodes.empty() || call.start_ns >= episodes.back().end_ns) {
      continue;  // neither a probe nor beside one: the check that it stays open counts it
    }
    Episode& episode = episodes.back();
    ++episode.calls;
    episode.failed += call.result != ANSWERED;
    episode.last_ns = call.start_ns;
    episode.end_ns = std::max(episode.end_ns, call.end_ns);
  }
  return episodes;
}

Finding Broken(std::string name, std::string text, int64_t at_ns) {
  Finding finding{std::move(name), Verdict::FAIL, std::move(text)};
  finding.first_broken_ns = at_ns;
  return finding;
}

// After `quiet_from_ns` it must be quiet for the open time, counted from `clock_ns`.
std::optional<Finding> CheckStaysOpen(const BreakerScene& scene, int64_t quiet_from_ns, int64_t clock_ns,
                                      absl::string_view after) {
  const int64_t until_ns = std::min(clock_ns + scene.open_at_least_ns, scene.over_ns);
  const double expected = scene.Expected(quiet_from_ns, until_ns);
  if (expected < kExpectedToTell) return std::nullopt;
  const int64_t came = scene.CallsBetween(quiet_from_ns, until_ns);
  if (static_cast<double>(came) <= kQuiet * expected) return std::nullopt;
  Finding finding =
      Broken("probes",
             absl::StrCat("did not stay open after ", after, ": ", Counted(came, "call"), " came within ",
                          Tenths(until_ns - quiet_from_ns), ", ", HumanPercent(100 * came / expected),
                          " of what is usual; the open time is ", HumanNanos(Nanos(scene.spec->open_time()))),
             quiet_from_ns);
  finding.measured = HumanPercent(100 * static_cast<double>(came) / expected);
  finding.limit = absl::StrCat("at most ", HumanPercent(100 * kQuiet));
  return finding;
}

}  // namespace

Finding CheckOpens(const BreakerScene& scene, std::optional<int64_t>* opened_ns) {
  const Failures failures = FailuresOf(scene);
  if (!failures.first_ns) return Unexercised(scene);
  const int64_t within_ns = Nanos(scene.spec->opens_within());
  const Attempts attempts(*scene.timeline, scene.spec->edge(), scene.load->name(), *failures.first_ns,
                          scene.over_ns);
  const std::optional<size_t> quiet = FirstQuiet(attempts, scene.calls_per_request);
  Finding finding{"opens", Verdict::PASS};
  if (quiet) {
    const int64_t from_ns = attempts.BinStart(*quiet);
    *opened_ns = LastStart(scene.calls, from_ns, from_ns + Attempts::kBinNs);
    const int64_t took_ns = **opened_ns - *failures.first_ns;
    SetFigures(finding, took_ns, within_ns);
    finding.text = absl::StrCat("opened ", Tenths(took_ns), " after the first failed call (limit ",
                                HumanNanos(within_ns), ")");
    if (took_ns > within_ns) {
      finding.result = Verdict::FAIL;
      finding.first_broken_ns = *failures.first_ns + within_ns;
    }
    return finding;
  }

  const double expected = scene.calls_per_request * attempts.Requests(0, attempts.bins());
  const double percent = expected > 0 ? 100 * attempts.Calls(0, attempts.bins()) / expected : 0;
  const int64_t seen_ns = scene.over_ns - *failures.first_ns;
  finding.text = absl::StrCat("never opened: in the ", Tenths(seen_ns),
                              " from the first failed call to the end of the fault, ", HumanPercent(percent),
                              " of the usual calls went on over edge ", scene.spec->edge());
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

Finding CheckFailsFast(const BreakerScene& scene, int64_t opened_ns, Verdict* verdict) {
  const std::vector<const Request*> answers = AnswersWhileOpen(scene, opened_ns);
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
  const int64_t p99_ns = Percentile(times_ns, 99);
  SetFigures(finding, p99_ns, scene.fail_fast_ns);
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

Finding CheckProbes(const BreakerScene& scene, int64_t opened_ns) {
  if (auto broken = CheckStaysOpen(scene, opened_ns, opened_ns, "it had opened")) return *broken;
  const std::vector<Episode> episodes = EpisodesOf(scene, opened_ns);
  int64_t most = 0;
  int64_t count = 0;
  for (const Episode& episode : episodes) {
    ++count;
    most = std::max(most, episode.calls);
    if (episode.calls > scene.spec->probes()) {
      Finding finding =
          Broken("probes",
                 absl::StrCat("let ", Counted(episode.calls, "call"),
                              " through at once when it tried again; at most ", scene.spec->probes(), " may"),
                 episode.first_ns);
      finding.measured = Counted(episode.calls, "call");
      finding.limit = absl::StrCat("at most ", scene.spec->probes());
      return finding;
    }
    // A stall between two probes may have held the first one back.
    const bool stalled =
        scene.stalls->Touch(episode.first_ns - episode.gap_ns - Stalls::kCatchUpNs, episode.first_ns);
    if (episode.gap_ns < scene.open_at_least_ns && !stalled) {
      Finding finding = Broken(
          "probes",
          absl::StrCat("tried again ", Tenths(episode.gap_ns), " after the call before; the open time is ",
                       HumanNanos(Nanos(scene.spec->open_time()))),
          episode.first_ns);
      finding.measured = Tenths(episode.gap_ns);
      finding.limit = absl::StrCat("at least ", Tenths(scene.open_at_least_ns));
      finding.margin = Tenths(episode.gap_ns - scene.open_at_least_ns);
      return finding;
    }
    // It may close after probes that were answered, even while the fault acts.
    if (episode.failed == 0) break;
    if (auto broken = CheckStaysOpen(scene, episode.end_ns, episode.last_ns, "a failed probe"))
      return *broken;
  }
  return {"probes", Verdict::PASS,
          count == 0 ? "no probe was due during the fault"
                     : absl::StrCat("tried again ", Counted(count, "time"), ", with ", Counted(most, "call"),
                                    " at once at most (limit ", scene.spec->probes(), ")")};
}

Finding CheckAttemptsWhileDead(const BreakerScene& scene, int64_t opened_ns) {
  const std::string& edge = scene.spec->edge();
  // What the relay counts between two looks may belong to the time before the opening.
  const int64_t from_ns = FirstCountFrom(*scene.timeline, edge, opened_ns);
  const Attempts attempts(*scene.timeline, edge, scene.load->name(), from_ns, scene.over_ns);
  const int64_t tried = std::llround(attempts.Calls(0, attempts.bins()));
  const int64_t turns = (scene.over_ns - opened_ns) / scene.open_at_least_ns + 1;
  const int64_t allowed = scene.spec->probes() * turns;
  const std::string text =
      absl::StrCat("tried to call the dead peer ", Counted(tried, "time"), " while open");
  if (tried <= allowed) return {"probes", Verdict::PASS, text};
  Finding finding = Broken("probes",
                           absl::StrCat(text, "; its open time allows ", Grouped(allowed), " in ",
                                        Tenths(scene.over_ns - opened_ns)),
                           opened_ns);
  finding.measured = Counted(tried, "attempt");
  finding.limit = absl::StrCat("at most ", Grouped(allowed));
  return finding;
}

Finding CheckCloses(const BreakerScene& scene) {
  Finding finding{"closes", Verdict::PASS};
  const std::vector<FaultTime::Part>& parts = scene.time.parts;
  if (std::any_of(parts.begin(), parts.end(), [](const auto& part) { return LeavesPeerDead(*part.fault); })) {
    finding.result = Verdict::INCONCLUSIVE;
    finding.text = "the peer stays dead, so that the breaker has no reason to close";
    finding.advice = "give the `kill` a `restart_after`";
    return finding;
  }
  const std::optional<int64_t> next = NextOtherInjection(*scene.timeline, scene.time, scene.over_ns);
  const int64_t until_ns = next ? std::min(*next, scene.complete_ns) : scene.complete_ns;
  const Attempts attempts(*scene.timeline, scene.spec->edge(), scene.load->name(), scene.over_ns, until_ns);
  const auto width =
      static_cast<size_t>((scene.baseline.window_ns + Attempts::kBinNs - 1) / Attempts::kBinNs);
  auto flows = [&](size_t first) {
    const double usual = scene.calls_per_request * attempts.Requests(first, first + width);
    return usual > 0 && attempts.Calls(first, first + width) >= kFlowing * usual &&
           attempts.Answered(first, first + width) >= kFlowing * usual;
  };
  for (size_t bin = 0; bin + kClosedWindows * width <= attempts.bins(); ++bin) {
    if (!flows(bin) || !flows(bin + width) || !flows(bin + 2 * width)) continue;
    const int64_t took_ns = static_cast<int64_t>(bin) * Attempts::kBinNs;
    SetFigures(finding, took_ns, scene.close_within_ns);
    finding.text = absl::StrCat("closed ", Tenths(took_ns), " after healing (limit ",
                                HumanNanos(scene.close_within_ns), ")");
    if (took_ns > scene.close_within_ns + scene.cross_host_ns) {
      finding.result = Verdict::FAIL;
      finding.first_broken_ns = scene.over_ns + scene.close_within_ns;
    }
    return finding;
  }

  const int64_t needed_ns =
      scene.close_within_ns + kClosedWindows * static_cast<int64_t>(width) * Attempts::kBinNs;
  const int64_t seen_ns = static_cast<int64_t>(attempts.bins()) * Attempts::kBinNs;
  if (seen_ns < needed_ns) {
    finding.result = Verdict::INCONCLUSIVE;
    finding.pending = !next && !scene.timeline->footer;
    finding.text = absl::StrCat("calls have not come back in the ", Tenths(seen_ns),
                                " after healing that are recorded; ", Tenths(needed_ns), " are needed");
    finding.advice = next ? "start the next fault later: give it a larger `at`" : "run it to its end";
    return finding;
  }
  const size_t last = attempts.bins() - width;
  const double usual = scene.calls_per_request * attempts.Requests(last, last + width);
  finding.result = Verdict::FAIL;
  finding.first_broken_ns = scene.over_ns + scene.close_within_ns;
  finding.measured = absl::StrCat("not within ", Tenths(seen_ns));
  finding.limit = absl::StrCat("at most ", Tenths(scene.close_within_ns));
  finding.text =
      absl::StrCat("did not close: ", Tenths(seen_ns), " after healing ",
                   HumanPercent(usual > 0 ? 100 * attempts.Answered(last, last + width) / usual : 0),
                   " of the usual calls are answered (limit ", HumanNanos(scene.close_within_ns), ")");
  return finding;
}

}  // namespace squall
