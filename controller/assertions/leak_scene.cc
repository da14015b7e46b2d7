#include "controller/assertions/leak_scene.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "controller/assertions/baseline.h"
#include "controller/assertions/fault_time.h"
#include "controller/assertions/gates.h"
#include "controller/assertions/windows.h"
#include "controller/process_faults.h"

namespace squall {
namespace {

bool SameProcess(const ServiceSample& a, const ServiceSample& b) {
  return a.pid() == b.pid() && a.started_ticks() == b.started_ticks();
}

bool InjectedBetween(const Timeline& timeline, int64_t from_ns, int64_t to_ns) {
  return std::any_of(timeline.faults.begin(), timeline.faults.end(), [&](const FaultSpan& span) {
    return span.injected_ns && from_ns < *span.injected_ns && *span.injected_ns <= to_ns;
  });
}

// A rest that follows another with nothing injected between them replaces it, but for the first.
void AddPlateau(const Timeline& timeline, const ProcessSnapshot& snapshot, std::vector<const ProcessSnapshot*>& plateaus) {
  const bool same_cycle = plateaus.size() > 1 && !InjectedBetween(timeline, plateaus.back()->at_ns(), snapshot.at_ns());
  if (same_cycle) plateaus.pop_back();
  plateaus.push_back(&snapshot);
}

std::optional<Obstacle> RestartGate(const LeakScene& scene) {
  const std::string& service = scene.spec->service();
  for (const ProcessSnapshot* snapshot : scene.plateaus) {
    const ServiceSample& first = scene.before().sample();
    const ServiceSample& sample = snapshot->sample();
    if (SameProcess(first, sample)) continue;
    Obstacle obstacle{absl::StrCat(service, " was started again between the rests (process ", first.pid(), ", then ",
                                   sample.pid(), "): what another process held cannot be compared"),
                      absl::StrCat("find out why it ended; its log is in the run's folder")};
    if (sample.pid() == 0) obstacle.reason = absl::StrCat(service, " was gone at the rest after the faults");
    for (const ServiceEvent& event : scene.timeline->services) {
      if (event.service() != service || event.what() != ServiceEvent::EXITED || event.at_ns() < scene.before().at_ns() ||
          event.at_ns() > snapshot->at_ns() || event.message().empty()) {
        continue;
      }
      absl::StrAppend(&obstacle.reason, "; it ended: ", event.message());
      break;
    }
    for (const Fault& fault : scene.timeline->header.scenario().faults()) {
      if (!fault.has_kill() || ServiceOfFault(fault) != service) continue;
      obstacle.advice = absl::StrCat("judge no_leak in a scenario without fault ", fault.name(), ", which kills ", service);
      break;
    }
    return obstacle;
  }
  return std::nullopt;
}

}  // namespace

LeakScene SceneOf(const NoLeak& spec, const Timeline& timeline) {
  LeakScene scene;
  scene.spec = &spec;
  scene.timeline = &timeline;
  scene.load = FindLoad(timeline, spec.load());
  const bool has_faults = !timeline.header.scenario().faults().empty();
  const std::optional<int64_t> recovery_ns = timeline.PhaseStart(PhaseEvent::RECOVERY);
  const auto snapshots = timeline.snapshots.find(spec.service());
  if (snapshots != timeline.snapshots.end()) {
    for (const ProcessSnapshot& snapshot : snapshots->second) {
      if (snapshot.moment() == ProcessSnapshot::AT_REST) AddPlateau(timeline, snapshot, scene.plateaus);
      if (snapshot.moment() == ProcessSnapshot::LEAKED) scene.leaked = &snapshot;
    }
  }
  const bool rested = scene.plateaus.size() > 1 && (!has_faults || (recovery_ns && scene.after().at_ns() >= *recovery_ns));
  const bool came_to_its_end =
      timeline.footer && (timeline.footer->ending() == Footer::COMPLETED || timeline.footer->ending() == Footer::NOT_STEADY);
  scene.complete = came_to_its_end || (rested && has_faults);
  if (scene.plateaus.size() > 1 && !rested) scene.plateaus.resize(1);
  if (!rested) return scene;
  for (const PhaseEvent& phase : timeline.phases) {
    if (phase.phase() == PhaseEvent::REST && phase.at_ns() <= scene.after().at_ns()) {
      scene.rested_ns = scene.after().at_ns() - phase.at_ns();
    }
  }
  return scene;
}

std::optional<Obstacle> SceneGate(const LeakScene& scene) {
  const Timeline& timeline = *scene.timeline;
  const std::string& service = scene.spec->service();
  if (auto obstacle = SteadyGate(timeline)) return obstacle;
  if (!timeline.header.scenario().faults().empty()) {
    if (auto obstacle = FaultGate(timeline, TimeOf(timeline, ""), /*must_be_over=*/true)) return obstacle;
  }
  const std::optional<int64_t> first_ns = FirstInjection(timeline);
  if (scene.plateaus.empty() || (first_ns && scene.before().at_ns() > *first_ns)) {
    return Obstacle{absl::StrCat("nothing is recorded of what ", service, " held at rest before the first fault"),
                    timeline.footer ? "run it again; squall's log says why no snapshot was taken" : ""};
  }
  if (scene.plateaus.size() < 2) {
    return Obstacle{absl::StrCat("nothing is recorded", timeline.footer ? "" : " yet", " of what ", service,
                                 " holds at rest after the faults"),
                    timeline.footer ? "run it to its end" : ""};
  }
  if (auto obstacle = RestartGate(scene)) return obstacle;
  if (scene.load != nullptr && BlamedRequests(scene).count == 0) {
    return Obstacle{absl::StrCat("load ", scene.load->name(), " sent no request between the rests: nothing could leak"),
                    "raise `rate` or the fault's `for`"};
  }
  return std::nullopt;
}

Blamed BlamedRequests(const LeakScene& scene) {
  if (scene.load == nullptr) return {};
  const auto requests = scene.timeline->requests.find(scene.load->name());
  if (requests == scene.timeline->requests.end()) return {};
  Blamed timed_out{"timed-out request", 0, {}}, failed{"failed request", 0, {}}, hung_up{"request whose client hung up", 0, {}};
  Blamed degraded{"degraded request", 0, {}}, rejected{"rejected request", 0, {}}, all{"request", 0, {}};
  const auto count = [](Blamed& blamed, const Request& request) {
    ++blamed.count;
    if (blamed.first.size() < 10) blamed.first.push_back(&request);
  };
  for (const Request& request : IntendedWithin(requests->second, scene.before().at_ns(), scene.after().at_ns())) {
    count(all, request);
    constexpr int32_t kDeadlineExceeded = 1004;
    const bool late =
        request.outcome == TIMED_OUT || request.status == 504 || request.status == 408 || request.status == kDeadlineExceeded;
    if (IsError(request.outcome)) count(failed, request);
    if (IsError(request.outcome) && late) count(timed_out, request);
    if (request.outcome == ABANDONED) count(hung_up, request);
    if (request.outcome == DEGRADED) count(degraded, request);
    if (request.outcome == REJECTED) count(rejected, request);
  }
  if (hung_up.count > failed.count) return hung_up;
  // A few that failed for another reason change nothing.
  if (failed.count > 0) return timed_out.count * 10 >= failed.count * 9 ? timed_out : failed;
  if (degraded.count > 0) return degraded;
  return rejected.count > 0 ? rejected : all;
}

}  // namespace squall
