#include "controller/rebase.h"

namespace squall {

void Rebase(Record& record, int64_t shift_ns) {
  switch (record.kind_case()) {
    case Record::kRequests:
      if (record.requests().intended_us_size() > 0) {
        record.mutable_requests()->set_intended_us(0, record.requests().intended_us(0) - shift_ns / 1000);
      }
      break;
    case Record::kArrivals:
      if (record.arrivals().start_us_size() > 0) {
        record.mutable_arrivals()->set_start_us(0, record.arrivals().start_us(0) - shift_ns / 1000);
      }
      break;
    case Record::kFault:
      record.mutable_fault()->set_at_ns(record.fault().at_ns() - shift_ns);
      if (const int64_t signalled_ns = record.fault().evidence().signalled_ns(); signalled_ns > 0) {
        record.mutable_fault()->mutable_evidence()->set_signalled_ns(signalled_ns - shift_ns);
      }
      break;
    case Record::kService:
      record.mutable_service()->set_at_ns(record.service().at_ns() - shift_ns);
      break;
    case Record::kStall:
      record.mutable_stall()->set_start_ns(record.stall().start_ns() - shift_ns);
      break;
    case Record::kHost:
      record.mutable_host()->set_at_ns(record.host().at_ns() - shift_ns);
      break;
    case Record::kSample:
      record.mutable_sample()->set_at_ns(record.sample().at_ns() - shift_ns);
      break;
    case Record::kLoadStats:
      record.mutable_load_stats()->set_at_ns(record.load_stats().at_ns() - shift_ns);
      break;
    case Record::kEdgeStats:
      record.mutable_edge_stats()->set_at_ns(record.edge_stats().at_ns() - shift_ns);
      break;
    case Record::kMetric:
      record.mutable_metric()->set_at_ns(record.metric().at_ns() - shift_ns);
      break;
    case Record::kHealth:
      record.mutable_health()->set_at_ns(record.health().at_ns() - shift_ns);
      break;
    case Record::kLog:
      record.mutable_log()->set_at_ns(record.log().at_ns() - shift_ns);
      break;
    case Record::kAlert:
      record.mutable_alert()->set_at_ns(record.alert().at_ns() - shift_ns);
      break;
    case Record::kSnapshot: {
      ProcessSnapshot& snapshot = *record.mutable_snapshot();
      snapshot.set_at_ns(snapshot.at_ns() - shift_ns);
      if (snapshot.sample().at_ns() != 0) snapshot.mutable_sample()->set_at_ns(snapshot.sample().at_ns() - shift_ns);
      break;
    }
    case Record::kLoadShare:
      record.mutable_load_share()->set_at_ns(record.load_share().at_ns() - shift_ns);
      break;
    case Record::kHeader:
    case Record::kPhase:
    case Record::kFooter:
    case Record::KIND_NOT_SET:
      break;
  }
}

}  // namespace squall
