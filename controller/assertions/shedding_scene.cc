#include "controller/assertions/shedding_scene.h"

#include <cmath>
#include <string>

#include "absl/strings/str_cat.h"
#include "base/text.h"
#include "controller/assertions/durations.h"
#include "controller/assertions/words.h"

namespace squall {
namespace {

// Of what is asked for, since a surge multiplies a rate that may not be round.
constexpr double kLeastOffered = 0.95;

// Finds the one surge among the faults of the scene.
std::optional<Obstacle> SurgeGate(SheddingScene& scene, const Timeline& timeline) {
  const FaultTime::Part* surge = nullptr;
  int64_t count = 0;
  for (const FaultTime::Part& part : scene.time.parts) {
    if (!part.fault->has_surge() || part.fault->surge().load() != scene.load->name()) continue;
    surge = &part;
    ++count;
  }
  const std::string of_load = absl::StrCat(" of load ", scene.load->name());
  if (count == 0) {
    return Obstacle{absl::StrCat("fault ", scene.time.Names(), " is no surge", of_load),
                    absl::StrCat("name a `surge`", of_load, ": only that overloads the service")};
  }
  if (count > 1) return Obstacle{absl::StrCat(Grouped(count), " surges", of_load, " are injected"), "name one of them as `fault`"};
  scene.begin_ns = *surge->span->injected_ns;
  scene.over_ns = *surge->span->healed_ns;
  scene.from_ns = scene.begin_ns + scene.window_ns;
  const Evidence& evidence = surge->span->evidence;
  const double offered = scene.offered = evidence.achieved_requests_rate();
  const double twice = scene.Twice();
  if (offered < kLeastOffered * twice) {
    std::string advice = "raise the surge's `times`";
    if (evidence.requested_requests_rate() >= kLeastOffered * twice) {
      advice = absl::StrCat("raise `max_in_flight`", of_load, ", or run on a machine with less else to do");
    } else if (evidence.base_rate() > 0) {
      absl::StrAppend(&advice, " to ", std::ceil(10 * twice / evidence.base_rate()) / 10);
    }
    return Obstacle{absl::StrCat("the surge offered ", HumanRate(offered), ", and twice the capacity is ", HumanRate(twice)),
                    advice};
  }
  if (scene.over_ns - scene.from_ns < kSurgeWindows * scene.window_ns) {
    return Obstacle{absl::StrCat("the surge lasted ", Tenths(scene.over_ns - scene.begin_ns), "; ", kSurgeWindows + 1,
                                 " windows of ", HumanNanos(scene.window_ns), " are needed"),
                    "raise the surge's `for`"};
  }
  scene.time = TimeOf(timeline, surge->fault->name());
  return std::nullopt;
}

}  // namespace

Served ServedIn(const SheddingScene& scene, int64_t begin_ns, int64_t end_ns) {
  Served served;
  served.ran_ns = end_ns - begin_ns - scene.stalls->Within(begin_ns, end_ns);
  for (const Request& request : IntendedWithin(scene.requests, begin_ns, end_ns)) {
    if (request.outcome == ABANDONED || scene.stalls->Touch(request.intended_ns, request.intended_ns)) continue;
    ++served.all;
    if (scene.IsGood(request)) {
      ++served.good;
    } else if (request.outcome == REJECTED) {
      ++served.rejected;
    } else {
      served.bad.push_back(&request);
    }
  }
  return served;
}

std::optional<Obstacle> SetSheddingScene(const LoadShedding& spec, const Timeline& timeline, const Stalls& stalls,
                                         SheddingScene& scene) {
  if (auto obstacle = SetScene(spec.load(), spec.fault(), timeline, stalls, scene)) return obstacle;
  scene.spec = &spec;
  scene.stalls = &stalls;
  scene.slo_ns = Nanos(spec.slo());
  scene.window_ns = scene.baseline.window_ns;
  return SurgeGate(scene, timeline);
}

}  // namespace squall
