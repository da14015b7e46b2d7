#include "controller/report/sample.h"

#include <cstdlib>
#include <random>
#include <string>
#include <utility>

#include "absl/strings/string_view.h"
#include "controller/report/sample_texts.h"
#include "google/protobuf/text_format.h"

namespace squall {
namespace {

constexpr int64_t kMillisecond = 1'000'000;
constexpr int64_t kSecond = 1'000'000'000;
constexpr uint64_t kPrefix = 0x4bf92f3577b34da6;

constexpr int64_t kEnd = 45 * kSecond + 300 * kMillisecond;
constexpr int64_t kSlowFrom = 11 * kSecond + 20 * kMillisecond;
constexpr int64_t kSlowTo = 21 * kSecond + 23 * kMillisecond;
constexpr int64_t kGoneFrom = 21 * kSecond + 30 * kMillisecond;
constexpr int64_t kGoneTo = 25 * kSecond + 180 * kMillisecond;
constexpr int64_t kQueueUntil = 37 * kSecond + 600 * kMillisecond;  // the queue that the outage left behind

template <typename Message>
Message Parsed(absl::string_view text) {
  Message message;
  if (!google::protobuf::TextFormat::ParseFromString(std::string(text), &message)) std::abort();
  return message;
}

bool Within(int64_t ns, int64_t from, int64_t to) { return ns >= from && ns < to; }

// One request in the sample's course of things.
class Course {
 public:
  Request NextRequest(int64_t intended_ns, int64_t number) {
    Request request;
    request.intended_ns = intended_ns;
    request.sent_ns = intended_ns + Micros(40, 300);
    request.number = number;
    request.status = 200;
    request.outcome = OK;
    int64_t took = Base();
    if (Within(intended_ns, kSlowFrom, kSlowTo)) {
      // The deadline ends the wait; then the fallback answers. A limiter turns a few away when the pile is
      // highest.
      took = 300 * kMillisecond + Micros(500, 31'000);
      request.outcome = DEGRADED;
      if (Within(intended_ns, kSlowFrom + 4 * kSecond, kSlowFrom + 7 * kSecond) && Chance(0.15)) {
        took = Micros(400, 2'000);
        request.outcome = REJECTED;
        request.status = 429;
      }
    } else if (Within(intended_ns, kGoneFrom, kGoneTo)) {
      const bool error = Chance(0.4);
      took = Micros(800, 6'000);
      request.outcome = error ? ERROR : DEGRADED;
      request.status = error ? 502 : 200;
    } else if (Within(intended_ns, kGoneTo, kQueueUntil)) {
      const double left =
          static_cast<double>(kQueueUntil - intended_ns) / static_cast<double>(kQueueUntil - kGoneTo);
      took += static_cast<int64_t>(1.3e9 * left * (0.6 + 0.4 * Uniform()));
      if (Chance(0.03)) request.outcome = ERROR, request.status = 503;
    }
    request.end_ns = request.sent_ns + took;
    return request;
  }

  Call NextCall(const Request& request) {
    Call call;
    call.start_ns = request.sent_ns + Micros(100, 400);
    call.end_ns = call.start_ns + Base() / 2;
    call.status = 200;
    call.result = ANSWERED;
    if (Within(request.intended_ns, kSlowFrom, kSlowTo)) {
      call.end_ns = call.start_ns + 300 * kMillisecond;
      call.status = 0;
      call.result = CALLER_LEFT;
    } else if (Within(request.intended_ns, kGoneFrom, kGoneTo)) {
      call.end_ns = call.start_ns + Micros(20, 90);
      call.status = 0;
      call.result = CONNECT_REFUSED;
    } else if (Within(request.intended_ns, kGoneTo, kGoneTo + kSecond) && Chance(0.06)) {
      call.status = 500;
      call.result = FAILED;
    }
    return call;
  }

  double Uniform() { return std::uniform_real_distribution<double>(0, 1)(random_); }

 private:
  bool Chance(double share) { return Uniform() < share; }
  int64_t Micros(int64_t from, int64_t to) {
    return 1000 * std::uniform_int_distribution<int64_t>(from, to)(random_);
  }
  int64_t Base() { return static_cast<int64_t>(std::lognormal_distribution<double>(15.2, 0.4)(random_)); }

  std::mt19937_64 random_{4711};
};

void AddTraffic(Course& course, Timeline& timeline) {
  auto& requests = timeline.requests["checkout"];
  auto& calls = timeline.calls["recommend"];
  LoadTotals& totals = timeline.loads["checkout"];
  totals.trace_prefix = kPrefix;
  const int64_t first = 900 * kMillisecond;
  int64_t number = 0;
  for (int64_t at = first; at < kEnd - 100 * kMillisecond; at += 5 * kMillisecond, ++number) {
    // While the queue is longest the client's own limit keeps a few back.
    if (Within(at, kGoneTo, kGoneTo + 2 * kSecond) && number % 7 == 0) continue;
    requests.push_back(course.NextRequest(at, number));
    calls.push_back(course.NextCall(requests.back()));
  }
  totals.intended = number;
  totals.sent = static_cast<int64_t>(requests.size());
  totals.not_sent = number - totals.sent;
  LoadStats stats;
  stats.set_load("checkout");
  stats.set_at_ns(kGoneTo);
  totals.series.push_back(stats);
  stats.set_at_ns(kGoneTo + 2 * kSecond);
  stats.set_not_sent(totals.not_sent);
  totals.series.push_back(stats);
}

void AddHealth(Course& course, Timeline& timeline) {
  for (int64_t at = kSecond / 2; at < kEnd; at += kSecond) {
    const bool busy = Within(at, kGoneTo, kQueueUntil);
    HostSample host;
    host.set_at_ns(at);
    host.set_cpu_busy((busy ? 72 : 31) + 8 * course.Uniform());
    host.set_cpu_steal(Within(at, 17 * kSecond, 20 * kSecond) ? 9 : course.Uniform());
    timeline.host.push_back(host);
    for (const char* name : {"orders", "recommend"}) {
      const bool orders = name[0] == 'o';
      if (!orders && Within(at, kGoneFrom, kGoneTo)) continue;
      const bool piled = orders && (busy || Within(at, kSlowFrom, kSlowTo));
      ServiceSample sample;
      sample.set_service(name);
      sample.set_at_ns(at);
      sample.set_cpu((orders ? 24 : 9) + (piled ? 30 : 0) + 3 * course.Uniform());
      sample.set_rss_bytes((orders ? 38 : 21) * (1 << 20) + at / 4000 * (orders ? 1 : 0));
      sample.set_threads(orders ? (piled ? 72 : 12) : 8);
      sample.set_fds(orders ? (piled ? 141 : 24) : 19);
      timeline.samples[name].push_back(sample);
    }
  }
  for (const int64_t at : {6 * kSecond, 18 * kSecond, 18 * kSecond + 300 * kMillisecond}) {
    Stall stall;
    stall.set_start_ns(at);
    stall.set_length_ns(at == 6 * kSecond ? 12 * kMillisecond : 24 * kMillisecond + kMillisecond / 2);
    timeline.stalls.push_back(stall);
  }
}

ServiceEvent MakeEvent(const char* service, int64_t at_ns, ServiceEvent::What what, int pid,
                       const char* message) {
  ServiceEvent event;
  event.set_service(service);
  event.set_at_ns(at_ns);
  event.set_what(what);
  event.set_pid(pid);
  event.set_message(message);
  event.set_expected(what == ServiceEvent::EXITED);
  return event;
}

void AddEvents(Timeline& timeline) {
  FaultSpan slow;
  slow.name = "slow";
  slow.injected_ns = kSlowFrom;
  slow.heal_asked_ns = kSlowTo - 3 * kMillisecond;
  slow.healed_ns = kSlowTo;
  FaultSpan gone;
  gone.name = "gone";
  gone.injected_ns = kGoneFrom;
  gone.heal_asked_ns = kGoneTo - 148 * kMillisecond;
  gone.healed_ns = kGoneTo;
  timeline.faults = {slow, gone};
  timeline.services = {
      MakeEvent("recommend", 90 * kMillisecond, ServiceEvent::STARTED, 40123, ""),
      MakeEvent("recommend", 140 * kMillisecond, ServiceEvent::READY, 40123, ""),
      MakeEvent("orders", 150 * kMillisecond, ServiceEvent::STARTED, 40140, ""),
      MakeEvent("orders", 230 * kMillisecond, ServiceEvent::READY, 40140, ""),
      MakeEvent("recommend", kGoneFrom, ServiceEvent::EXITED, 40123, "killed by SIGKILL"),
      MakeEvent("recommend", kGoneTo - 140 * kMillisecond, ServiceEvent::STARTED, 40391, ""),
      MakeEvent("recommend", kGoneTo, ServiceEvent::READY, 40391, ""),
  };
  for (const auto& [phase, at] : {std::pair{PhaseEvent::BASELINE, 900 * kMillisecond},
                                  {PhaseEvent::FAULTS, 11 * kSecond},
                                  {PhaseEvent::RECOVERY, kGoneTo},
                                  {PhaseEvent::DONE, kEnd}}) {
    PhaseEvent event;
    event.set_phase(phase);
    event.set_at_ns(at);
    timeline.phases.push_back(event);
  }
}

}  // namespace

SampleRun MakeSampleRun() {
  SampleRun run;
  run.timeline.header = Parsed<Header>(kSampleHeader);
  run.result = Parsed<RunResult>(kSampleResult);
  Course course;
  AddTraffic(course, run.timeline);
  AddHealth(course, run.timeline);
  AddEvents(run.timeline);
  run.timeline.footer.emplace();
  run.timeline.footer->set_ending(Footer::COMPLETED);
  run.timeline.footer->set_at_ns(kEnd);
  run.timeline.last_ns = kEnd;
  return run;
}

SampleRun Stretched(SampleRun run, double factor) {
  const auto stretch = [&](int64_t& ns) { ns = static_cast<int64_t>(static_cast<double>(ns) * factor); };
  Timeline& timeline = run.timeline;
  for (Request& request : timeline.requests["checkout"]) {
    const int64_t latency = request.LatencyNs();
    stretch(request.intended_ns);
    request.end_ns = request.intended_ns + latency;
  }
  for (Call& call : timeline.calls["recommend"]) stretch(call.start_ns);
  for (FaultSpan& fault : timeline.faults) stretch(*fault.injected_ns), stretch(*fault.healed_ns);
  const auto stretch_all = [&](auto& records) {
    for (auto& record : records) {
      record.set_at_ns(static_cast<int64_t>(static_cast<double>(record.at_ns()) * factor));
    }
  };
  for (Stall& stall : timeline.stalls) {
    stall.set_start_ns(static_cast<int64_t>(static_cast<double>(stall.start_ns()) * factor));
  }
  for (Verdict& verdict : *run.result.mutable_verdicts()) {
    verdict.set_first_broken_ns(
        static_cast<int64_t>(static_cast<double>(verdict.first_broken_ns()) * factor));
  }
  stretch_all(timeline.loads["checkout"].series);
  stretch_all(timeline.phases);
  stretch_all(timeline.services);
  stretch_all(timeline.host);
  for (auto& [name, samples] : timeline.samples) stretch_all(samples);
  stretch(timeline.last_ns);
  timeline.footer->set_at_ns(timeline.last_ns);
  return run;
}

}  // namespace squall
