#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "agent/net/http_get.h"
#include "agent/process/proc.h"
#include "agent/watch/poll.h"
#include "proto/scenario.pb.h"
#include "proto/timeline.pb.h"

namespace squall {

// Of a service, whether a no_leak is about it, and whether one with `peak`. Pure.
bool MustNotLeak(const Scenario& scenario, const std::string& service);
bool HasPeak(const Scenario& scenario, const std::string& service);

// Looks at what one service holds, for the no_leak assertions about it: its goroutines once a second, its heap while the loads rest
// (as that takes a garbage collection), and all of it as often as it is asked to, and every two seconds while a fault acts where
// there is a `peak`. Thread-safe.
class LeakWatch {
 public:
  static constexpr absl::Duration kEvery = absl::Seconds(1);
  static constexpr absl::Duration kPeaksEvery = absl::Seconds(2);

  // All are called from any thread.
  struct Of {
    std::string service;
    std::function<std::vector<ProcessId>()> processes;
    std::function<std::optional<ProcessId>()> leader;
    HttpGetter::Where where;
    std::string pprof;  // without: empty
    bool peak = false;
    std::function<std::string(const std::string& peer)> called = [](const std::string& peer) { return peer; };
    std::function<bool()> cancelled = [] { return false; };
  };
  // Called with a `snapshot`.
  using Sink = std::function<void(Record)>;

  LeakWatch(Of of, Sink sink);
  ~LeakWatch();
  LeakWatch(const LeakWatch&) = delete;
  LeakWatch& operator=(const LeakWatch&) = delete;

  // Looks, and tells it. Takes up to 15 s where profiles are slow.
  void Take(ProcessSnapshot::Moment moment, int32_t cycle);
  // Sets what is known of goroutines and heap, or that it is not.
  void AddTo(ServiceSample& sample);
  // What its metrics page says: without pprof, that of Go's runtime has to do.
  void TakeMetric(const MetricSample& metric);
  void SetActing(bool acting) { acting_ = acting; }
  void SetResting(bool resting) { resting_ = resting; }
  // Ends what is under way. Nothing is looked at any more.
  void Stop();

 private:
  void Look();

  const Of of_;
  const Sink sink_;
  std::atomic<bool> stop_ = false;
  std::atomic<bool> acting_ = false;
  std::atomic<bool> resting_ = false;
  std::atomic<int64_t> goroutines_ = -1;
  std::atomic<int64_t> heap_bytes_ = -1;
  std::atomic<int64_t> on_page_ = -1;
  HttpGetter getter_;  // of the thread that polls
  int64_t next_peak_ns_ = 0;  // likewise
  std::unique_ptr<Poll> poll_;
};

}  // namespace squall
