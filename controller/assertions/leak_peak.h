#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "controller/assertions/leak_limits.h"
#include "controller/assertions/leak_scene.h"
#include "controller/assertions/obstacle.h"
#include "controller/assertions/stalls.h"

namespace squall {

// The most that was held of something while faults acted. Plain data.
struct PeakFinding {
  Held held = Held::kGoroutines;
  int64_t before = 0;
  int64_t most = 0;
  int64_t limit = 0;
  int64_t at_ns = 0;
  std::string why;  // "4 for each of 60 requests at a time"

  bool TooMuch() const { return most > limit; }
};

struct PeakStory {
  std::vector<PeakFinding> findings;      // of what was seen, in the order of Held
  const ProcessSnapshot* most = nullptr;  // the snapshot of the peak that holds most; null: none was taken
  std::optional<Obstacle> obstacle;       // why what was found proves nothing
  std::vector<Held> unseen;
};

// REQUIRES: the scene's gate is open, and its spec has `peak`.
PeakStory PeakOf(const LeakScene& scene, const Stalls& stalls);

}  // namespace squall
