#include "controller/assertions/breaker_probes.h"

#include <algorithm>
#include <cmath>
#include <optional>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/text.h"
#include "controller/assertions/attempts.h"
#include "controller/assertions/durations.h"
#include "controller/assertions/words.h"

namespace squall {
namespace {

constexpr double kQuiet = 0.05;  // of the expected calls
constexpr double kExpectedToTell = 20;

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

std::vector<Episode> EpisodesOf(const BreakerScene& scene, int64_t opened_ns, int64_t until_ns) {
  const int64_t quiet_ns = Nanos(scene.spec->open_time()) / 2;
  std::vector<Episode> episodes;
  int64_t before_ns = opened_ns;
  for (const Call& call : scene.calls) {
    if (call.start_ns <= opened_ns) continue;
    if (call.start_ns >= until_ns) break;
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
    episode.last_ns = call.start_ns;
    episode.end_ns = std::max(episode.end_ns, call.end_ns);
    if (call.result == ANSWERED) continue;
    ++episode.failed;
    if (episode.first_failed_ns == 0 || call.end_ns < episode.first_failed_ns)
      episode.first_failed_ns = call.end_ns;
  }
  return episodes;
}

Finding CheckProbes(const BreakerScene& scene, int64_t opened_ns) {
  if (auto broken = CheckStaysOpen(scene, opened_ns, opened_ns, "it had opened")) return *broken;
  const std::vector<Episode> episodes = EpisodesOf(scene, opened_ns, scene.over_ns);
  const std::string limit =
      scene.spec->probes() == 0 ? "no limit" : absl::StrCat("limit ", scene.spec->probes());
  int64_t most = 0;
  int64_t count = 0;
  for (const Episode& episode : episodes) {
    ++count;
    most = std::max(most, episode.calls);
    if (scene.spec->probes() > 0 && episode.calls > scene.spec->probes()) {
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
    if (scene.spec->probes() == 0) {
      // All calls come back at once, and it takes as long to open again as it took to open.
      const int64_t quiet_ns = episode.first_failed_ns + Nanos(scene.spec->opens_within());
      if (auto broken = CheckStaysOpen(scene, quiet_ns, episode.last_ns, "calls came back and failed"))
        return *broken;
      continue;
    }
    if (auto broken = CheckStaysOpen(scene, episode.end_ns, episode.last_ns, "a failed probe"))
      return *broken;
  }
  return {"probes", Verdict::PASS,
          count == 0 ? "no probe was due during the fault"
                     : absl::StrCat("tried again ", Counted(count, "time"), ", with ", Counted(most, "call"),
                                    " at once at most (", limit, ")")};
}

Finding CheckAttemptsWhileDead(const BreakerScene& scene, int64_t opened_ns) {
  const std::string& edge = scene.spec->edge();
  const int64_t from_ns = CountedBy(*scene.timeline, edge, scene.begin_ns, opened_ns, scene.by_connects);
  const int64_t until_ns = scene.AliveFrom(opened_ns);
  int64_t tried = 0;
  if (scene.by_connects) {
    // What came after the fault is in the look after it.
    tried = ConnectsWithin(*scene.timeline, edge, from_ns, until_ns, scene.source).count;
  } else {
    const Attempts attempts(*scene.timeline, edge, scene.load->name(), from_ns, until_ns, scene.source);
    tried = std::llround(attempts.Calls(0, attempts.bins()));
  }
  const int64_t allowed = scene.ProbesAllowed(opened_ns, until_ns);
  const std::string text = absl::StrCat(scene.by_connects ? "tried to connect " : "tried to call the dead peer ",
                                        Counted(tried, "time"), " while open");
  if (tried <= allowed) return {"probes", Verdict::PASS, text};
  Finding finding = Broken("probes",
                           absl::StrCat(text, "; its open time allows ", Grouped(allowed), " in ",
                                        Tenths(until_ns - opened_ns)),
                           opened_ns);
  finding.measured = Counted(tried, "attempt");
  finding.limit = absl::StrCat("at most ", Grouped(allowed));
  return finding;
}

}  // namespace squall
