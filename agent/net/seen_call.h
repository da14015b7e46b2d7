#pragma once

#include <cstdint>
#include <functional>
#include <optional>

#include "proto/timeline.pb.h"

namespace squall {

// The request of a load that a call was made for.
struct TraceOfLoad {
  uint64_t prefix = 0;
  int64_t number = 0;
};

// One call over a connection, as told to the observer.
struct SeenCall {
  int64_t start_ns = 0;
  int64_t end_ns = 0;
  int status = 0;
  CallResult result = CALL_RESULT_UNSPECIFIED;
  uint32_t source_pid = 0;             // the process that connected; 0: not known. Set by the relay
  std::optional<int> grpc_status = {};     // what a gRPC call ended with
  std::optional<int64_t> timeout_ms = {};  // what its caller said it would wait (grpc-timeout, or the edge's header)
  std::optional<TraceOfLoad> trace = {};   // whose trace id it carries
};

using CallObserver = std::function<void(const SeenCall&)>;

}  // namespace squall
