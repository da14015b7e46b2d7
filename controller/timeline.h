#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "proto/timeline.pb.h"

namespace squall {

// One request that the load sent. Times: nanoseconds since the start of the run.
struct Request {
  int64_t intended_ns = 0;
  int64_t sent_ns = 0;
  int64_t end_ns = 0;
  int64_t number = 0;  // in its load; with the load's trace prefix it makes the trace id
  int32_t status = 0;  // HTTP status, or 1000 + grpc-status; 0 when there was no answer
  Outcome outcome = OUTCOME_UNSPECIFIED;
  // Retry-After of a rejected one: milliseconds + 2; 1: it cannot be read; 0: there was none.
  uint32_t retry_after_ms = 0;
  bool retried = false;  // sent after the Retry-After of a rejected one, outside of the offered rate
  bool reused = false;   // sent on a connection that had answered before
  uint16_t kind = 0;     // which of the load's weighted requests

  int64_t LatencyNs() const {
    return end_ns - intended_ns;
  }                                                      // what the client waited (no coordinated omission)
  int64_t AnswerNs() const { return end_ns - sent_ns; }  // what the service took
};

// Counts as an error: everything but OK, DEGRADED, REJECTED and ABANDONED.
bool IsError(Outcome outcome);

// One call over an edge. Small, since there are ten million of them.
struct Call {
  int64_t start_ns = 0;
  int64_t end_ns = 0;
  // The request of a load that it was made for, where it carries its trace id: Request::number, and Timeline::TraceOf the load's prefix
  // (0: it carries none).
  int64_t number = 0;
  uint32_t source_pid = 0;  // the process that called; 0: not known
  uint32_t timeout_ms_plus_1 = 0;  // see TimeoutNs
  uint16_t trace = 0;
  int16_t status = 0;
  CallResult result : 8 = CALL_RESULT_UNSPECIFIED;
  std::optional<int8_t> grpc_status = {};  // what a gRPC call ended with

  // What its caller said it would wait (grpc-timeout, or the edge's header).
  std::optional<int64_t> TimeoutNs() const {
    if (timeout_ms_plus_1 == 0) return std::nullopt;
    return (int64_t{timeout_ms_plus_1} - 1) * 1'000'000;
  }
};
static_assert(sizeof(Call) <= 40);

// One fault as it was carried out.
struct FaultSpan {
  std::string name;
  std::optional<int64_t> injected_ns;    // injection confirmed
  std::optional<int64_t> heal_asked_ns;  // healing asked for
  std::optional<int64_t> healed_ns;      // healing confirmed by looking at the world
  bool injection_failed = false;
  bool healing_not_confirmed = false;
  std::string message;
  Evidence evidence;  // the newest
};

struct LoadTotals {
  int64_t intended = 0;
  int64_t sent = 0;
  int64_t not_sent = 0;
  uint64_t trace_prefix = 0;
  std::vector<LoadStats> series;
};

// Everything recorded of one run, in memory. Plain data; not thread-safe.
struct Timeline {
  Header header;
  std::optional<Footer> footer;  // none: the run is still going on, or the file was cut off

  std::map<std::string, std::vector<Request>> requests;  // by load, in the order of intended_ns once Sort()ed
  std::map<std::string, std::vector<Call>> calls;        // by edge, in the order of start_ns once Sort()ed
  std::map<std::string, LoadTotals> loads;
  std::map<std::string, std::vector<EdgeStats>> edge_stats;
  std::vector<FaultSpan> faults;  // in the order of the scenario
  std::vector<PhaseEvent> phases;
  std::vector<ServiceEvent> services;
  std::vector<Stall> stalls;   // the machine stood still
  std::vector<Stall> starved;  // others had the cores that a service needed
  std::vector<HostSample> host;
  std::map<std::string, std::vector<ServiceSample>> samples;
  std::map<std::string, std::vector<MetricSample>> metrics;  // by service
  std::map<std::string, std::vector<MetricSample>> monitored;  // by monitor
  std::map<std::string, std::vector<HealthSample>> health;   // by service
  std::map<std::string, std::vector<LogLines>> logs;         // by service
  std::map<std::string, std::vector<AlertSample>> alerts;    // by monitor
  std::map<std::string, std::vector<ProcessSnapshot>> snapshots;  // by service
  std::map<std::string, std::vector<LoadShare>> load_shares;      // by load
  int64_t last_ns = 0;  // the latest time in any record
  std::vector<uint64_t> trace_prefixes;  // that calls carry

  // What calls of the load with this trace prefix have as their `trace`; 0: none carries it.
  uint16_t TraceOf(uint64_t prefix) const;
  // The same, for the load of this name.
  uint16_t TraceOf(const std::string& load) const;

  // Adds one record. Unsorted until Sort(). INVALID_ARGUMENT when the record contradicts itself or the
  // header.
  absl::Status Add(const Record& record);
  void Sort();

  const FaultSpan* FindFault(absl::string_view name) const;
  // Start of the phase, if it was reached.
  std::optional<int64_t> PhaseStart(PhaseEvent::Phase phase) const;
};

// "4bf92f3577b34da6" + "00000000000004d2": the W3C trace id of a request.
std::string TraceId(uint64_t prefix, int64_t number);

// Appends records to a timeline file. Not thread-safe.
class TimelineWriter {
 public:
  static absl::StatusOr<TimelineWriter> Create(const std::string& path);
  TimelineWriter(TimelineWriter&& other) noexcept;
  TimelineWriter& operator=(TimelineWriter&& other) noexcept;
  ~TimelineWriter();

  absl::Status Append(const Record& record);
  // fsync and close.
  absl::Status Close();

 private:
  TimelineWriter(int fd, std::string path);
  absl::Status Flush();
  int fd_ = -1;
  std::string path_;
  std::string buffer_;
};

// Reads a timeline file whole. DATA_LOSS with the byte offset when it is cut off or damaged,
// FAILED_PRECONDITION when it is of another version, NOT_FOUND when it is not there. Never a timeline that is
// only partly read. The result is Sort()ed.
absl::StatusOr<Timeline> ReadTimeline(const std::string& path);

}  // namespace squall
