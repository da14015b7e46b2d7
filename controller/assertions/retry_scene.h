#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "controller/assertions/fault_scene.h"
#include "controller/assertions/gates.h"
#include "controller/timeline.h"
#include "proto/assertion.pb.h"

namespace squall {

// A load, the fault under which its calls over an edge fail, and all that was tried over the edge. What happened at moments when
// the machine stood still is left out of all counts. Points into spec and timeline, which must outlive it. Plain data.
struct RetryScene : FaultScene {
  const RetryBudget* spec = nullptr;
  const Timeline* timeline = nullptr;
  const Stalls* stalls = nullptr;
  std::vector<const Call*> calls;   // in the order of their start
  std::vector<int64_t> refused_ns;  // connects that were each seen to be refused
  // Calls vanish under the fault whatever the service does, and connects, which are counted, tell what is tried.
  bool by_connects = false;
  bool hidden = false;  // they vanish, and nothing tells

  double calls_per_request = 0;     // the baseline's median
  double connects_per_request = 0;  // `by_connects`: the larger of this and the one above is what is usual

  double Requests(int64_t from_ns, int64_t to_ns) const;
  double Calls(int64_t from_ns, int64_t to_ns) const;
  // Calls with the connects that came to no call: counted about once a second, and spread evenly in between.
  double Tried(int64_t from_ns, int64_t to_ns) const;
  // Calls that the requests of the span make when nothing fails.
  double Usual(int64_t from_ns, int64_t to_ns) const;
  // Of what was tried while the fault acted.
  int64_t Failed() const;
};

// REQUIRES: `scene` is set but for what is specific of retries.
void SetRetryScene(const RetryBudget& spec, const Timeline& timeline, const Stalls& stalls, RetryScene& scene);

// A span of some seconds, and how many times the usual calls were tried in it.
struct Amplified {
  int64_t begin_ns = 0;
  int64_t end_ns = 0;
  double tried = 0;
  double usual = 0;
  bool left_out = false;  // the machine stood still for more than half of it
  bool quiet = false;     // hardly anything was tried, as behind an open breaker, or nothing was due

  double Times() const { return usual > 0 ? tried / usual : 0; }
  // What may be chance of it, with 99 % confidence.
  double Noise() const;
  double AtLeast() const { return Times() - Noise(); }
};

// Windows of at least 5 s, long enough for 20 usual calls each, that cover [begin_ns, end_ns): the last may overlap the one before.
// None: it is shorter than a window. `tried`: connects count too, else only calls.
std::vector<Amplified> AmplifiedIn(const RetryScene& scene, int64_t begin_ns, int64_t end_ns, bool tried);

// The shortest span that can be judged.
int64_t RetryWindowNs(const RetryScene& scene, int64_t begin_ns, int64_t end_ns);

}  // namespace squall
