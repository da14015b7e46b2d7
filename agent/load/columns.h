// Requests that ended, gathered into the columns of a timeline record.
#pragma once

#include <cstdint>

#include "proto/timeline.pb.h"

namespace squall {

struct EndedRequest {
  int64_t number = 0;
  int64_t intended_ns = 0;
  int64_t sent_ns = 0;
  int64_t end_ns = 0;
  int32_t status = 0;
  Outcome outcome = OUTCOME_UNSPECIFIED;
  // Of a rejected one, as in the timeline: milliseconds + 2, 1 when it cannot be read, 0 when there was none.
  uint32_t retry_after_ms = 0;
  bool retried = false;
  uint32_t kind = 0;    // which of the load's weighted requests
  bool reused = false;  // sent on a connection that had answered before
};

// Plain data under delta coding; not thread-safe.
class RequestColumns {
 public:
  explicit RequestColumns(std::string load) : load_(std::move(load)) {}

  void Add(const EndedRequest& request);
  int size() const { return columns_.outcome_size(); }

  // The requests since the last call. Each record starts anew with absolute values, so that it can be read
  // alone.
  Requests Take();

 private:
  std::string load_;
  Requests columns_;
  int64_t last_intended_us_ = 0;
  int64_t last_number_ = 0;
};

}  // namespace squall
