#include "controller/assertions/fault_scene.h"

#include <algorithm>

#include "absl/strings/str_cat.h"

namespace squall {
namespace {


int64_t OwnNs(int64_t begin_ns, int64_t end_ns, const Stalls& stalls) {
  int64_t excused_ns = stalls.Within(begin_ns, end_ns);
  if (stalls.WithSlight() != nullptr) {
    excused_ns += std::min(stalls.WithSlight()->Within(begin_ns, end_ns) - excused_ns, Stalls::kMostSlightNs);
  }
  return end_ns - begin_ns - excused_ns;
}

}  // namespace

std::optional<Obstacle> SetScene(absl::string_view load, absl::string_view fault, const Timeline& timeline, const Stalls& stalls,
                                 FaultScene& scene) {
  scene.load = FindLoad(timeline, load);
  if (scene.load == nullptr) return Obstacle{absl::StrCat("the scenario has no load ", load), "name a load of the scenario"};
  if (auto obstacle = SteadyGate(timeline)) return obstacle;
  scene.time = TimeOf(timeline, fault);
  if (auto obstacle = FaultGate(timeline, scene.time, /*must_be_over=*/true)) return obstacle;
  scene.begin_ns = *scene.time.injected_ns;
  scene.over_ns = *scene.time.over_ns;
  if (scene.over_ns <= scene.begin_ns) {
    return Obstacle{"the fault was over at once", "give the fault a longer `for`, or `kill` a `restart_after`"};
  }
  scene.baseline = BaselineOf(timeline, *scene.load);
  if (auto obstacle = BaselineGate(*scene.load, scene.baseline, stalls)) return obstacle;
  if (auto obstacle = GeneratorGate(timeline, *scene.load, scene.baseline.begin_ns, scene.over_ns, stalls)) return obstacle;
  const auto requests = timeline.requests.find(scene.load->name());
  if (requests != timeline.requests.end()) scene.requests = requests->second;
  scene.complete_ns = CallsCompleteUntil(timeline, *scene.load);
  return std::nullopt;
}

int64_t OwnLatencyNs(const Request& request, const Stalls& stalls) { return OwnNs(request.intended_ns, request.end_ns, stalls); }

int64_t OwnAnswerNs(const Request& request, const Stalls& stalls) { return OwnNs(request.sent_ns, request.end_ns, stalls); }

}  // namespace squall
