#include "agent/load/columns.h"

#include <algorithm>
#include <utility>

namespace squall {
namespace {

// Microseconds between two instants as a column holds them: 0 at least, and at most 71 minutes.
uint32_t Micros(int64_t from_ns, int64_t to_ns) {
  return static_cast<uint32_t>(std::clamp<int64_t>((to_ns - from_ns) / 1000, 0, UINT32_MAX));
}

// A column that is empty as long as all of it is zero. `rows_before`: rows of the other columns.
void AddSparse(google::protobuf::RepeatedField<uint32_t>& column, uint32_t value, int rows_before) {
  if (column.empty() && value == 0) return;
  if (column.empty()) column.Resize(rows_before, 0);
  column.Add(value);
}

}  // namespace

void RequestColumns::Add(const EndedRequest& request) {
  const int64_t intended_us = request.intended_ns / 1000;
  AddSparse(*columns_.mutable_retry_after_ms(), request.retry_after_ms, size());
  AddSparse(*columns_.mutable_retried(), request.retried ? 1 : 0, size());
  AddSparse(*columns_.mutable_kind(), request.kind, size());
  AddSparse(*columns_.mutable_reused(), request.reused ? 1 : 0, size());
  columns_.add_intended_us(intended_us - last_intended_us_);
  columns_.add_number(request.number - last_number_);
  columns_.add_lag_us(Micros(request.intended_ns, request.sent_ns));
  columns_.add_latency_us(Micros(request.intended_ns, request.end_ns));
  columns_.add_status(static_cast<uint32_t>(request.status));
  columns_.add_outcome(request.outcome);
  last_intended_us_ = intended_us;
  last_number_ = request.number;
}

Requests RequestColumns::Take() {
  Requests taken = std::exchange(columns_, Requests());
  taken.set_load(load_);
  last_intended_us_ = 0;
  last_number_ = 0;
  return taken;
}

}  // namespace squall
