#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "controller/assertions/fault_scene.h"
#include "controller/assertions/gates.h"
#include "controller/timeline.h"
#include "proto/assertion.pb.h"

namespace squall {

// A load, and the surge that overloads the service. Points into spec and timeline, which must outlive it. Plain data.
struct SheddingScene : FaultScene {
  const LoadShedding* spec = nullptr;
  const Stalls* stalls = nullptr;
  int64_t slo_ns = 0;
  int64_t window_ns = 0;
  int64_t from_ns = 0;  // the onset is over
  double offered = 0;   // requests per second during the surge

  double Twice() const { return 2 * spec->capacity(); }
  bool IsGood(const Request& request) const { return request.outcome == OK && OwnLatencyNs(request, *stalls) <= slo_ns; }
};

// What became of the requests of a span, but for those that were due when the machine stood still.
struct Served {
  int64_t ran_ns = 0;  // for how long the machine ran
  int64_t all = 0;
  int64_t good = 0;
  int64_t rejected = 0;
  std::vector<const Request*> bad;  // neither good nor rejected

  double PerSecond() const { return ran_ns == 0 ? 0 : static_cast<double>(good) * 1e9 / static_cast<double>(ran_ns); }
  double Percent(int64_t count) const { return all == 0 ? 0 : 100 * static_cast<double>(count) / static_cast<double>(all); }
};

Served ServedIn(const SheddingScene& scene, int64_t begin_ns, int64_t end_ns);

// Whole windows of the surge that are needed, after the first, in which queues fill.
inline constexpr int64_t kSurgeWindows = 5;

// Fills in the scene once every gate is open: one surge, of twice the capacity at least, that is over.
std::optional<Obstacle> SetSheddingScene(const LoadShedding& spec, const Timeline& timeline, const Stalls& stalls,
                                         SheddingScene& scene);

}  // namespace squall
