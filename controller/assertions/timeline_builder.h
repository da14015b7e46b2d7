#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>
#include <map>
#include <ostream>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/string_view.h"
#include "controller/timeline.h"
#include "gtest/gtest.h"
#include "proto/verdict.pb.h"

namespace squall {

// Timelines for tests, written as what happened when. Times are seconds since the start of the run. Unless
// told otherwise: service `orders` calls `recommend` over edge `recommend`; load `checkout` sends 200/s with
// a patience of 2 s; the run came to its end.
class TimelineBuilder {
 public:
  struct Reply {
    double ms = 10;
    Outcome outcome = OK;
    int32_t status = 200;
    double lag_ms = 0;  // sent so late; part of `ms`
    bool reused = false;
  };
  static constexpr double kEverySeconds = 0.005;
  static constexpr uint64_t kTracePrefix = 0x4bf92f3577b34da6;  // of checkout
  static constexpr uint16_t kTrace = 1;                         // what its calls have then; others have others

  TimelineBuilder() {
    scenario.set_squall(1);
    scenario.set_name("test");
    scenario.add_services()->set_name("orders");
    scenario.add_services()->set_name("recommend");
    Edge* edge = scenario.add_edges();
    edge->set_name("recommend");
    edge->set_from("orders");
    Load* load = scenario.add_load();
    load->set_name("checkout");
    load->set_rate(200);
    load->mutable_give_up_after()->set_seconds(2);
    scenario.mutable_steady()->set_errors(1);
  }

  static int64_t Ns(double seconds) { return static_cast<int64_t>(seconds * 1e6 + 0.5) * 1000; }

  // 500 ms over the edge, with evidence and confirmed healing.
  TimelineBuilder& Latency(const std::string& name, double injected, double healed) {
    Fault* fault = scenario.add_faults();
    fault->set_name(name);
    fault->mutable_latency()->set_edge("recommend");
    fault->mutable_latency()->mutable_delay()->set_nanos(500'000'000);
    Evidence evidence;
    evidence.set_connections(12);
    evidence.set_calls(9987);
    evidence.set_requested_ns(500'000'000);
    evidence.set_achieved_p50_ns(500'100'000);
    evidence.set_achieved_p99_ns(500'400'000);
    return Span(name, injected, healed, evidence);
  }

  // NXDOMAIN to queries of orders for recommend.test, with evidence and confirmed healing.
  TimelineBuilder& Names(const std::string& name, double injected, double healed) {
    Fault* fault = scenario.add_faults();
    fault->set_name(name);
    fault->mutable_dns()->set_service("orders");
    fault->mutable_dns()->add_names("recommend.test");
    fault->mutable_dns()->set_answer(Dns::ANSWER_NXDOMAIN);
    Evidence evidence;
    (*evidence.mutable_answered())["recommend.test A"] = 200;
    evidence.set_forwarded(3);
    return Span(name, injected, healed, evidence);
  }

  // What a tls fault shows over the edge, and how often it was answered how.
  TimelineBuilder& Tls(const std::string& name, double injected, double healed, TlsFault::How how,
                       const std::map<std::string, int64_t>& answers) {
    Fault* fault = scenario.add_faults();
    fault->set_name(name);
    fault->mutable_tls()->set_edge("recommend");
    fault->mutable_tls()->set_how(how);
    Evidence evidence;
    for (const auto& [answer, count] : answers) {
      (*evidence.mutable_handshakes())[answer] = count;
      if (answer != "not_tls") evidence.set_connections(evidence.connections() + count);
    }
    return Span(name, injected, healed, evidence);
  }

  // A fault under which no call over the edge arrives: blackhole, partition, tls, loss, refuse, reset or limit_data.
  TimelineBuilder& Hides(const std::string& kind, double injected, double healed) {
    if (kind == "tls") return Tls("cut-off", injected, healed, TlsFault::HOW_CUT, {{"closed", 90}});
    Fault* fault = scenario.add_faults();
    fault->set_name("cut-off");
    if (kind == "blackhole") fault->mutable_blackhole()->set_edge("recommend");
    if (kind == "partition") fault->mutable_partition()->set_edge("recommend");
    if (kind == "loss") fault->mutable_loss()->set_edge("recommend"), fault->mutable_loss()->set_percent(100);
    if (kind == "refuse") fault->mutable_refuse()->set_edge("recommend");
    if (kind == "reset") fault->mutable_reset()->set_edge("recommend");
    if (kind == "limit_data") fault->mutable_limit_data()->set_edge("recommend");
    EXPECT_NE(fault->kind_case(), Fault::KIND_NOT_SET) << kind;
    Evidence evidence;
    if (kind == "refuse") {
      evidence.set_refused(90);
    } else if (kind == "reset" || kind == "limit_data") {
      evidence.set_cut(90);
    } else {
      evidence.set_packets_to_dependency(900);
      evidence.set_hit_to_dependency(900);
    }
    return Span("cut-off", injected, healed, evidence);
  }

  // SIGKILL to recommend. `restarted` < 0: it stays dead.
  TimelineBuilder& Kill(const std::string& name, double killed, double restarted) {
    Fault* fault = scenario.add_faults();
    fault->set_name(name);
    fault->mutable_kill()->set_service("recommend");
    Evidence evidence;
    evidence.set_signalled(2);
    evidence.set_gone(2);
    if (restarted >= 0) {
      fault->mutable_kill()->mutable_restart_after()->set_seconds(static_cast<int64_t>(restarted - killed));
      evidence.set_restarts(1);
    }
    return Span(name, killed, restarted < 0 ? killed : restarted, evidence);
  }

  // recommend gets 20 %, used them up and was throttled.
  TimelineBuilder& Quota(const std::string& name, double injected, double healed) {
    Fault* fault = scenario.add_faults();
    fault->set_name(name);
    fault->mutable_cpu()->set_service("recommend");
    fault->mutable_cpu()->set_quota(20);
    Evidence evidence;
    evidence.set_throttled_ns(8'200'000'000);
    evidence.set_requested_percent(20);
    evidence.set_achieved_percent(19.8);
    return Span(name, injected, healed, evidence);
  }

  // 75 % of the cores of recommend, as asked.
  TimelineBuilder& CpuLoad(const std::string& name, double injected, double healed) {
    Fault* fault = scenario.add_faults();
    fault->set_name(name);
    fault->mutable_cpu()->set_service("recommend");
    fault->mutable_cpu()->set_load(75);
    Evidence evidence;
    evidence.set_burned_ns(15'000'000'000);
    evidence.set_requested_percent(75);
    evidence.set_achieved_percent(74.9);
    return Span(name, injected, healed, evidence);
  }

  // Any fault, with this evidence and confirmed healing.
  TimelineBuilder& Fired(const Fault& fault, double injected, double healed, const Evidence& evidence = {}) {
    *scenario.add_faults() = fault;
    return Span(fault.name(), injected, healed, evidence);
  }

  // So many percent of the clients of checkout hang up.
  TimelineBuilder& Abandon(const std::string& name, double injected, double healed, double share) {
    Fault* fault = scenario.add_faults();
    fault->set_name(name);
    fault->mutable_abandon()->set_load("checkout");
    fault->mutable_abandon()->set_share(share);
    fault->mutable_abandon()->mutable_patience()->set_nanos(50'000'000);
    Evidence evidence;
    evidence.set_requests(2000);
    evidence.set_abandoned(static_cast<int64_t>(20 * share));
    return Span(name, injected, healed, evidence);
  }

  // The load of checkout times so much, as asked.
  TimelineBuilder& Surge(const std::string& name, double injected, double healed, double times) {
    Fault* fault = scenario.add_faults();
    fault->set_name(name);
    fault->mutable_surge()->set_load("checkout");
    fault->mutable_surge()->set_times(times);
    fault->mutable_for_()->set_seconds(static_cast<int64_t>(healed - injected));
    Evidence evidence;
    evidence.set_base_rate(200);
    evidence.set_requested_requests_rate(200 * times);
    evidence.set_achieved_requests_rate(200 * times);
    return Span(name, injected, healed, evidence);
  }

  // Each request that is due in [from, to) gets the reply.
  TimelineBuilder& Answer(double from, double to, const std::function<Reply(double)>& reply, const std::string& load = "checkout") {
    const auto first = static_cast<int64_t>(from / kEverySeconds + 0.5);
    const auto last = static_cast<int64_t>(to / kEverySeconds + 0.5);
    for (int64_t i = first; i < last; ++i) {
      const double at = static_cast<double>(i) * kEverySeconds;
      Add(at, reply(at), load);
    }
    return *this;
  }
  TimelineBuilder& Answer(double from, double to, Reply reply, const std::string& load = "checkout") {
    return Answer(from, to, [reply](double) { return reply; }, load);
  }

  // Another load beside checkout, at 200/s too.
  TimelineBuilder& AddLoad(const std::string& name) {
    Load* load = scenario.add_load();
    load->set_name(name);
    load->set_rate(200);
    load->mutable_give_up_after()->set_seconds(2);
    return *this;
  }

  TimelineBuilder& Add(double intended, Reply reply, const std::string& load = "checkout") {
    Request request;
    request.intended_ns = Ns(intended);
    request.sent_ns = request.intended_ns + Ns(reply.lag_ms / 1e3);
    request.end_ns = request.intended_ns + Ns(reply.ms / 1e3);
    request.number = static_cast<int64_t>(intended / kEverySeconds + 0.5);
    request.status = reply.status;
    request.outcome = reply.outcome;
    request.reused = reply.reused;
    requests_[load].push_back(request);
    return *this;
  }

  // Any record, as it is.
  TimelineBuilder& Put(const Record& record) {
    records_.push_back(record);
    return *this;
  }

  // A call over the edge, with whatever it carries.
  TimelineBuilder& AddCall(const Call& call) {
    calls_.push_back(call);
    return *this;
  }

  TimelineBuilder& AddCall(double start, double ms, CallResult result, uint32_t source_pid = 0) {
    Call call;
    call.start_ns = Ns(start);
    call.end_ns = call.start_ns + Ns(ms / 1e3);
    call.status = result == ANSWERED ? 200 : 0;
    call.result = result;
    call.source_pid = source_pid;
    calls_.push_back(call);
    return *this;
  }

  // A value of the metrics page of `orders`.
  TimelineBuilder& Metric(double at, const std::string& series, double value) {
    MetricSample& sample = *records_.emplace_back().mutable_metric();
    sample.set_service("orders");
    sample.set_at_ns(Ns(at));
    sample.set_series(series);
    sample.set_value(value);
    return *this;
  }

  // The edge's counter of refused connects at a time.
  TimelineBuilder& Refused(double at, int64_t so_far, const std::map<uint32_t, int64_t>& by = {}) {
    EdgeStats& stats = *records_.emplace_back().mutable_edge_stats();
    stats.set_edge("recommend");
    stats.set_at_ns(Ns(at));
    stats.set_refused(so_far);
    for (const auto& [source_pid, count] : by) (*stats.mutable_refused_by())[source_pid] = count;
    return *this;
  }

  // The edge's counter of connects that were tried.
  TimelineBuilder& Connects(double at, int64_t so_far, const std::map<uint32_t, int64_t>& by = {}) {
    EdgeStats& stats = *records_.emplace_back().mutable_edge_stats();
    stats.set_edge("recommend");
    stats.set_at_ns(Ns(at));
    stats.set_attempts(so_far);
    for (const auto& [source_pid, count] : by) (*stats.mutable_attempts_by())[source_pid] = count;
    return *this;
  }

  TimelineBuilder& StandStill(double at, double ms) {
    ::squall::Stall& stall = *records_.emplace_back().mutable_stall();
    stall.set_start_ns(Ns(at));
    stall.set_length_ns(Ns(ms / 1e3));
    return *this;
  }

  // Others had the cores that the service needed, or its peer on an edge, for so many seconds.
  // `waited`: how long it waited for one meanwhile.
  TimelineBuilder& Starve(const std::string& service, double at, double seconds, const std::string& edge = "", double waited = 1) {
    ::squall::Stall& stall = *records_.emplace_back().mutable_stall();
    stall.set_start_ns(Ns(at));
    stall.set_length_ns(Ns(seconds));
    stall.set_service(service);
    stall.set_edge(edge);
    stall.set_waited_ns(Ns(waited));
    return *this;
  }
  // In the second that begins then, so many requests were due and not sent.
  TimelineBuilder& NotSent(int second, int64_t count) {
    not_sent_[second] = count;
    return *this;
  }

  TimelineBuilder& End(Footer::Ending ending, const std::string& reason = "") {
    ending_ = ending;
    reason_ = reason;
    return *this;
  }
  // The run is still going on, and this is the newest that is known of it.
  TimelineBuilder& StillRunningAt(double at) {
    running_ns_ = Ns(at);
    return *this;
  }

  // Fault events are added in the order in which they are given; a test may change them, or add its own
  // records.
  FaultEvent& Event(absl::string_view fault, FaultEvent::State state) {
    for (Record& record : records_) {
      if (record.has_fault() && record.fault().fault() == fault && record.fault().state() == state) {
        return *record.mutable_fault();
      }
    }
    ADD_FAILURE() << "no such event of " << fault;
    return *records_.emplace_back().mutable_fault();
  }

  // As a run records it: sorted, with what the load counted and the phases.
  Timeline Build() const {
    Timeline timeline;
    Record header;
    *header.mutable_header()->mutable_scenario() = scenario;
    header.mutable_header()->set_run_id("run");
    Require(timeline, header);
    for (const auto& [load, requests] : requests_) {
      timeline.requests[load] = requests;
      AddLoadStats(load, requests, timeline);
    }
    if (!calls_.empty()) timeline.calls["recommend"] = calls_;
    timeline.trace_prefixes = {kTracePrefix, kTracePrefix + 1};
    for (const auto& [load, requests] : requests_) {
      for (const Request& request : requests) timeline.last_ns = std::max(timeline.last_ns, request.end_ns);
    }
    for (const Call& call : calls_) timeline.last_ns = std::max(timeline.last_ns, call.end_ns);
    int64_t healed_ns = 0;
    for (const Record& record : records_) {
      Require(timeline, record);
      if (record.has_fault()) healed_ns = std::max(healed_ns, record.fault().at_ns());
    }
    if (healed_ns > 0) AddPhase(timeline, PhaseEvent::RECOVERY, healed_ns);
    if (running_ns_ > 0) {
      timeline.last_ns = std::max(timeline.last_ns, running_ns_);
    } else {
      Record footer;
      footer.mutable_footer()->set_ending(ending_);
      footer.mutable_footer()->set_reason(reason_);
      footer.mutable_footer()->set_at_ns(timeline.last_ns);
      Require(timeline, footer);
    }
    timeline.Sort();
    return timeline;
  }

  Scenario scenario;

 private:
  TimelineBuilder& Span(const std::string& name, double injected, double healed, const Evidence& evidence) {
    for (const auto& [state, at] :
         {std::pair(FaultEvent::INJECTED, injected), std::pair(FaultEvent::HEALING, healed),
          std::pair(FaultEvent::HEALED, healed)}) {
      FaultEvent& event = *records_.emplace_back().mutable_fault();
      event.set_fault(name);
      event.set_state(state);
      event.set_at_ns(Ns(at));
      *event.mutable_evidence() = evidence;
    }
    return *this;
  }

  static void Require(Timeline& timeline, const Record& record) {
    const absl::Status status = timeline.Add(record);
    EXPECT_TRUE(status.ok()) << status;
  }

  static void AddPhase(Timeline& timeline, PhaseEvent::Phase phase, int64_t at_ns) {
    Record record;
    record.mutable_phase()->set_phase(phase);
    record.mutable_phase()->set_at_ns(at_ns);
    Require(timeline, record);
  }

  // One record a second.
  void AddLoadStats(const std::string& load, const std::vector<Request>& requests, Timeline& timeline) const {
    std::map<int64_t, int64_t> sent;
    for (const Request& request : requests) ++sent[request.intended_ns / 1'000'000'000];
    for (const auto& [second, count] : sent) {
      Record record;
      LoadStats& stats = *record.mutable_load_stats();
      stats.set_load(load);
      stats.set_at_ns((second + 1) * 1'000'000'000);
      const auto missing = not_sent_.find(static_cast<int>(second));
      stats.set_not_sent(missing == not_sent_.end() || load != "checkout" ? 0 : missing->second);
      stats.set_sent(count);
      stats.set_intended(count + stats.not_sent());
      stats.set_trace_prefix(load == "checkout" ? kTracePrefix : kTracePrefix + 1);
      const int64_t last_ns = timeline.last_ns;
      Require(timeline, record);
      if (running_ns_ > 0) timeline.last_ns = last_ns;
    }
  }

  std::map<std::string, std::vector<Request>> requests_;
  std::vector<Call> calls_;
  std::vector<Record> records_;
  std::map<int, int64_t> not_sent_;
  Footer::Ending ending_ = Footer::COMPLETED;
  std::string reason_;
  int64_t running_ns_ = 0;
};

// Names in the messages of failed tests.
inline void PrintTo(const Verdict& verdict, std::ostream* out) { *out << verdict.DebugString(); }

}  // namespace squall
