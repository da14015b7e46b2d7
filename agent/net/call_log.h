#pragma once

#include <map>
#include <string>
#include <vector>

#include "absl/synchronization/mutex.h"
#include "agent/net/seen_call.h"
#include "proto/timeline.pb.h"

namespace squall {

// Collects the calls of all edges and packs them into records. Thread-safe.
class CallLog {
 public:
  void Add(const std::string& edge, const SeenCall& call);
  // What came since the last flush: one record an edge.
  std::vector<Record> Flush();

 private:
  absl::Mutex mutex_;
  std::map<std::string, std::vector<SeenCall>> calls_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace squall
