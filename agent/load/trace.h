// Ids that a load's requests carry. Pure functions.
#pragma once

#include <cstdint>
#include <string>

#include "absl/strings/string_view.h"

namespace squall {

// The upper half of the trace ids of a load's requests. The same run, load and seed give the same one. Never
// 0.
uint64_t TracePrefix(absl::string_view run_id, absl::string_view load, uint64_t seed);

// A W3C traceparent, https://www.w3.org/TR/trace-context/#traceparent-header: version 00, the trace id
// (`prefix` and `number`, 16 hex digits each), a span id that follows from both, sampled. Always 55
// characters.
std::string Traceparent(uint64_t prefix, int64_t number);

}  // namespace squall
