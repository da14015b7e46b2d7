// Writes a recorded run of N requests, and as many calls, for `squall judge` to be timed with: timeline_bench FOLDER N [RATE]
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <random>

#include "controller/run_folder.h"
#include "controller/scenario.h"
#include "controller/timeline.h"

namespace squall {
namespace {

constexpr char kScenario[] = R"(squall: 1
name: many-requests
services:
  orders: {attach: {listen: 8080}, health: {url: "http://127.0.0.1:8080/healthz"}}
edges:
  recommend: {to: "127.0.0.1:9090"}
load:
  checkout:
    http: {url: "http://127.0.0.1:8080/order"}
    rate: RATE/s
    ok_when: {body: total}
    degraded_when: {status: [203]}
faults:
  - latency: {delay: 500ms}
    for: 600s
assert:
  - timeout: {deadline: 300ms, propagates: true, cancels: true}
  - circuit_breaker: {open_time: 2s}
  - recovery: {within: 10s}
  - retry_budget: {attempts: 3}
  - bulkhead: {limit: 100000}
  - fallback: {}
)";

// Takes a moment now and then, and 305 ms while the dependency is slow.
int Write(const std::string& folder, int64_t count, double rate) {
  std::string text = kScenario;
  text.replace(text.find("RATE"), 4, std::to_string(static_cast<int>(rate)));
  const LoadedScenario loaded = ParseScenario("bench.yaml", text, {});
  if (!loaded.mistakes.empty()) return fprintf(stderr, "%s", FormatMistakes(loaded).c_str()), 1;
  std::filesystem::create_directories(folder + "/logs");
  std::filesystem::remove(TimelinePath(folder));
  absl::StatusOr<TimelineWriter> writer = TimelineWriter::Create(TimelinePath(folder));
  if (!writer.ok()) return fprintf(stderr, "%s\n", writer.status().ToString().c_str()), 1;
  const double seconds = static_cast<double>(count) / rate, injected = 0.3 * seconds, healed = 0.7 * seconds;
  std::minstd_rand random(1);
  Record record;
  *record.mutable_header()->mutable_scenario() = loaded.scenario;
  record.mutable_header()->set_run_id("bench");
  writer->Append(record).IgnoreError();
  const auto fault = [&](FaultEvent::State state, double at) {
    record.Clear();
    record.mutable_fault()->set_fault("latency");
    record.mutable_fault()->set_state(state);
    record.mutable_fault()->set_at_ns(static_cast<int64_t>(at * 1e9));
    record.mutable_fault()->mutable_evidence()->set_calls(count / 3);
    record.mutable_fault()->mutable_evidence()->set_connections(100);
    record.mutable_fault()->mutable_evidence()->set_requested_ns(500'000'000);
    record.mutable_fault()->mutable_evidence()->set_achieved_p50_ns(500'000'000);
    record.mutable_fault()->mutable_evidence()->set_achieved_p99_ns(500'000'000);
    writer->Append(record).IgnoreError();
  };
  const auto each = static_cast<int64_t>(rate / 4);  // a record for each 250 ms
  bool is_injected = false, is_healed = false;
  for (int64_t first = 0; first < count; first += each) {
    const double at = static_cast<double>(first) / rate;
    if (!is_injected && at >= injected) fault(FaultEvent::INJECTED, at), is_injected = true;
    if (!is_healed && at >= healed) fault(FaultEvent::HEALING, at), fault(FaultEvent::HEALED, at), is_healed = true;
    const bool slow = is_injected && !is_healed;
    Record requests, calls;
    requests.mutable_requests()->set_load("checkout");
    calls.mutable_arrivals()->set_edge("recommend");
    calls.mutable_arrivals()->add_trace_prefixes(77);
    int64_t last_us = 0, last_number = 0;
    for (int64_t i = first; i < std::min(first + each, count); ++i) {
      const auto at_us = static_cast<int64_t>(static_cast<double>(i) / rate * 1e6);
      const auto took_us = static_cast<uint32_t>(slow ? 300'000 + random() % 5000 : 5'000 + random() % 5000);
      Requests& columns = *requests.mutable_requests();
      columns.add_intended_us(at_us - last_us);
      columns.add_lag_us(static_cast<uint32_t>(random() % 100));
      columns.add_latency_us(took_us);
      columns.add_status(200);
      columns.add_outcome(slow ? DEGRADED : OK);
      columns.add_number(i - last_number);
      Arrivals& arrivals = *calls.mutable_arrivals();
      arrivals.add_start_us(at_us - last_us);
      arrivals.add_duration_us(took_us - 1000);
      arrivals.add_status(200);
      arrivals.add_result(slow ? CALLER_LEFT : ANSWERED);
      arrivals.add_timeout_ms(300);
      arrivals.add_trace_prefix(1);
      arrivals.add_number(i - last_number);
      last_us = at_us;
      last_number = i;
    }
    for (const Record* each_record : {&requests, &calls}) writer->Append(*each_record).IgnoreError();
    record.Clear();
    LoadStats& stats = *record.mutable_load_stats();
    stats.set_load("checkout");
    stats.set_at_ns(static_cast<int64_t>((at + 0.25) * 1e9));
    stats.set_intended(each);
    stats.set_sent(each);
    stats.set_trace_prefix(77);
    writer->Append(record).IgnoreError();
  }
  record.Clear();
  record.mutable_footer()->set_ending(Footer::COMPLETED);
  record.mutable_footer()->set_at_ns(static_cast<int64_t>(seconds * 1e9));
  writer->Append(record).IgnoreError();
  const absl::Status closed = writer->Close();
  if (!closed.ok()) return fprintf(stderr, "%s\n", closed.ToString().c_str()), 1;
  printf("%s: %lld requests and calls of %.0f s\n", folder.c_str(), static_cast<long long>(count), seconds);
  return 0;
}

}  // namespace
}  // namespace squall

int main(int argc, char** argv) {
  if (argc < 3) return fprintf(stderr, "usage: timeline_bench FOLDER REQUESTS [RATE]\n"), 64;
  return squall::Write(argv[1], atoll(argv[2]), argc > 3 ? atof(argv[3]) : 10'000);
}
