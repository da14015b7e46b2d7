#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "agent/watch/file_tail.h"
#include "agent/watch/lines.h"
#include "proto/agent.pb.h"
#include "proto/scenario.pb.h"
#include "proto/timeline.pb.h"
#include "re2/re2.h"

namespace squall {

// What a `log` assertion looks for.
struct LinePattern {
  std::string assertion;
  std::string pattern;
};

// Those about the service. Pure.
std::vector<LinePattern> LinePatterns(const Scenario& scenario, const std::string& service);

// Where the service's `log_file` is; empty: it has none.
std::string LogFile(const Service& service, const std::string& folder);

// What cannot be read, before anything is touched. Notes files that are not there yet.
absl::Status CheckLogs(const Scenario& scenario, const std::string& folder, PrepareReply& reply);

// Counts the lines that a service writes, and tells those that match. What it writes harms nobody else: of each line the first
// 16 KiB are looked at, 20 matches of a pattern are told a quarter of a second, and RE2 needs no more time than the line is long.
// Thread-safe.
class LogWatch {
 public:
  static constexpr absl::Duration kTellsEvery = absl::Milliseconds(250);
  static constexpr size_t kMostMatches = 20;
  static constexpr size_t kMostOfLine = 500;
  // Called with a `log`. Must not block, and not call the watch.
  using Sink = std::function<void(Record)>;

  // `file`: as from LogFile.
  LogWatch(std::string service, const std::string& file, const std::vector<LinePattern>& patterns, Sink sink);
  // Tells the rest.
  ~LogWatch();
  LogWatch(const LogWatch&) = delete;
  LogWatch& operator=(const LogWatch&) = delete;

  // What the service printed; nothing: its output has ended.
  void Printed(absl::string_view text);
  // Tells at once what was written until now, so that what follows can be told from it.
  void Tell();

 private:
  struct Looked {
    std::string assertion;
    RE2 pattern;
    std::vector<std::string> lines;
    int64_t more = 0;
    Looked(const LinePattern& wanted) : assertion(wanted.assertion), pattern(wanted.pattern, RE2::Quiet) {}
  };

  void Run();
  bool ReadFile() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Take(absl::string_view line) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void TellLines() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const std::string service_;
  const Sink sink_;

  absl::Mutex mutex_;
  std::vector<std::unique_ptr<Looked>> looked_ ABSL_GUARDED_BY(mutex_);
  LineSplitter printed_ ABSL_GUARDED_BY(mutex_);
  std::optional<FileTail> file_ ABSL_GUARDED_BY(mutex_);
  int64_t lines_ ABSL_GUARDED_BY(mutex_) = 0;
  bool stop_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

}  // namespace squall
