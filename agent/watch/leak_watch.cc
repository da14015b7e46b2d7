#include "agent/watch/leak_watch.h"

#include <algorithm>
#include <utility>

#include "agent/watch/pprof.h"
#include "agent/watch/snapshot.h"
#include "base/clock.h"

namespace squall {
namespace {

// While a fault acts snapshots are many.
constexpr int kMostStacksAtPeak = 40;

template <typename Stacks>
void AddStacks(std::vector<StackCount>& from, bool few, Stacks& to) {
  for (StackCount& stack : from) {
    if (few && to.size() >= kMostStacksAtPeak) return;
    *to.Add() = std::move(stack);
  }
}

}  // namespace

bool MustNotLeak(const Scenario& scenario, const std::string& service) {
  return std::any_of(scenario.assertions().begin(), scenario.assertions().end(),
                     [&](const Assertion& assertion) { return assertion.has_no_leak() && assertion.no_leak().service() == service; });
}

bool HasPeak(const Scenario& scenario, const std::string& service) {
  return std::any_of(scenario.assertions().begin(), scenario.assertions().end(), [&](const Assertion& assertion) {
    return assertion.no_leak().has_peak() && assertion.no_leak().service() == service;
  });
}

LeakWatch::LeakWatch(Of of, Sink sink)
    : of_(std::move(of)),
      sink_(std::move(sink)),
      getter_(of_.where, ProfileBounds([this] { return stop_ || of_.cancelled(); })) {
  if (!of_.pprof.empty() || of_.peak) poll_ = std::make_unique<Poll>("leaks", kEvery, [this] { Look(); });
}

LeakWatch::~LeakWatch() { Stop(); }

void LeakWatch::Stop() {
  stop_ = true;
  poll_.reset();
}

void LeakWatch::Look() {
  if (stop_) return;
  if (of_.peak && acting_ && BootNanos() >= next_peak_ns_) {
    next_peak_ns_ = BootNanos() + absl::ToInt64Nanoseconds(kPeaksEvery - kEvery / 2);
    Take(ProcessSnapshot::AT_PEAK, 0);
    return;
  }
  if (of_.pprof.empty()) return;
  if (resting_) {
    const Profiles profiles = ReadProfiles(getter_, of_.pprof, /*states=*/false);
    goroutines_ = profiles.goroutines.total;
    heap_bytes_ = profiles.heap.bytes;
    return;
  }
  goroutines_ = ReadGoroutineTotal(getter_, of_.pprof).value_or(-1);
  heap_bytes_ = -1;
}

void LeakWatch::Take(ProcessSnapshot::Moment moment, int32_t cycle) {
  ProcessSnapshot snapshot = LookAtProcesses(of_.service, of_.processes(), of_.leader(), of_.called);
  snapshot.set_moment(moment);
  snapshot.set_cycle(cycle);
  if (!of_.pprof.empty()) {
    // On a connection of its own, which is gone at the next look.
    HttpGetter getter(of_.where, ProfileBounds([this] { return stop_ || of_.cancelled(); }));
    Profiles profiles = ReadProfiles(getter, of_.pprof, /*states=*/moment == ProcessSnapshot::LEAKED);
    goroutines_ = profiles.goroutines.total;
    heap_bytes_ = profiles.heap.bytes;
    const bool few = moment == ProcessSnapshot::AT_PEAK;
    AddStacks(profiles.goroutines.stacks, few, *snapshot.mutable_goroutines());
    AddStacks(profiles.heap.stacks, few, *snapshot.mutable_heap());
    snapshot.set_pprof_error(std::move(profiles.error));
  }
  AddTo(*snapshot.mutable_sample());
  Record record;
  *record.mutable_snapshot() = std::move(snapshot);
  sink_(std::move(record));
}

void LeakWatch::AddTo(ServiceSample& sample) {
  sample.set_goroutines(goroutines_);
  sample.set_heap_bytes(heap_bytes_);
}

void LeakWatch::TakeMetric(const MetricSample& metric) {
  if (!of_.pprof.empty()) return;
  // Told when it changes: a page that can be read again may say what it said before.
  if (metric.series() == "go_goroutines") goroutines_ = on_page_ = static_cast<int64_t>(std::clamp(metric.value(), -1.0, 1e15));
  if (metric.series() == "up") goroutines_ = metric.value() == 0 ? -1 : on_page_.load();
}

}  // namespace squall
