#include "controller/timeline.h"

#include <algorithm>
#include <tuple>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace squall {
namespace {

// No run lasts 30 years; beyond that sums of nanoseconds would overflow.
constexpr int64_t kMaxNs = 1'000'000'000'000'000'000;
constexpr int64_t kMaxUs = kMaxNs / 1000;

bool InRange(int64_t ns) { return ns >= -kMaxNs && ns <= kMaxNs; }

absl::Status Contradiction(absl::string_view what) { return absl::InvalidArgumentError(what); }

template <typename Entries>
bool Names(const Entries& entries, absl::string_view name) {
  return std::any_of(entries.begin(), entries.end(), [&](const auto& entry) { return entry.name() == name; });
}

absl::Status AddHeader(const Header& header, Timeline& timeline) {
  if (timeline.header.has_scenario()) return Contradiction("a second header");
  if (!header.has_scenario()) return Contradiction("a header without a scenario");
  timeline.header = header;
  timeline.faults.clear();
  for (const Fault& fault : header.scenario().faults()) {
    timeline.faults.emplace_back().name = fault.name();
  }
  return absl::OkStatus();
}

absl::Status AddRequests(const Requests& columns, Timeline& timeline) {
  if (!Names(timeline.header.scenario().load(), columns.load())) {
    return Contradiction(
        absl::StrCat("requests of a load '", columns.load(), "' that the scenario does not have"));
  }
  const int n = columns.intended_us_size();
  for (const int size : {columns.lag_us_size(), columns.latency_us_size(), columns.status_size(),
                         columns.outcome_size(), columns.number_size()}) {
    if (size != n) return Contradiction(absl::StrCat("columns of ", n, " and ", size, " requests"));
  }
  for (const int size : {columns.retry_after_ms_size(), columns.retried_size(), columns.kind_size(), columns.reused_size()}) {
    if (size != 0 && size != n) return Contradiction(absl::StrCat("columns of ", n, " and ", size, " requests"));
  }
  std::vector<Request>& requests = timeline.requests[columns.load()];
  const size_t before = requests.size();
  auto broken = [&](int i, absl::string_view what) {
    requests.resize(before);
    return Contradiction(absl::StrCat("request ", i, " of its record ", what));
  };
  int64_t intended_us = 0;
  int64_t number = 0;
  int64_t last_ns = timeline.last_ns;
  for (int i = 0; i < n; ++i) {
    if (__builtin_add_overflow(intended_us, columns.intended_us(i), &intended_us) || intended_us > kMaxUs ||
        intended_us < -kMaxUs) {
      return broken(i, "has a start out of range");
    }
    if (__builtin_add_overflow(number, columns.number(i), &number))
      return broken(i, "has a number out of range");
    const Outcome outcome = columns.outcome(i);
    if (outcome == OUTCOME_UNSPECIFIED || !Outcome_IsValid(outcome)) return broken(i, "has no known outcome");
    if (columns.lag_us(i) > columns.latency_us(i)) return broken(i, "ended before it was sent");
    Request& request = requests.emplace_back();
    request.intended_ns = intended_us * 1000;
    request.sent_ns = request.intended_ns + int64_t{columns.lag_us(i)} * 1000;
    request.end_ns = request.intended_ns + int64_t{columns.latency_us(i)} * 1000;
    request.number = number;
    request.status = static_cast<int32_t>(columns.status(i));
    request.outcome = outcome;
    if (columns.retry_after_ms_size() > 0) request.retry_after_ms = columns.retry_after_ms(i);
    if (columns.retried_size() > 0) request.retried = columns.retried(i) != 0;
    if (columns.reused_size() > 0) request.reused = columns.reused(i) != 0;
    if (columns.kind_size() > 0) {
      if (columns.kind(i) > UINT16_MAX) return broken(i, "is of a kind out of range");
      request.kind = static_cast<uint16_t>(columns.kind(i));
    }
    last_ns = std::max(last_ns, request.end_ns);
  }
  timeline.last_ns = last_ns;
  return absl::OkStatus();
}

// More prefixes than any run has loads are somebody else's.
uint16_t KnowTrace(uint64_t prefix, Timeline& timeline) {
  if (prefix == 0) return 0;
  const uint16_t known = timeline.TraceOf(prefix);
  if (known != 0 || timeline.trace_prefixes.size() >= 1000) return known;
  timeline.trace_prefixes.push_back(prefix);
  return static_cast<uint16_t>(timeline.trace_prefixes.size());
}

absl::Status AddArrivals(const Arrivals& columns, Timeline& timeline) {
  if (!Names(timeline.header.scenario().edges(), columns.edge())) {
    return Contradiction(
        absl::StrCat("calls over an edge '", columns.edge(), "' that the scenario does not have"));
  }
  const int n = columns.start_us_size();
  for (const int size : {columns.duration_us_size(), columns.status_size(), columns.result_size()}) {
    if (size != n) return Contradiction(absl::StrCat("columns of ", n, " and ", size, " calls"));
  }
  const int sources = columns.source_pid_size();
  if (sources != 0 && sources != n) {
    return Contradiction(absl::StrCat("columns of ", n, " calls and ", sources, " sources"));
  }
  for (const int size : {columns.grpc_status_size(), columns.timeout_ms_size(), columns.trace_prefix_size(), columns.number_size()}) {
    if (size != 0 && size != n) return Contradiction(absl::StrCat("columns of ", n, " and ", size, " calls"));
  }
  std::vector<Call>& calls = timeline.calls[columns.edge()];
  const size_t before = calls.size();
  auto broken = [&](int i, absl::string_view what) {
    calls.resize(before);
    return Contradiction(absl::StrCat("call ", i, " of its record ", what));
  };
  int64_t start_us = 0;
  int64_t number = 0;
  int64_t last_ns = timeline.last_ns;
  for (int i = 0; i < n; ++i) {
    if (__builtin_add_overflow(start_us, columns.start_us(i), &start_us) || start_us > kMaxUs ||
        start_us < -kMaxUs) {
      return broken(i, "has a start out of range");
    }
    const CallResult result = columns.result(i);
    if (result == CALL_RESULT_UNSPECIFIED || !CallResult_IsValid(result))
      return broken(i, "has no known result");
    Call& call = calls.emplace_back();
    call.start_ns = start_us * 1000;
    call.end_ns = call.start_ns + int64_t{columns.duration_us(i)} * 1000;
    // A status has three digits.
    call.status = static_cast<int16_t>(std::min<uint32_t>(columns.status(i), 9999));
    call.result = result;
    if (sources > 0) call.source_pid = columns.source_pid(i);
    if (columns.grpc_status_size() > 0 && columns.grpc_status(i) > 0) {
      // Those that are none are like UNKNOWN, as clients take them.
      call.grpc_status = static_cast<int8_t>(columns.grpc_status(i) - 1 <= 16 ? columns.grpc_status(i) - 1 : 2);
    }
    if (columns.timeout_ms_size() > 0) call.timeout_ms_plus_1 = columns.timeout_ms(i);
    if (columns.trace_prefix_size() > 0 && columns.trace_prefix(i) > 0) {
      const uint32_t prefix = columns.trace_prefix(i) - 1;
      if (columns.number_size() == 0 || prefix >= static_cast<uint32_t>(columns.trace_prefixes_size())) {
        return broken(i, "has a trace id that the record does not hold");
      }
      if (__builtin_add_overflow(number, columns.number(i), &number)) return broken(i, "has a number out of range");
      call.trace = KnowTrace(columns.trace_prefixes(static_cast<int>(prefix)), timeline);
      call.number = number;
    }
    last_ns = std::max(last_ns, call.end_ns);
  }
  timeline.last_ns = last_ns;
  return absl::OkStatus();
}

absl::Status AddLoadStats(const LoadStats& stats, Timeline& timeline) {
  if (!Names(timeline.header.scenario().load(), stats.load())) {
    return Contradiction(
        absl::StrCat("counts of a load '", stats.load(), "' that the scenario does not have"));
  }
  if (stats.intended() < 0 || stats.sent() < 0 || stats.not_sent() < 0) {
    return Contradiction(absl::StrCat("negative counts of load '", stats.load(), "'"));
  }
  LoadTotals& totals = timeline.loads[stats.load()];
  totals.intended += stats.intended();
  totals.sent += stats.sent();
  totals.not_sent += stats.not_sent();
  if (stats.trace_prefix() != 0) totals.trace_prefix = stats.trace_prefix();
  totals.series.push_back(stats);
  return absl::OkStatus();
}

absl::Status AddFaultEvent(const FaultEvent& event, Timeline& timeline) {
  const auto span = std::find_if(timeline.faults.begin(), timeline.faults.end(),
                                 [&](const FaultSpan& each) { return each.name == event.fault(); });
  if (span == timeline.faults.end()) {
    return Contradiction(
        absl::StrCat("an event of a fault '", event.fault(), "' that the scenario does not have"));
  }
  switch (event.state()) {
    case FaultEvent::INJECTED:
      if (!span->injected_ns) span->injected_ns = event.at_ns();
      break;
    case FaultEvent::HEALING:
      if (!span->heal_asked_ns) span->heal_asked_ns = event.at_ns();
      break;
    case FaultEvent::HEALED:
      if (span->injected_ns && event.at_ns() < *span->injected_ns) {
        return Contradiction(absl::StrCat("fault '", event.fault(), "' was healed before it was injected"));
      }
      if (!span->healed_ns) span->healed_ns = event.at_ns();
      // A later look at the world settles what an earlier one could not.
      span->healing_not_confirmed = false;
      break;
    case FaultEvent::INJECTION_FAILED:
      span->injection_failed = true;
      break;
    case FaultEvent::HEALING_NOT_CONFIRMED:
      span->healing_not_confirmed = true;
      break;
    default:
      return Contradiction(absl::StrCat("an event of fault '", event.fault(), "' without a known state"));
  }
  if (!event.message().empty()) span->message = event.message();
  if (event.has_evidence()) span->evidence = event.evidence();
  return absl::OkStatus();
}

// What is known of the clocks at the end counts for the whole run.
absl::Status AddFooter(const Footer& footer, Timeline& timeline) {
  timeline.footer = footer;
  Header& header = timeline.header;
  header.set_clock_uncertainty_ns(std::max(header.clock_uncertainty_ns(), footer.clock_uncertainty_ns()));
  for (const auto& [agent, uncertainty_ns] : footer.agent_clock_uncertainty_ns()) {
    int64_t& known_ns = (*header.mutable_agent_clock_uncertainty_ns())[agent];
    known_ns = std::max(known_ns, uncertainty_ns);
  }
  return absl::OkStatus();
}

// The time of a record that carries one instant.
int64_t InstantOf(const Record& record) {
  switch (record.kind_case()) {
    case Record::kFault:
      return record.fault().at_ns();
    case Record::kPhase:
      return record.phase().at_ns();
    case Record::kService:
      return record.service().at_ns();
    case Record::kHost:
      return record.host().at_ns();
    case Record::kSample:
      return record.sample().at_ns();
    case Record::kLoadStats:
      return record.load_stats().at_ns();
    case Record::kFooter:
      return record.footer().at_ns();
    case Record::kEdgeStats:
      return record.edge_stats().at_ns();
    case Record::kMetric:
      return record.metric().at_ns();
    case Record::kHealth:
      return record.health().at_ns();
    case Record::kLog:
      return record.log().at_ns();
    case Record::kAlert:
      return record.alert().at_ns();
    case Record::kSnapshot:
      return record.snapshot().at_ns();
    case Record::kLoadShare:
      return record.load_share().at_ns();
    case Record::kHeader:
    case Record::kRequests:
    case Record::kArrivals:
    case Record::kStall:
    case Record::KIND_NOT_SET:
      return 0;
  }
  return 0;
}

template <typename Entry, typename Named>
absl::Status AddTo(std::map<std::string, std::vector<Entry>>& entries, const std::string& name, const Entry& entry,
                   const Named& known, absl::string_view unknown) {
  if (!Names(known, name)) return Contradiction(absl::StrCat(unknown, " '", name, "'"));
  entries[name].push_back(entry);
  return absl::OkStatus();
}

absl::Status AddKind(const Record& record, Timeline& timeline) {
  const Scenario& scenario = timeline.header.scenario();
  switch (record.kind_case()) {
    case Record::kHeader:
      return AddHeader(record.header(), timeline);
    case Record::kRequests:
      return AddRequests(record.requests(), timeline);
    case Record::kArrivals:
      return AddArrivals(record.arrivals(), timeline);
    case Record::kFault:
      return AddFaultEvent(record.fault(), timeline);
    case Record::kPhase:
      timeline.phases.push_back(record.phase());
      return absl::OkStatus();
    case Record::kService:
      if (!Names(scenario.services(), record.service().service())) {
        return Contradiction(
            absl::StrCat("an event of an unknown service '", record.service().service(), "'"));
      }
      timeline.services.push_back(record.service());
      return absl::OkStatus();
    case Record::kStall: {
      const Stall& stall = record.stall();
      if (!InRange(stall.start_ns()) || !InRange(stall.length_ns()) || stall.length_ns() < 0) {
        return Contradiction("a stall out of range");
      }
      if (!stall.service().empty() && !Names(scenario.services(), stall.service())) {
        return Contradiction(absl::StrCat("a stall of an unknown service '", stall.service(), "'"));
      }
      if (!stall.edge().empty() && !Names(scenario.edges(), stall.edge())) {
        return Contradiction(absl::StrCat("a stall of an unknown edge '", stall.edge(), "'"));
      }
      (stall.service().empty() ? timeline.stalls : timeline.starved).push_back(stall);
      timeline.last_ns = std::max(timeline.last_ns, stall.start_ns() + stall.length_ns());
      return absl::OkStatus();
    }
    case Record::kHost:
      timeline.host.push_back(record.host());
      return absl::OkStatus();
    case Record::kSample:
      return AddTo(timeline.samples, record.sample().service(), record.sample(), scenario.services(), "a sample of an unknown service");
    case Record::kMetric:
      if (!record.metric().monitor().empty()) {
        return AddTo(timeline.monitored, record.metric().monitor(), record.metric(), scenario.monitors(), "a metric of an unknown monitor");
      }
      return AddTo(timeline.metrics, record.metric().service(), record.metric(), scenario.services(), "a metric of an unknown service");
    case Record::kHealth:
      return AddTo(timeline.health, record.health().service(), record.health(), scenario.services(), "the health of an unknown service");
    case Record::kLog:
      if (record.log().lines() < 0) return Contradiction("a negative number of lines");
      return AddTo(timeline.logs, record.log().service(), record.log(), scenario.services(), "lines of an unknown service");
    case Record::kAlert:
      return AddTo(timeline.alerts, record.alert().monitor(), record.alert(), scenario.monitors(), "an alert of an unknown monitor");
    case Record::kSnapshot:
      return AddTo(timeline.snapshots, record.snapshot().service(), record.snapshot(), scenario.services(), "a snapshot of an unknown service");
    case Record::kLoadShare:
      if (!(record.load_share().share() >= 0 && record.load_share().share() <= 1)) return Contradiction("a share of a load that is no share");
      return AddTo(timeline.load_shares, record.load_share().load(), record.load_share(), scenario.load(), "a share of an unknown load");
    case Record::kLoadStats:
      return AddLoadStats(record.load_stats(), timeline);
    case Record::kFooter:
      return AddFooter(record.footer(), timeline);
    case Record::kEdgeStats:
      if (!Names(scenario.edges(), record.edge_stats().edge())) {
        return Contradiction(absl::StrCat("counters of an unknown edge '", record.edge_stats().edge(), "'"));
      }
      timeline.edge_stats[record.edge_stats().edge()].push_back(record.edge_stats());
      return absl::OkStatus();
    case Record::KIND_NOT_SET:
      return Contradiction("a record of no known kind");
  }
  return Contradiction("a record of no known kind");
}

// Records come nearly in order, so that most calls find nothing to do.
template <typename Entries, typename Key>
void SortBy(Entries& entries, Key key) {
  auto less = [&](const auto& a, const auto& b) { return key(a) < key(b); };
  if (!std::is_sorted(entries.begin(), entries.end(), less))
    std::stable_sort(entries.begin(), entries.end(), less);
}

}  // namespace

bool IsError(Outcome outcome) {
  switch (outcome) {
    case OK:
    case DEGRADED:
    case REJECTED:
    case ABANDONED:
      return false;
    default:
      return true;
  }
}

absl::Status Timeline::Add(const Record& record) {
  if (!record.has_header() && !header.has_scenario()) return Contradiction("a record before the header");
  if (footer) return Contradiction("a record after the last one");
  const int64_t instant = InstantOf(record);
  if (!InRange(instant)) return Contradiction("a time out of range");
  if (absl::Status status = AddKind(record, *this); !status.ok()) return status;
  last_ns = std::max(last_ns, instant);
  return absl::OkStatus();
}

void Timeline::Sort() {
  // std::sort needs no second copy, which a stable one of ten million requests would.
  auto earlier = [](const Request& a, const Request& b) {
    return std::tie(a.intended_ns, a.number) < std::tie(b.intended_ns, b.number);
  };
  for (auto& [load, list] : requests) {
    if (!std::is_sorted(list.begin(), list.end(), earlier)) std::sort(list.begin(), list.end(), earlier);
  }
  auto sooner = [](const Call& a, const Call& b) {
    return std::tie(a.start_ns, a.end_ns) < std::tie(b.start_ns, b.end_ns);
  };
  for (auto& [edge, list] : calls) {
    if (!std::is_sorted(list.begin(), list.end(), sooner)) std::sort(list.begin(), list.end(), sooner);
  }
  auto at = [](const auto& entry) { return entry.at_ns(); };
  for (auto& [load, totals] : loads) SortBy(totals.series, at);
  for (auto& [edge, list] : edge_stats) SortBy(list, at);
  for (auto& [service, list] : samples) SortBy(list, at);
  for (auto& [service, list] : metrics) SortBy(list, at);
  for (auto& [monitor, list] : monitored) SortBy(list, at);
  for (auto& [service, list] : health) SortBy(list, at);
  for (auto& [service, list] : logs) SortBy(list, at);
  for (auto& [monitor, list] : alerts) SortBy(list, at);
  for (auto& [service, list] : snapshots) SortBy(list, at);
  for (auto& [load, list] : load_shares) SortBy(list, at);
  SortBy(phases, at);
  SortBy(services, at);
  SortBy(host, at);
  SortBy(stalls, [](const Stall& stall) { return stall.start_ns(); });
}

uint16_t Timeline::TraceOf(uint64_t prefix) const {
  const auto known = std::find(trace_prefixes.begin(), trace_prefixes.end(), prefix);
  return known == trace_prefixes.end() || prefix == 0 ? 0 : static_cast<uint16_t>(known - trace_prefixes.begin() + 1);
}

uint16_t Timeline::TraceOf(const std::string& load) const {
  const auto totals = loads.find(load);
  return totals == loads.end() ? 0 : TraceOf(totals->second.trace_prefix);
}

const FaultSpan* Timeline::FindFault(absl::string_view name) const {
  for (const FaultSpan& fault : faults) {
    if (fault.name == name) return &fault;
  }
  return nullptr;
}

std::optional<int64_t> Timeline::PhaseStart(PhaseEvent::Phase phase) const {
  for (const PhaseEvent& event : phases) {
    if (event.phase() == phase) return event.at_ns();
  }
  return std::nullopt;
}

std::string TraceId(uint64_t prefix, int64_t number) {
  return absl::StrFormat("%016x%016x", prefix, static_cast<uint64_t>(number));
}

}  // namespace squall
