#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "absl/strings/string_view.h"
#include "agent/net/seen_call.h"

// What the headers of a call tell of it. Pure functions.
namespace squall {

// A W3C traceparent (https://www.w3.org/TR/trace-context/#traceparent-header) with a trace id as requests of a load carry it: a
// prefix, and the request's number. None where it is malformed, or its trace id cannot be one of a load: others draw all of theirs
// at random, and no load sends 2^48 requests.
std::optional<TraceOfLoad> ParseTraceparent(absl::string_view value);

// How long a caller will wait, in milliseconds, rounded up: "250", or numbers with units as Go writes durations, "250ms", "1.5s",
// "1m30s". None where it is neither, or negative.
std::optional<int64_t> ParseDeadline(absl::string_view value);

// The headers of one call, of which most say nothing. Not thread-safe.
class CallHeaders {
 public:
  // The edge's `deadline_header`, in lower case; empty: there is none. Outlives this.
  explicit CallHeaders(absl::string_view deadline_header) : deadline_header_(deadline_header) {}
  // `name` in lower case.
  void Add(absl::string_view name, absl::string_view value);
  // What they told. grpc-timeout is for gRPC calls, unless it is the deadline header. Of two deadlines the sooner counts.
  void Fill(bool grpc, SeenCall& call) const;

 private:
  absl::string_view deadline_header_;
  std::optional<int64_t> grpc_timeout_ms_;
  std::optional<int64_t> deadline_ms_;
  std::optional<TraceOfLoad> trace_;
};

}  // namespace squall
