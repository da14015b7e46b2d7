#include "controller/small_run.h"

namespace squall {

Record HeaderRecord() {
  Record record;
  Scenario& scenario = *record.mutable_header()->mutable_scenario();
  scenario.set_name("small");
  scenario.add_services()->set_name("orders");
  scenario.add_edges()->set_name("recommend");
  scenario.add_load()->set_name("checkout");
  scenario.add_faults()->set_name("slow");
  scenario.add_faults()->set_name("gone");
  return record;
}

Record RequestsRecord() {
  Record record;
  Requests& columns = *record.mutable_requests();
  columns.set_load("checkout");
  columns.add_intended_us(2'000'000);
  columns.add_intended_us(-1'000'000);
  for (const int lag : {10, 20}) columns.add_lag_us(static_cast<uint32_t>(lag));
  for (const int latency : {5'000, 1'500'000}) columns.add_latency_us(static_cast<uint32_t>(latency));
  for (const int status : {200, 504}) columns.add_status(static_cast<uint32_t>(status));
  columns.add_outcome(OK);
  columns.add_outcome(ERROR);
  columns.add_number(2);
  columns.add_number(-1);
  return record;
}

Record ArrivalsRecord() {
  Record record;
  Arrivals& columns = *record.mutable_arrivals();
  columns.set_edge("recommend");
  columns.add_start_us(3'000'000);
  columns.add_start_us(-500'000);
  columns.add_duration_us(1'000);
  columns.add_duration_us(2'000);
  columns.add_status(200);
  columns.add_status(0);
  columns.add_result(ANSWERED);
  columns.add_result(CALLER_LEFT);
  return record;
}

Record FaultRecord(FaultEvent::State state, int64_t at_ns) {
  Record record;
  record.mutable_fault()->set_fault("slow");
  record.mutable_fault()->set_state(state);
  record.mutable_fault()->set_at_ns(at_ns);
  return record;
}

Record FooterRecord() {
  Record record;
  record.mutable_footer()->set_ending(Footer::COMPLETED);
  record.mutable_footer()->set_at_ns(9'000'000'000);
  return record;
}

std::vector<Record> SmallRun() {
  Record phase;
  phase.mutable_phase()->set_phase(PhaseEvent::FAULTS);
  phase.mutable_phase()->set_at_ns(4);
  Record stats;
  stats.mutable_load_stats()->set_load("checkout");
  stats.mutable_load_stats()->set_at_ns(5);
  stats.mutable_load_stats()->set_intended(3);
  stats.mutable_load_stats()->set_sent(2);
  stats.mutable_load_stats()->set_not_sent(1);
  stats.mutable_load_stats()->set_trace_prefix(77);
  Record stall;
  stall.mutable_stall()->set_start_ns(6);
  stall.mutable_stall()->set_length_ns(7);
  return {HeaderRecord(), RequestsRecord(), ArrivalsRecord(), phase, stats, stats, stall, FooterRecord()};
}

}  // namespace squall
