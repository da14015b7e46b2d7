#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "controller/assertions/obstacle.h"
#include "controller/timeline.h"

namespace squall {

// What a no_leak looks at. Points into the timeline and the spec, which must outlive it.
struct LeakScene {
  const NoLeak* spec = nullptr;
  const Timeline* timeline = nullptr;
  const Load* load = nullptr;  // null: none of ours
  // What the service held at rest: before the first fault, and after each cycle, of which the last one ended with the recovery.
  // At least two once SceneGate is open, all of one process.
  std::vector<const ProcessSnapshot*> plateaus;
  const ProcessSnapshot* leaked = nullptr;  // with wait states; null: none was taken
  std::optional<int64_t> rested_ns;         // how long the last rest lasted
  bool complete = false;                    // the last rest is over: no more will come

  const ProcessSnapshot& before() const { return *plateaus.front(); }
  const ProcessSnapshot& after() const { return *plateaus.back(); }
};

LeakScene SceneOf(const NoLeak& spec, const Timeline& timeline);

// What stands in the way of comparing.
std::optional<Obstacle> SceneGate(const LeakScene& scene);

// What most of the requests between the rests came to that did not go well; all, where none did not.
struct Blamed {
  std::string noun;  // "timed-out request"
  int64_t count = 0;
  std::vector<const Request*> first;  // up to ten
};
Blamed BlamedRequests(const LeakScene& scene);

}  // namespace squall
