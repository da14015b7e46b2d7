#pragma once

#include <cstdint>

#include "controller/assertions/no_leak.h"
#include "controller/assertions/timeline_builder.h"

namespace squall {

inline constexpr int64_t kMiB = 1024 * 1024;

// What a small Go service holds.
inline ServiceSample Holds(int64_t goroutines = 14, int fds = 9) {
  ServiceSample sample;
  sample.set_service("orders");
  sample.set_pid(4711);
  sample.set_started_ticks(1000);
  sample.set_processes(1);
  sample.set_goroutines(goroutines);
  sample.set_heap_bytes(4 * kMiB);
  sample.set_fds(fds);
  sample.set_sockets(5);
  sample.set_established(3);
  sample.set_threads(8);
  sample.set_rss_bytes(30 * kMiB);
  return sample;
}

// Requests from 1 s on; a rest until 11 s; slow from 12 s to 22 s, in which 300 requests time out; requests until 28 s; a rest
// until 38 s.
struct Rested {
  Rested() {
    builder.Latency("slow", 12, 22).Answer(1, 10, TimelineBuilder::Reply{}).Answer(11, 12, TimelineBuilder::Reply{});
    builder.Answer(12, 13.5, {500, ERROR, 504}).Answer(13.5, 28, TimelineBuilder::Reply{});
    Phase(10, PhaseEvent::REST).Phase(11, PhaseEvent::RESTED).Phase(28, PhaseEvent::REST);
    spec.set_service("orders");
    spec.set_load("checkout");
    spec.mutable_settle()->set_seconds(10);
  }

  Rested& Phase(double at, PhaseEvent::Phase phase) {
    Record record;
    record.mutable_phase()->set_phase(phase);
    record.mutable_phase()->set_at_ns(TimelineBuilder::Ns(at));
    builder.Put(record);
    return *this;
  }
  Rested& Take(double at, const ServiceSample& sample, ProcessSnapshot::Moment moment = ProcessSnapshot::AT_REST) {
    ProcessSnapshot snapshot;
    *snapshot.mutable_sample() = sample;
    snapshot.set_moment(moment);
    return Take(at, snapshot);
  }
  Rested& Take(double at, ProcessSnapshot snapshot) {
    snapshot.set_service("orders");
    snapshot.set_at_ns(TimelineBuilder::Ns(at));
    Record record;
    *record.mutable_snapshot() = snapshot;
    builder.Put(record);
    return *this;
  }
  Rested& Sample(double at, ServiceSample sample) {
    sample.set_at_ns(TimelineBuilder::Ns(at));
    Record record;
    *record.mutable_sample() = sample;
    builder.Put(record);
    return *this;
  }
  Rested& Before(const ServiceSample& sample) { return Take(11, sample); }
  Rested& After(const ServiceSample& sample) { return Take(38, sample); }

  Judgement Judged() const {
    const Timeline timeline = builder.Build();
    return JudgeNoLeak(spec, timeline, Stalls(timeline.stalls));
  }
  Verdict Is(Verdict::Result result) const {
    const Verdict verdict = Judged().verdict;
    EXPECT_EQ(verdict.result(), result) << verdict.reason();
    if (result == Verdict::INCONCLUSIVE) EXPECT_NE(verdict.advice(), "") << verdict.reason();
    return verdict;
  }
  bool IsBack() const { return IsBackAtRest(spec, builder.Build()); }

  TimelineBuilder builder;
  NoLeak spec;
};

}  // namespace squall
