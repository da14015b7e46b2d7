#pragma once

#include <functional>
#include <map>
#include <set>
#include <string>
#include <thread>

#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "agent/net/http_get.h"
#include "proto/timeline.pb.h"

namespace squall {

// Reads one service's metrics page four times a second, on a thread of its own, and tells the values that
// changed of the metrics that it is asked for. What the page does harms nobody else: it may take 1 s and have
// 1 MiB, at most 2,000 series are told, lines that are malformed are skipped, and a page that cannot be read
// is told as `up` 0. Thread-safe.
class MetricsReader {
 public:
  static constexpr absl::Duration kEvery = absl::Milliseconds(250);
  static constexpr absl::Duration kTimeout = absl::Seconds(1);
  static constexpr size_t kMostBytes = 1 << 20;
  static constexpr size_t kMostSeries = 2000;

  struct Page {
    std::string service;
    std::string url;
    std::set<std::string> metrics;  // their names
  };
  // Called on the reader's thread, with a `metric`.
  using Sink = std::function<void(Record)>;

  // Begins to read.
  MetricsReader(Page page, HttpGetter::Where where, Sink sink);
  // Ends a read that is under way.
  ~MetricsReader();
  MetricsReader(const MetricsReader&) = delete;
  MetricsReader& operator=(const MetricsReader&) = delete;

 private:
  void Run();
  // Notes the values of a page, read at a time, that differ from the ones before.
  void Take(absl::string_view text, int64_t at_ns);
  void Tell(const std::string& series, double value, int64_t at_ns);

  const Page page_;
  const HttpGetter::Where where_;
  const Sink sink_;
  std::map<std::string, double> last_;  // of the thread only

  absl::Mutex mutex_;
  bool stop_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

}  // namespace squall
