#include "controller/inject.h"

#include <algorithm>
#include <deque>
#include <future>
#include <map>
#include <memory>
#include <random>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/clock.h"
#include "base/clock.h"
#include "base/durations.h"
#include "controller/agent_client.h"
#include "controller/exit_code.h"
#include "controller/known_agents.h"
#include "controller/run_identity.h"
#include "controller/scalars.h"
#include "controller/scenario.h"

namespace squall {
namespace {

constexpr int64_t kSecond = 1'000'000'000;
constexpr int64_t kLookEveryNs = kSecond / 4;
// How long a signalled process may take to end before it is said that it has not.
constexpr absl::Duration kGoneWithin = absl::Seconds(5);
// A healing that takes longer is not confirmed.
constexpr absl::Duration kHealsWithin = absl::Seconds(10);
// How long an operator who interrupts waits for connections to finish by themselves.
constexpr absl::Duration kPatience = absl::Seconds(2);
// The agent lets connections finish for 30 s.
constexpr absl::Duration kDrainsWithin = absl::Seconds(40);

// What the agent tells, as far as an operator wants to see it. Thread-safe.
class Signs {
 public:
  explicit Signs(int64_t clock_ahead_ns) : clock_ahead_ns_(clock_ahead_ns) {}

  void Take(AgentEvent event) {
    absl::MutexLock lock(&mutex_);
    if (event.has_ended()) ended_ = std::move(*event.mutable_ended());
    const Record& record = event.record();
    if (record.has_sample()) samples_[record.sample().service()] = record.sample();
    if (record.has_edge_stats()) edges_[record.edge_stats().edge()].stats = record.edge_stats();
    if (record.has_arrivals()) TakeCalls(record.arrivals());
    if (record.has_fault()) fault_ = record.fault();
    const ServiceEvent& service = record.service();
    if (service.what() == ServiceEvent::EXITED) {
      lines_.push_back(absl::StrCat(service.service(), " (pid ", service.pid(), ") ", service.message()));
    }
  }

  // What is worth a line and was not taken yet.
  std::vector<std::string> Lines() {
    absl::MutexLock lock(&mutex_);
    return std::exchange(lines_, {});
  }

  void Fill(HandTick& tick) {
    absl::MutexLock lock(&mutex_);
    tick.clear_services();
    tick.clear_edges();
    for (const auto& [name, sample] : samples_) *tick.add_services() = sample;
    // Calls come four times a second: the second that ended half a second ago is whole.
    const int64_t to = BootNanos() + clock_ahead_ns_ - kSecond / 2;
    for (auto& [name, edge] : edges_) {
      EdgeTick& filled = *tick.add_edges();
      filled.set_edge(name);
      filled.set_connections(edge.stats.connections());
      filled.set_open_connections(edge.stats.open_connections());
      while (!edge.calls.empty() && edge.calls.front().end_ns < to - 2 * kSecond) edge.calls.pop_front();
      double calls = 0, answered = 0;
      for (const SeenCall& call : edge.calls) {
        if (call.end_ns < to - kSecond || call.end_ns >= to) continue;
        ++calls;
        answered += call.answered ? 1 : 0;
      }
      filled.set_calls_per_second(calls);
      filled.set_answered_per_second(answered);
    }
  }

  Ended ended() {
    absl::MutexLock lock(&mutex_);
    return ended_;
  }
  // The newest event of the fault.
  FaultEvent fault() {
    absl::MutexLock lock(&mutex_);
    return fault_;
  }

 private:
  struct SeenCall {
    int64_t end_ns = 0;  // on the agent's clock
    bool answered = false;
  };
  struct OfEdge {
    EdgeStats stats;
    std::deque<SeenCall> calls;
  };

  void TakeCalls(const Arrivals& arrivals) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    std::deque<SeenCall>& calls = edges_[arrivals.edge()].calls;
    const int count = std::min({arrivals.start_us_size(), arrivals.duration_us_size(), arrivals.result_size()});
    int64_t start_us = 0;
    for (int i = 0; i < count; ++i) {
      start_us += arrivals.start_us(i);
      calls.push_back({(start_us + arrivals.duration_us(i)) * 1000, arrivals.result(i) == ANSWERED});
    }
  }

  const int64_t clock_ahead_ns_;
  absl::Mutex mutex_;
  std::map<std::string, ServiceSample> samples_ ABSL_GUARDED_BY(mutex_);
  std::map<std::string, OfEdge> edges_ ABSL_GUARDED_BY(mutex_);
  std::vector<std::string> lines_ ABSL_GUARDED_BY(mutex_);
  FaultEvent fault_ ABSL_GUARDED_BY(mutex_);
  Ended ended_ ABSL_GUARDED_BY(mutex_);
};

class ByHand {
 public:
  ByHand(const Scenario& scenario, const InjectOptions& options)
      : scenario_(scenario), options_(options), fault_(scenario_.faults(0)), length_(ToDuration(fault_.for_())) {}

  Injection Execute() {
    const absl::Status status = SetUp();
    if (status.ok()) {
      Watch();
      Heal();
    } else {
      Fail(std::string(status.message()));
    }
    TearDown();
    return Result();
  }

 private:
  template <typename Request>
  Request Named() {
    Request request;
    request.set_run_id(tick_.run_id());
    return request;
  }
  bool Interrupted() const { return options_.interrupts != nullptr && *options_.interrupts > 0; }
  void Say(const std::string& line) {
    if (options_.on_event) options_.on_event(line);
  }
  void Fail(const std::string& why) {
    tick_.set_state(HandTick::FAILED);
    tick_.set_message(why);
  }

  absl::StatusOr<std::unique_ptr<AgentClient>> Connect();
  absl::Status SetUp();
  void Watch();
  void Look();
  void SetElapsed();
  void Heal();
  void TearDown();
  Injection Result();

  Scenario scenario_;
  const InjectOptions& options_;
  const Fault& fault_;
  const absl::Duration length_;  // none: it happens at an instant
  // How long a kill goes on after its signal, and how long its supervisor may take.
  const absl::Duration grace_ = ToDuration(fault_.kill().grace());
  const absl::Duration supervisor_ = ToDuration(fault_.kill().supervisor_within());
  HandTick tick_;
  std::unique_ptr<Signs> signs_;
  std::unique_ptr<AgentClient> agent_;  // gone before the signs to which it adds
  int64_t injected_ns_ = 0;
};

// The agent where the service is.
absl::StatusOr<std::unique_ptr<AgentClient>> ByHand::Connect() {
  std::string name = options_.agent;
  // Another process here may look just like the one that is meant.
  for (const Service& service : scenario_.services()) {
    if (name.empty()) name = service.on();
  }
  if (name.empty()) return AgentClient::StartChild();
  LoadedAgents known = options_.listed;
  *known.file.mutable_agents() = scenario_.agents();
  known.file.mutable_agents()->MergeFrom(options_.listed.file.agents());
  return ConnectTo(name, known);
}

absl::Status ByHand::SetUp() {
  std::random_device random;
  if (scenario_.seed() == 0) scenario_.set_seed((int64_t{random()} << 16 | random()) + 1);
  const absl::Time now = absl::Now();
  tick_.set_run_id(MakeRunId(scenario_.name(), now, random()));
  *tick_.mutable_fault() = fault_;
  PrepareRequest prepare = Named<PrepareRequest>();
  *prepare.mutable_scenario() = scenario_;
  prepare.set_seed(scenario_.seed());
  prepare.set_folder(options_.folder);
  absl::Status status = PutInLate(*prepare.mutable_scenario(), {options_.folder, options_.folder});
  if (!status.ok()) return status;

  absl::StatusOr<std::unique_ptr<AgentClient>> agent = Connect();
  if (!agent.ok()) return agent.status();
  agent_ = *std::move(agent);
  const absl::StatusOr<AgentClient::Clock> clock = agent_->ReadClock();
  if (!clock.ok()) return absl::UnavailableError(absl::StrCat("the agent does not answer: ", clock.status().message()));
  signs_ = std::make_unique<Signs>(clock->ahead_ns);
  const absl::Duration longest = length_ + grace_ + supervisor_ + absl::Seconds(60);
  status = agent_->Open(tick_.run_id(), HolderText(tick_.run_id(), now, longest), longest,
                        [this](AgentEvent event) { signs_->Take(std::move(event)); });
  if (!status.ok()) return status;
  PrepareReply prepared;
  status = agent_->Call(&Agent::Stub::Prepare, prepare, prepared);
  if (!status.ok()) return status;
  StartServicesReply started;
  status = agent_->Call(&Agent::Stub::StartServices, Named<StartServicesRequest>(), started);
  if (!status.ok()) return status;
  for (const std::string& note : prepared.notes()) Say(note);
  for (const std::string& note : started.notes()) Say(note);
  if (Interrupted()) return absl::CancelledError("interrupted before anything was injected");
  InjectRequest inject = Named<InjectRequest>();
  *inject.mutable_fault() = fault_;
  FaultReply injected;
  status = agent_->Call(&Agent::Stub::Inject, inject, injected);
  if (!status.ok()) return status;
  injected_ns_ = BootNanos();
  *tick_.mutable_evidence() = injected.event().evidence();
  tick_.set_state(HandTick::INJECTED);
  return absl::OkStatus();
}

// The newest of everything. An agent that is busy, or ends, is asked again later.
void ByHand::Look() {
  ListRunsReply reply;
  if (agent_->CallWithin(absl::Seconds(1), &Agent::Stub::ListRuns, ListRunsRequest(), reply).ok()) {
    for (const HeldRun& run : reply.runs()) {
      if (run.run_id() == tick_.run_id() && run.faults_size() > 0) *tick_.mutable_evidence() = run.faults(0).evidence();
    }
  }
  for (const std::string& line : signs_->Lines()) Say(line);
  signs_->Fill(tick_);
  SetElapsed();
  if (options_.on_tick) options_.on_tick(tick_);
}

void ByHand::SetElapsed() {
  const absl::Duration elapsed = absl::Nanoseconds(BootNanos() - injected_ns_);
  tick_.set_elapsed(absl::ToDoubleSeconds(elapsed));
  tick_.set_left(absl::ToDoubleSeconds(std::max(absl::ZeroDuration(), length_ - elapsed)));
}

void ByHand::Watch() {
  int64_t next_look_ns = 0;
  const bool at_an_instant = !fault_.has_for_();
  const int64_t until_ns = injected_ns_ + absl::ToInt64Nanoseconds(at_an_instant ? grace_ + kGoneWithin : length_);
  while (BootNanos() < until_ns && !Interrupted() && !agent_->StreamIsOver()) {
    if (at_an_instant && tick_.evidence().gone() >= tick_.evidence().signalled()) break;
    if (BootNanos() >= next_look_ns) {
      next_look_ns = BootNanos() + kLookEveryNs;
      Look();
    }
    absl::SleepFor(absl::Milliseconds(5));
  }
}

void ByHand::Heal() {
  if (agent_->StreamIsOver()) return;
  HealRequest request = Named<HealRequest>();
  request.set_fault(fault_.name());
  FaultReply reply;
  tick_.set_state(HandTick::HEALING);
  std::future<absl::Status> healed = std::async(std::launch::async, [&] {
    return agent_->CallWithin(supervisor_ + kHealsWithin, &Agent::Stub::Heal, request, reply);
  });
  // A supervisor may take longer than somebody wants to wait for it.
  const int64_t patient_until_ns = BootNanos() + absl::ToInt64Nanoseconds(kPatience);
  while (healed.wait_for(std::chrono::milliseconds(5)) != std::future_status::ready) {
    if (supervisor_ == absl::ZeroDuration() || !Interrupted() || BootNanos() < patient_until_ns) continue;
    FinishRequest finish = Named<FinishRequest>();
    finish.set_at_once(true);
    FinishReply cut;
    agent_->CallWithin(kHealsWithin, &Agent::Stub::Finish, finish, cut).IgnoreError();
    break;
  }
  const absl::Status status = healed.get();
  SetElapsed();
  if (reply.event().has_evidence()) *tick_.mutable_evidence() = reply.event().evidence();
  if (status.ok() && reply.event().state() == FaultEvent::HEALED) {
    tick_.set_state(HandTick::HEALED);
  } else if (!agent_->StreamIsOver() && signs_->ended().by().empty()) {
    tick_.add_not_healed(
        absl::StrCat("fault ", fault_.name(), ": ", status.ok() ? reply.event().message() : std::string(status.message())));
  }
}

// Takes the relay and the hold away. Connections in the relay may finish by themselves, unless somebody waits for it.
void ByHand::TearDown() {
  if (agent_ == nullptr) return;
  if (!agent_->StreamIsOver() && signs_ != nullptr) {
    FinishRequest request = Named<FinishRequest>();
    FinishReply reply;
    const auto finish = [&](bool at_once, FinishReply& finished) {
      FinishRequest how = request;
      how.set_at_once(at_once);
      return agent_->CallWithin(at_once ? kHealsWithin : kDrainsWithin, &Agent::Stub::Finish, how, finished);
    };
    std::future<absl::Status> finished = std::async(std::launch::async, [&] { return finish(false, reply); });
    int64_t interrupted_ns = 0;
    while (finished.wait_for(std::chrono::milliseconds(5)) != std::future_status::ready) {
      if (Interrupted() && interrupted_ns == 0) interrupted_ns = BootNanos();
      if (interrupted_ns == 0 || BootNanos() < interrupted_ns + absl::ToInt64Nanoseconds(kPatience)) continue;
      FinishReply cut;
      finish(true, cut).IgnoreError();
      break;
    }
    const absl::Status status = finished.get();
    for (const std::string& left : reply.not_healed()) tick_.add_not_healed(left);
    if (!status.ok() && !absl::IsNotFound(status)) {
      tick_.add_not_healed(absl::StrCat("the agent does not confirm that it healed: ", status.message()));
    }
    if (!agent_->WaitForLastEvent(absl::Seconds(5))) tick_.add_not_healed("the agent does not end the run");
  }
  if (agent_->child() > 0) {
    const absl::Status status = agent_->WaitForChild(absl::Seconds(5));
    if (!status.ok()) Say(absl::StrCat("agent: ", status.message()));
  }
  agent_.reset();
  for (const std::string& line : signs_ == nullptr ? std::vector<std::string>() : signs_->Lines()) Say(line);
}

Injection ByHand::Result() {
  Injection result;
  const Ended ended = signs_ == nullptr ? Ended() : signs_->ended();
  if (!ended.by().empty()) {
    tick_.set_state(HandTick::HEALED);
    tick_.set_message(absl::StrCat("ended by ", ended.by(), " through squall heal"));
    *tick_.mutable_not_healed() = ended.not_healed();
  } else if (tick_.state() == HandTick::INJECTED || tick_.state() == HandTick::HEALING) {
    // Its stream is over: it is dead, or it heard nothing within the lease, healed and said so.
    const bool healed = signs_->fault().state() == FaultEvent::HEALED;
    Fail(healed ? "the agent did not hear from this controller within its lease, and healed" : "the agent is gone");
    if (!healed) tick_.add_not_healed("the agent is gone, and nobody is left to confirm that it healed");
  } else if (Interrupted() && tick_.message().empty()) {
    tick_.set_message("interrupted");
  }
  tick_.set_left(0);
  result.exit_code = tick_.state() == HandTick::FAILED ? kExitHarness : kExitPass;
  if (Interrupted() || !ended.by().empty()) result.exit_code = kExitInterrupted;
  if (tick_.not_healed_size() > 0) {
    tick_.set_state(HandTick::NOT_HEALED);
    result.exit_code = kExitNotHealed;
  }
  result.last = tick_;
  return result;
}

}  // namespace

Injection InjectByHand(const Scenario& scenario, const InjectOptions& options) {
  return ByHand(scenario, options).Execute();
}

}  // namespace squall
