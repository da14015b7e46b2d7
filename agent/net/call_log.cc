#include "agent/net/call_log.h"

#include <algorithm>
#include <limits>
#include <utility>

namespace squall {
namespace {

constexpr int64_t kMostMs = std::numeric_limits<uint32_t>::max() - 1;
constexpr int kMostPrefixes = 64;  // in a record: a run has few loads, and others' trace ids can be anything

// The trace ids that the calls carry. What is beyond the most prefixes counts as none.
void AddTraces(const std::vector<SeenCall>& seen, Arrivals& arrivals) {
  if (std::none_of(seen.begin(), seen.end(), [](const SeenCall& call) { return call.trace.has_value(); })) return;
  std::map<uint64_t, uint32_t> places;  // by prefix, from 1
  int64_t last = 0;
  for (const SeenCall& call : seen) {
    uint32_t place = 0;
    if (call.trace && (arrivals.trace_prefixes_size() < kMostPrefixes || places.count(call.trace->prefix) > 0)) {
      place = places.try_emplace(call.trace->prefix, arrivals.trace_prefixes_size() + 1).first->second;
      if (static_cast<int>(place) > arrivals.trace_prefixes_size()) arrivals.add_trace_prefixes(call.trace->prefix);
    }
    arrivals.add_trace_prefix(place);
    arrivals.add_number(place == 0 ? 0 : call.trace->number - last);
    if (place != 0) last = call.trace->number;
  }
}

}  // namespace

void CallLog::Add(const std::string& edge, const SeenCall& call) {
  absl::MutexLock lock(&mutex_);
  calls_[edge].push_back(call);
}

std::vector<Record> CallLog::Flush() {
  std::map<std::string, std::vector<SeenCall>> calls;
  {
    absl::MutexLock lock(&mutex_);
    calls.swap(calls_);
  }
  std::vector<Record> records;
  for (const auto& [edge, seen] : calls) {
    Record record;
    Arrivals& arrivals = *record.mutable_arrivals();
    arrivals.set_edge(edge);
    int64_t last_us = 0;
    const bool sources =
        std::any_of(seen.begin(), seen.end(), [](const SeenCall& call) { return call.source_pid != 0; });
    const bool statuses =
        std::any_of(seen.begin(), seen.end(), [](const SeenCall& call) { return call.grpc_status.has_value(); });
    const bool timeouts =
        std::any_of(seen.begin(), seen.end(), [](const SeenCall& call) { return call.timeout_ms.has_value(); });
    for (const SeenCall& call : seen) {
      const int64_t start_us = call.start_ns / 1000;
      arrivals.add_start_us(start_us - last_us);
      last_us = start_us;
      arrivals.add_duration_us(static_cast<uint32_t>(
          std::clamp<int64_t>((call.end_ns - call.start_ns) / 1000, 0, std::numeric_limits<uint32_t>::max())));
      arrivals.add_status(static_cast<uint32_t>(call.status));
      arrivals.add_result(call.result);
      if (sources) arrivals.add_source_pid(call.source_pid);
      if (statuses) arrivals.add_grpc_status(call.grpc_status ? static_cast<uint32_t>(*call.grpc_status) + 1 : 0);
      if (timeouts) {
        arrivals.add_timeout_ms(call.timeout_ms ? static_cast<uint32_t>(std::min(*call.timeout_ms, kMostMs)) + 1 : 0);
      }
    }
    AddTraces(seen, arrivals);
    records.push_back(std::move(record));
  }
  return records;
}

}  // namespace squall
