#include "controller/assertions/leak_peak.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "controller/assertions/durations.h"
#include "controller/assertions/fault_time.h"
#include "controller/assertions/gates.h"
#include "controller/assertions/words.h"
#include "controller/offered.h"

namespace squall {
namespace {

bool Acts(const FaultTime& time, const Timeline& timeline, int64_t at_ns) {
  return std::any_of(time.parts.begin(), time.parts.end(), [&](const FaultTime::Part& part) {
    return part.span->injected_ns && *part.span->injected_ns <= at_ns && at_ns <= OverAt(timeline, part).value_or(INT64_MAX);
  });
}

// How many requests may be under way at the same time: the most that the load offered while faults acted, for as long as one may
// take.
int64_t RequestsAtATime(const LeakScene& scene, const FaultTime& time) {
  double most = 0;
  for (const OfferedSpan& span : OfferedSpans(*scene.timeline, *scene.load)) {
    if (span.begin_ns < *time.over_ns && span.end_ns > *time.injected_ns) most = std::max(most, span.per_second);
  }
  if (most == 0) most = scene.load->rate();
  return static_cast<int64_t>(std::ceil(most * static_cast<double>(Nanos(scene.spec->peak().deadline())) / 1e9 - 1e-9));
}

int64_t EachOf(Held held, const Peak& peak) {
  return held == Held::kGoroutines ? peak.goroutines_each() : held == Held::kHeap ? peak.heap_each() : peak.fds_each();
}

// What piled up while the machine stood still is gone after a deadline.
bool IsStalled(const LeakScene& scene, const Stalls& stalls, int64_t at_ns) {
  return stalls.Touch(at_ns - Nanos(scene.spec->peak().deadline()), at_ns);
}

}  // namespace

PeakStory PeakOf(const LeakScene& scene, const Stalls& stalls) {
  const Timeline& timeline = *scene.timeline;
  PeakStory story;
  const FaultTime time = TimeOf(timeline, "");
  if (scene.load == nullptr || !time.over_ns) {
    story.obstacle = {"there is no load, or no fault, at whose peak it could be looked at", "leave out `peak`, or name a `load`"};
    return story;
  }
  // Heap is looked at where garbage was collected: in a snapshot. What runs on shows garbage, too.
  std::vector<const ServiceSample*> samples, snapshots;
  int64_t seen = 0, stalled = 0;
  const auto take = [&](const ServiceSample& sample, std::vector<const ServiceSample*>& taken) {
    ++seen;
    const bool left_out = IsStalled(scene, stalls, sample.at_ns());
    stalled += left_out;
    if (!left_out) taken.push_back(&sample);
    return !left_out;
  };
  if (const auto all = timeline.samples.find(scene.spec->service()); all != timeline.samples.end()) {
    for (const ServiceSample& sample : all->second) {
      if (Acts(time, timeline, sample.at_ns())) take(sample, samples);
    }
  }
  int64_t most_held = -1;
  for (const ProcessSnapshot& snapshot : timeline.snapshots.at(scene.spec->service())) {
    if (snapshot.moment() != ProcessSnapshot::AT_PEAK || !take(snapshot.sample(), snapshots)) continue;
    const int64_t held =
        std::max<int64_t>(snapshot.sample().goroutines(), 0) + std::max<int64_t>(snapshot.sample().heap_bytes(), 0);
    if (held > most_held) most_held = held, story.most = &snapshot;
  }
  story.obstacle = StallGate(stalled, seen, "sample", stalls);

  const int64_t requests = RequestsAtATime(scene, time);
  for (const Allowance& allowance : AllowancesOf(*scene.spec)) {
    const Held held = allowance.held;
    if (held != Held::kGoroutines && held != Held::kHeap && held != Held::kFds) continue;
    PeakFinding finding;
    finding.held = held;
    const std::optional<int64_t> before = AmountOf(held, scene.before().sample());
    bool told = false;
    const auto look = [&](const std::vector<const ServiceSample*>& at) {
      for (const ServiceSample* sample : at) {
        const std::optional<int64_t> amount = AmountOf(held, *sample);
        if (!amount || (told && *amount <= finding.most)) continue;
        told = true;
        finding.most = *amount;
        finding.at_ns = sample->at_ns();
      }
    };
    look(snapshots);
    if (held != Held::kHeap) look(samples);
    if (!before || !told) {
      story.unseen.push_back(held);
      continue;
    }
    const int64_t each = EachOf(held, scene.spec->peak());
    finding.before = *before;
    finding.limit = allowance.Limit(*before) + each * requests;
    finding.why =
        absl::StrCat(AmountText(held, static_cast<double>(each)), " for each of ", Counted(requests, "request"), " at a time");
    story.findings.push_back(finding);
  }
  return story;
}

}  // namespace squall
