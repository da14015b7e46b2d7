#pragma once

#include <algorithm>
#include <cstdint>
#include <map>
#include <queue>
#include <utility>
#include <vector>

#include "controller/assertions/circuit_breaker.h"
#include "controller/assertions/timeline_builder.h"

namespace squall {

using Reply = TimelineBuilder::Reply;

inline constexpr double kInjected = 12;
inline constexpr double kHealed = 22;
inline constexpr double kEnd = 45;

// A service with a breaker, and what is wrong with it. It gives a call 300 ms, then answers with a fallback.
struct SimulatedBreaker {
  int trips_at = 6;      // failures in a row; 0: never
  double open_time = 2;  // seconds
  int probes = 1;        // at a time
  bool closes = true;
  bool reopens = true;    // a failed probe opens it again
  double open_ms = 2;     // how long an answer takes while it is open
  bool dead = false;      // the peer is dead while the fault acts: calls are refused at once
  double opens_late = 0;  // ignores that many seconds of failures
  double confirmed_late = 0;  // the dead peer answers that many seconds before its healing is confirmed
  bool cut = false;           // the last call before its death is cut
  double looks_every = 0.25;  // the relay's counter is looked at
  double first_look = 0;
  std::string hides = "";     // the fault under which no call arrives, as TimelineBuilder::Hides has it; empty: another
  double hangs_ms = 300;      // how long the service waits for a connect that vanishes
  bool pooled = true;         // it keeps its connections: only what it tries in vain needs connects
  int pool = 0;               // so many calls hang on connections that it has before one needs another
  bool counted = true;        // connects are counted
  bool wedges = false;    // waits for ever for a probe that failed
  bool tries_on = false;  // one that does not close goes on probing
};

// Sends requests from 0 to kEnd through one or several of them in turn, as services would behave.
class Simulation {
 public:
  explicit Simulation(const SimulatedBreaker& breaker, uint32_t source_pid = 0)
      : Simulation(std::vector<std::pair<uint32_t, SimulatedBreaker>>{{source_pid, breaker}}) {}

  // Each with the process that it is in.
  explicit Simulation(const std::vector<std::pair<uint32_t, SimulatedBreaker>>& breakers) {
    if (!breakers.front().second.hides.empty()) {
      builder_.Hides(breakers.front().second.hides, kInjected, kHealed);
    } else if (breakers.front().second.dead) {
      builder_.Kill("gone", kInjected, kHealed + breakers.front().second.confirmed_late);
    } else {
      builder_.Latency("slow", kInjected, kHealed);
    }
    std::vector<Instance> instances;
    for (const auto& [source_pid, breaker] : breakers) instances.emplace_back(source_pid, breaker, builder_);
    for (int64_t i = 0; i < static_cast<int64_t>(kEnd / TimelineBuilder::kEverySeconds); ++i) {
      const double at = static_cast<double>(i) * TimelineBuilder::kEverySeconds;
      for (Instance& instance : instances) instance.Learn(at);
      instances[static_cast<size_t>(i) % instances.size()].Send(at);
    }
    if (breakers.front().second.dead) CountRefused(instances, breakers.front().second);
    if (!breakers.front().second.hides.empty() && breakers.front().second.counted) {
      CountConnects(instances, breakers.front().second);
    }
  }

  TimelineBuilder& builder() { return builder_; }

 private:
  class Instance {
   public:
    Instance(uint32_t source_pid, const SimulatedBreaker& breaker, TimelineBuilder& builder)
        : breaker_(breaker), source_pid_(source_pid), builder_(builder) {}

    // What the breaker has learned of its calls by now.
    void Learn(double now) {
      while (!outcomes_.empty() && outcomes_.top().at <= now) {
        const Failure failure = outcomes_.top();
        outcomes_.pop();
        if (failure.at < kInjected + (breaker_.hides.empty() ? 0.3 : 0) + breaker_.opens_late) continue;
        ++in_a_row_;
        if (failure.probe) {
          if (breaker_.wedges) continue;
          half_open_ = 0;
          if (breaker_.reopens) open_until_ = failure.at + breaker_.open_time;
          if (!breaker_.reopens) open_ = false, in_a_row_ = -1000;
        } else if (!open_ && breaker_.trips_at > 0 && in_a_row_ >= breaker_.trips_at) {
          open_ = true;
          open_until_ = failure.at + breaker_.open_time;
        }
      }
    }

    void Send(double at) {
      const bool failing = at >= kInjected && at < kHealed;
      if (open_) {
        const bool may_probe = at >= open_until_ && half_open_ < breaker_.probes;
        if (may_probe && !failing && breaker_.tries_on) {
          open_until_ = at + breaker_.open_time;
          builder_.Add(at, Reply{10, OK}).AddCall(at + 0.001, 8, ANSWERED, source_pid_);
          return;
        }
        if (!may_probe || (!failing && !breaker_.closes)) {
          builder_.Add(at, Reply{breaker_.open_ms, DEGRADED});
          return;
        }
        if (failing) {
          ++half_open_;
        } else {
          open_ = false;
          half_open_ = 0;
          in_a_row_ = 0;
        }
      }
      if (!breaker_.hides.empty() && (failing || !breaker_.pooled) && !(failing && breaker_.pool-- > 0)) {
        connects_.push_back(at);
      }
      if (breaker_.cut && at < kInjected && at + 1.5 * TimelineBuilder::kEverySeconds > kInjected) {
        builder_.Add(at, Reply{7, DEGRADED}).AddCall(at + 0.001, 6, PEER_LEFT, source_pid_);
      } else if (!failing) {
        builder_.Add(at, Reply{10, OK}).AddCall(at + 0.001, 8, ANSWERED, source_pid_);
      } else if (breaker_.dead) {
        builder_.Add(at, Reply{1, DEGRADED});
        refused_.push_back(at);
        outcomes_.push({at + 0.001, open_});
      } else if (!breaker_.hides.empty()) {
        builder_.Add(at, Reply{breaker_.hangs_ms + 2, DEGRADED});
        outcomes_.push({at + breaker_.hangs_ms / 1e3, open_});
      } else {
        builder_.Add(at, Reply{302, DEGRADED}).AddCall(at + 0.001, 300, CALLER_LEFT, source_pid_);
        outcomes_.push({at + 0.301, open_});
      }
    }

    int64_t RefusedBefore(double at) const {
      return std::count_if(refused_.begin(), refused_.end(), [at](double each) { return each < at; });
    }
    int64_t ConnectsBefore(double at) const {
      return std::count_if(connects_.begin(), connects_.end(), [at](double each) { return each < at; });
    }
    uint32_t source_pid() const { return source_pid_; }

   private:
    struct Failure {
      double at;
      bool probe;
      bool operator<(const Failure& other) const { return at > other.at; }
    };

    SimulatedBreaker breaker_;
    uint32_t source_pid_;
    TimelineBuilder& builder_;
    std::priority_queue<Failure> outcomes_;
    std::vector<double> refused_;
    std::vector<double> connects_;
    int in_a_row_ = 0;
    bool open_ = false;
    double open_until_ = 0;
    int half_open_ = 0;
  };

  // The relay only counts what is refused.
  void CountRefused(const std::vector<Instance>& instances, const SimulatedBreaker& breaker) {
    for (int64_t look = 0; look < static_cast<int64_t>(kEnd / breaker.looks_every); ++look) {
      const double at = breaker.first_look + static_cast<double>(look) * breaker.looks_every;
      int64_t all = 0;
      std::map<uint32_t, int64_t> by;
      for (const Instance& instance : instances) {
        const int64_t refused = instance.RefusedBefore(at);
        all += refused;
        if (instance.source_pid() != 0) by[instance.source_pid()] = refused;
      }
      builder_.Refused(at, all, by);
    }
  }

  // So are the connects. One was made before the load began.
  void CountConnects(const std::vector<Instance>& instances, const SimulatedBreaker& breaker) {
    for (int64_t look = 0; look < static_cast<int64_t>(kEnd); ++look) {
      const double at = breaker.first_look + static_cast<double>(look);
      int64_t all = 0;
      std::map<uint32_t, int64_t> by;
      for (const Instance& instance : instances) {
        const int64_t connects = 1 + instance.ConnectsBefore(at);
        all += connects;
        if (instance.source_pid() != 0) by[instance.source_pid()] = connects;
      }
      builder_.Connects(at, all, by);
    }
  }

  TimelineBuilder builder_;
};

inline CircuitBreaker OpenFor2s() {
  CircuitBreaker spec;
  spec.set_edge("recommend");
  spec.set_load("checkout");
  spec.mutable_open_time()->set_seconds(2);
  spec.mutable_opens_within()->set_seconds(5);
  spec.set_probes(1);
  return spec;
}

inline Verdict Judged(const TimelineBuilder& builder, const CircuitBreaker& spec = OpenFor2s()) {
  return JudgeCircuitBreaker(spec, builder.Build()).verdict;
}

inline Verdict Judged(const SimulatedBreaker& breaker, const CircuitBreaker& spec = OpenFor2s()) {
  return Judged(Simulation(breaker).builder(), spec);
}

}  // namespace squall
