#pragma once

#include <algorithm>
#include <cmath>
#include <deque>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "controller/limiter_steps.h"
#include "controller/timeline.h"
#include "gtest/gtest.h"

namespace squall {

// What a limiter answers to a request that comes at this time, in seconds: how long it waits, or that it is rejected.
struct Ruling {
  bool admitted = true;
  double waits = 0;
};
using Limiting = std::function<Ruling(double at)>;

inline Limiting Bucket(double rate, double capacity) {
  return [=, tokens = capacity, last = 0.0](double at) mutable {
    tokens = std::min(capacity, tokens + rate * (at - last));
    last = at;
    if (tokens < 1 - 1e-9) return Ruling{false};
    tokens -= 1;
    return Ruling{};
  };
}
// limit_req with or without `nodelay`.
inline Limiting Nginx(double rate, double burst, bool delays) {
  return [=, excess = -1.0, last = 0.0](double at) mutable {
    const double now = std::max(0.0, excess - rate * (at - last) + 1);
    if (now > burst) return Ruling{false};
    excess = now;
    last = at;
    return Ruling{true, delays ? now / rate : 0};
  };
}
inline Limiting FixedWindow(int per_window, double period, double phase) {
  return [=, window = -1LL, count = 0](double at) mutable {
    const auto here = static_cast<long long>(std::floor((at + phase) / period));
    if (here != window) count = 0;
    window = here;
    return Ruling{++count <= per_window};
  };
}
inline Limiting SlidingLog(int per_window, double period) {
  return [=, log = std::deque<double>()](double at) mutable {
    while (!log.empty() && log.front() <= at - period) log.pop_front();
    if (static_cast<int>(log.size()) >= per_window) return Ruling{false};
    log.push_back(at);
    return Ruling{};
  };
}
inline Limiting RoundRobin(std::vector<Limiting> instances) {
  return [instances, next = size_t{0}](double at) mutable { return instances[next++ % instances.size()](at); };
}

// A run of a scenario without faults, as a load with planned steps records it: the load starts at 1 s and its steps at 12 s. What
// tests change comes first.
class LimitedRun {
 public:
  LimitedRun(RateLimiter limiter, Limiting service) : spec(std::move(limiter)), limiting(std::move(service)) {
    load.set_name("checkout");
    load.mutable_give_up_after()->set_seconds(2);
    for (const Step& step : LimiterSteps(spec, absl::ZeroDuration())) *load.add_steps() = step;
    load.set_rate(load.steps(0).rate());
  }

  RateLimiter spec;
  Limiting limiting;
  Load load;
  double answer_ms = 2;    // of what is admitted, without what it waits
  double reject_ms = 1;
  uint32_t retry_after_ms = 0;
  int retries = 0;         // sent again one second after the first burst, 1 / R apart
  bool retries_admitted = true;
  double last_seconds = 2;  // of the last step
  std::function<void(Request&)> change = [](Request&) {};
  std::vector<std::pair<double, double>> stalls_ms;  // at (in seconds), for
  std::vector<Request> other;   // of a load "browse"
  std::vector<double> restarts;  // of the service
  bool running = false;

  static constexpr double kStart = 1;
  static constexpr double kSteps = 12;
  // When a step begins, in seconds.
  double StepAt(int step) const {
    double at = kSteps;
    for (int i = 0; i < step; ++i) at += Length(load.steps(i));
    return at;
  }

  Timeline Build() const {
    Timeline timeline;
    Record header;
    Scenario& scenario = *header.mutable_header()->mutable_scenario();
    scenario.set_squall(1);
    scenario.set_name("limited");
    scenario.add_services()->set_name("orders");
    *scenario.add_load() = load;
    scenario.add_load()->set_name("browse");
    scenario.mutable_load(1)->set_rate(20);
    scenario.mutable_steady()->set_errors(1);
    Require(timeline, header);
    timeline.requests["checkout"] = Requests();
    if (!other.empty()) timeline.requests["browse"] = other;
    for (const Request& request : timeline.requests["checkout"]) timeline.last_ns = std::max(timeline.last_ns, request.end_ns);
    std::map<int64_t, int64_t> sent;
    for (const Request& request : timeline.requests["checkout"]) ++sent[request.intended_ns / 1'000'000'000];
    for (const auto& [second, count] : sent) {
      Record record;
      LoadStats& stats = *record.mutable_load_stats();
      stats.set_load("checkout");
      stats.set_at_ns((second + 1) * 1'000'000'000);
      stats.set_sent(count);
      stats.set_intended(count);
      stats.set_trace_prefix(7);
      Require(timeline, record);
    }
    for (const auto& [phase, at] : {std::pair(PhaseEvent::BASELINE, kStart), std::pair(PhaseEvent::LIMITS, kSteps)}) {
      Record record;
      record.mutable_phase()->set_phase(phase);
      record.mutable_phase()->set_at_ns(Ns(at));
      Require(timeline, record);
    }
    for (const auto& [at, ms] : stalls_ms) {
      Record record;
      record.mutable_stall()->set_start_ns(Ns(at));
      record.mutable_stall()->set_length_ns(Ns(ms / 1e3));
      Require(timeline, record);
    }
    for (const double at : restarts) {
      Record record;
      record.mutable_service()->set_service("orders");
      record.mutable_service()->set_what(ServiceEvent::STARTED);
      record.mutable_service()->set_at_ns(Ns(at));
      Require(timeline, record);
    }
    if (!running) {
      Record footer;
      footer.mutable_footer()->set_ending(Footer::COMPLETED);
      footer.mutable_footer()->set_at_ns(timeline.last_ns);
      Require(timeline, footer);
    }
    timeline.Sort();
    return timeline;
  }

  static int64_t Ns(double seconds) { return std::llround(seconds * 1e6) * 1000; }

 private:
  static double Length(const Step& step) { return static_cast<double>(step.for_().seconds()) + step.for_().nanos() / 1e9; }
  static void Require(Timeline& timeline, const Record& record) {
    const absl::Status status = timeline.Add(record);
    EXPECT_TRUE(status.ok()) << status;
  }

  void Add(std::vector<Request>& requests, double at, const Ruling& ruling) const {
    Request request;
    request.intended_ns = request.sent_ns = Ns(at);
    request.end_ns = request.sent_ns + Ns((ruling.admitted ? answer_ms : reject_ms) / 1e3 + ruling.waits);
    request.number = static_cast<int64_t>(requests.size());
    request.status = ruling.admitted ? 200 : 429;
    request.outcome = ruling.admitted ? OK : REJECTED;
    if (!ruling.admitted) request.retry_after_ms = retry_after_ms;
    requests.push_back(request);
  }

  std::vector<Request> Requests() const {
    std::vector<Request> requests;
    // The limiter decides in the middle of the shorter of both answers.
    Limiting limiter = limiting;
    const double decided = std::min(answer_ms, reject_ms) / 2e3;
    const auto offer = [&](double from, double until, double rate) {
      for (int64_t i = 0; rate > 0 && from + static_cast<double>(i) / rate < until - 1e-9; ++i) {
        const double at = from + static_cast<double>(i) / rate;
        Add(requests, at, limiter(at + decided));
      }
    };
    const double first = load.steps().empty() ? load.rate() : load.steps(0).rate();
    offer(kStart, kSteps, first);
    for (int i = 0; i < load.steps_size(); ++i) {
      const double from = StepAt(i);
      offer(from, from + (i + 1 == load.steps_size() ? last_seconds : Length(load.steps(i))), load.steps(i).rate());
      for (int k = 0; i == 2 && k < retries; ++k) {
        const double at = StepAt(3) + 1.1 + k / spec.rate();
        const bool admitted = limiter(at + decided).admitted && retries_admitted;
        Add(requests, at, Ruling{admitted});
        requests.back().retried = true;
        requests.back().number = (int64_t{1} << 40) + k;
      }
    }
    if (load.steps().empty()) offer(kSteps, kSteps + 30, first);
    for (Request& request : requests) change(request);
    return requests;
  }
};

}  // namespace squall
