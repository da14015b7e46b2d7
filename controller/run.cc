#include "controller/run.h"

#include <cstdio>
#include <filesystem>
#include <future>
#include <random>
#include <set>
#include <thread>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/clock.h"
#include "absl/types/span.h"
#include "base/clock.h"
#include "base/durations.h"
#include "base/text.h"
#include "base/version.h"
#include "controller/agents.h"
#include "controller/assertions/judge.h"
#include "controller/calibration_file.h"
#include "controller/fault_clock.h"
#include "controller/limiter_steps.h"
#include "controller/live.h"
#include "controller/placement.h"
#include "controller/run_folder.h"
#include "controller/run_identity.h"
#include "controller/scalars.h"

namespace squall {
namespace {

constexpr absl::Duration kTick = absl::Milliseconds(5);
constexpr absl::Duration kProgressEvery = absl::Milliseconds(250);

class Run {
 public:
  Run(const LoadedScenario& loaded, const RunOptions& options)
      : loaded_(loaded), options_(options), scenario_(loaded.scenario), plan_(MakePlan(scenario_)) {}

  absl::StatusOr<FinishedRun> Execute();

 private:
  struct Ending {
    Footer::Ending how = Footer::ENDING_UNSPECIFIED;
    std::string reason;
  };

  int64_t Now() const { return BootNanos() - started_ns_; }
  bool Interrupted() const { return options_.interrupts != nullptr && *options_.interrupts > 0; }

  absl::Status Begin();
  Ending Drive();
  Ending SetUp();
  // Waits for `until` (run's time), or until `done` says so. Set when the run has to end before.
  std::optional<Ending> WaitUntil(int64_t until_ns, const std::function<bool()>& done = nullptr);
  absl::Status StartSteps(PhaseEvent::Phase phase);
  absl::Status ShareLoad(double share);
  // Loads rest, and what services then hold is recorded. Does nothing where no assertion asks for it.
  std::optional<Ending> Rest();
  std::optional<Ending> GoOn();
  std::optional<Ending> TakeSnapshot(ProcessSnapshot::Moment moment);
  // Cuts the load of a service that has not recovered, and restores it.
  std::optional<Ending> CutAndRestore();
  Timeline SoFar();
  std::optional<Ending> Step(absl::Span<const Action> at_once);
  void Pretend(absl::Span<const Action> at_once);
  std::optional<Ending> Conclude(const Action& action, const absl::Status& status, const FaultEvent& event);
  std::optional<Ending> Await(std::future<absl::Status> call, const std::string& what);
  bool AllFinal();
  absl::StatusOr<PrepareRequest> PrepareFor(const std::string& agent);
  void Finish(bool at_once);
  void TearDown(const Ending& ending);

  void OnEvent(AgentEvent event);
  void Append(const Record& record);
  void EnterPhase(PhaseEvent::Phase phase, int cycle = 0);
  void Say(const std::string& line) {
    if (options_.on_event) options_.on_event(line);
  }
  void ShowProgress();
  Ending HarnessFailed(const std::string& what, const absl::Status& status) {
    return {Footer::HARNESS_FAILED, absl::StrCat(what, ": ", status.message())};
  }
  // The same for a call to agents: when it failed because one was lost, that is what is said.
  Ending CallFailed(const std::string& what, const absl::Status& status);
  std::optional<Ending> LookForLostAgents();
  template <typename Request>
  Request Named() {
    Request request;
    request.set_run_id(run_id_);
    return request;
  }

  const LoadedScenario& loaded_;
  const RunOptions& options_;
  Scenario scenario_;
  const Plan plan_;
  std::string run_id_;
  std::string folder_;
  int64_t started_ns_ = 0;
  int64_t load_started_ns_ = 0;
  int64_t faults_started_ns_ = 0;
  int64_t phase_ends_ns_ = 0;
  int64_t recovery_started_ns_ = 0;
  int cycle_ = 0;  // of the next rest
  Header header_;
  std::unique_ptr<Agents> agents_;
  std::vector<LostAgent> lost_agents_;
  std::map<std::string, FILE*> logs_;
  std::set<std::string> injected_;
  PhaseEvent::Phase phase_ = PhaseEvent::PHASE_UNSPECIFIED;
  std::string doing_;
  int64_t next_progress_ns_ = 0;
  int64_t next_guard_ns_ = 0;
  std::vector<std::string> not_healed_;
  Footer footer_;

  absl::Mutex mutex_;
  std::optional<TimelineWriter> writer_ ABSL_GUARDED_BY(mutex_);
  Timeline timeline_ ABSL_GUARDED_BY(mutex_);
  Ended ended_ ABSL_GUARDED_BY(mutex_);  // by somebody else, through the agent
  absl::Status write_status_ ABSL_GUARDED_BY(mutex_);
};

absl::Status Run::Begin() {
  const absl::Time now = absl::Now();
  std::random_device random;
  const uint64_t drawn = (uint64_t{random()} << 32) | random();
  if (scenario_.seed() == 0) scenario_.set_seed(static_cast<int64_t>(drawn >> 16) + 1);
  run_id_ = MakeRunId(scenario_.name(), now, drawn);
  absl::StatusOr<std::string> folder = MakeRunFolder(options_.runs_folder, run_id_);
  if (!folder.ok()) return folder.status();
  folder_ = *std::move(folder);
  started_ns_ = BootNanos();
  *header_.mutable_scenario() = scenario_;
  header_.set_run_id(run_id_);
  header_.set_started_unix_ns(absl::ToUnixNanos(now));
  header_.set_seed(scenario_.seed());
  header_.set_squall_version(kVersion);
  header_.set_host(HostName());
  header_.set_placebo(options_.placebo);
  if (const auto calibration = ReadCalibration(options_.runs_folder, loaded_.scenario); calibration.ok()) {
    *header_.mutable_calibration() = *calibration;
  }
  absl::StatusOr<TimelineWriter> writer = TimelineWriter::Create(TimelinePath(folder_));
  if (!writer.ok()) return writer.status();
  absl::MutexLock lock(&mutex_);
  writer_ = *std::move(writer);
  return WriteFile(absl::StrCat(folder_, "/scenario.yaml"), loaded_.text);
}

void Run::Append(const Record& record) {
  absl::MutexLock lock(&mutex_);
  if (write_status_.ok()) write_status_ = writer_->Append(record);
  timeline_.Add(record).IgnoreError();
}

void Run::OnEvent(AgentEvent event) {
  if (event.has_output()) {
    FILE*& log = logs_[event.output().service()];
    if (log == nullptr) log = fopen(absl::StrCat(folder_, "/logs/", event.output().service(), ".log").c_str(), "we");
    if (log != nullptr) fwrite(event.output().data().data(), 1, event.output().data().size(), log);
    return;
  }
  if (event.has_ended()) {
    absl::MutexLock lock(&mutex_);
    ended_ = std::move(*event.mutable_ended());
    return;
  }
  if (event.record().has_service()) {
    const ServiceEvent& service = event.record().service();
    if (service.what() == ServiceEvent::EXITED && !service.expected()) {
      Say(absl::StrCat(service.service(), " (pid ", service.pid(), ") ", service.message()));
    }
  }
  Append(event.record());
}

void Run::EnterPhase(PhaseEvent::Phase phase, int cycle) {
  phase_ = phase;
  Record record;
  record.mutable_phase()->set_phase(phase);
  record.mutable_phase()->set_cycle(cycle);
  record.mutable_phase()->set_at_ns(Now());
  Append(record);
}

void Run::ShowProgress() {
  if (!options_.on_progress || BootNanos() < next_progress_ns_) return;
  next_progress_ns_ = BootNanos() + absl::ToInt64Nanoseconds(kProgressEvery);
  Progress progress;
  progress.phase = phase_;
  progress.doing = doing_;
  progress.plan = &plan_;
  const int64_t now = Now();
  if (load_started_ns_ > 0) {
    progress.elapsed = absl::Nanoseconds(now - load_started_ns_);
    progress.left = plan_.Longest() - progress.elapsed;
    if (phase_ == PhaseEvent::RECOVERY) progress.left = absl::Nanoseconds(phase_ends_ns_ - now);
    progress.left = std::max(progress.left, absl::ZeroDuration());
  }
  if (faults_started_ns_ > 0) progress.faults_at = absl::Nanoseconds(faults_started_ns_ - load_started_ns_);
  for (const PlannedFault& planned : plan_.faults) {
    if (injected_.count(planned.fault->name()) > 0) progress.injected.push_back(DescribeFault(*planned.fault));
  }
  {
    absl::MutexLock lock(&mutex_);
    FillRates(timeline_, now, progress);
  }
  options_.on_progress(progress);
}

std::optional<Run::Ending> Run::WaitUntil(int64_t until_ns, const std::function<bool()>& done) {
  while (Now() < until_ns) {
    if (Interrupted()) return Ending{Footer::INTERRUPTED, "interrupted"};
    if (auto lost = LookForLostAgents()) return lost;
    if (BootNanos() >= next_guard_ns_) {
      const int64_t began = BootNanos();
      std::string tripped;
      {
        absl::MutexLock lock(&mutex_);
        if (!write_status_.ok()) return HarnessFailed("cannot write the timeline", write_status_);
        if (scenario_.guardrails_size() > 0) tripped = TrippedGuardrail(timeline_);
      }
      if (!tripped.empty()) return Ending{Footer::GUARDRAIL, tripped};
      if (done && done()) return std::nullopt;
      // Once a second, and never more than a tenth of the time.
      next_guard_ns_ = BootNanos() + std::max<int64_t>(1'000'000'000, 10 * (BootNanos() - began));
    }
    ShowProgress();
    absl::SleepFor(std::min(kTick, absl::Nanoseconds(std::max<int64_t>(0, until_ns - Now()))));
  }
  return std::nullopt;
}

std::optional<Run::Ending> Run::LookForLostAgents() {
  std::vector<std::string> reasons;
  for (LostAgent& lost : agents_->Lost()) {
    if (lost.name().empty()) {
      return Ending{Footer::HARNESS_FAILED, "the agent is gone, or did not hear from this controller within its lease"};
    }
    lost.set_at_ns(Now());
    reasons.push_back(absl::StrCat("agent ", lost.name(), " was lost ", HumanNanos(lost.at_ns()), " into the run: ",
                                   lost.reason(), "; what it injected and started ends with its lease"));
    Say(reasons.back());
    lost_agents_.push_back(std::move(lost));
  }
  if (reasons.empty()) return std::nullopt;
  return Ending{Footer::HARNESS_FAILED, absl::StrJoin(reasons, "; ")};
}

Run::Ending Run::CallFailed(const std::string& what, const absl::Status& status) {
  // The end of the stream may come a moment after that of the call.
  const int64_t until_ns = BootNanos() + 500'000'000;
  while (absl::IsUnavailable(status) || absl::IsCancelled(status)) {
    if (auto lost = LookForLostAgents()) return *lost;
    if (BootNanos() >= until_ns) break;
    absl::SleepFor(kTick);
  }
  return HarnessFailed(what, status);
}

// Waits for a call that may take long, and goes on watching meanwhile.
std::optional<Run::Ending> Run::Await(std::future<absl::Status> call, const std::string& what) {
  while (call.wait_for(std::chrono::milliseconds(5)) != std::future_status::ready) {
    ShowProgress();
    if (!Interrupted()) continue;
    // Cuts the call short on the agents' side as well.
    Finish(/*at_once=*/true);
    call.wait();
    return Ending{Footer::INTERRUPTED, "interrupted"};
  }
  const absl::Status status = call.get();
  if (!status.ok()) return CallFailed(what, status);
  return std::nullopt;
}

// What the agent is asked to do, with secrets put in.
absl::StatusOr<PrepareRequest> Run::PrepareFor(const std::string& agent) {
  PrepareRequest prepare = Named<PrepareRequest>();
  *prepare.mutable_scenario() = PartOf(scenario_, agent);
  if (options_.placebo) prepare.mutable_scenario()->clear_faults();
  prepare.set_seed(scenario_.seed());
  std::error_code error;
  const std::string folder = std::filesystem::absolute(std::filesystem::path(loaded_.path), error).parent_path().string();
  // The folders of this machine are not those of another.
  prepare.set_folder(agent.empty() ? folder : "/");
  const absl::Status late =
      PutInLate(*prepare.mutable_scenario(), {std::filesystem::absolute(folder_, error).string(), folder});
  if (!late.ok()) return late;
  return prepare;
}

Run::Ending Run::SetUp() {
  doing_ = scenario_.agents().empty() ? "starting the agent" : "looking for the agents";
  ShowProgress();
  absl::StatusOr<std::unique_ptr<Agents>> agents = Agents::Connect(scenario_, options_.agent, loaded_.tls);
  if (!agents.ok()) return HarnessFailed("no agent", agents.status());
  agents_ = *std::move(agents);
  agents_->FillClocks(header_);

  // Before the stream opens: the header is the first record.
  for (const Edge& edge : scenario_.edges()) {
    (*header_.mutable_edge_mechanisms())[edge.name()] =
        edge.relay_at().empty() ? "connects redirected by cgroup BPF" : absl::StrCat("relay at ", edge.relay_at());
  }
  for (const Service& service : scenario_.services()) {
    const bool asked = std::any_of(scenario_.faults().begin(), scenario_.faults().end(), [&](const Fault& fault) {
      return fault.has_dns() && fault.dns().service() == service.name();
    });
    if (asked || !service.resolver_at().empty()) {
      (*header_.mutable_resolver_mechanisms())[service.name()] = ResolverMechanism(service);
    }
  }
  Record header;
  *header.mutable_header() = header_;
  Append(header);
  const absl::Duration longest = plan_.Longest() + absl::Seconds(30);
  absl::Status status = agents_->Open(run_id_, HolderText(run_id_, absl::Now(), longest), longest, started_ns_,
                                      [this](AgentEvent event) { OnEvent(std::move(event)); });
  if (!status.ok()) return HarnessFailed("the agent refuses the run", status);
  absl::Mutex notes_mutex;
  std::vector<std::string> notes;
  // All are asked before any is told to touch something.
  status = agents_->ForEach([&](Agents::Member& agent) {
    absl::StatusOr<PrepareRequest> prepare = PrepareFor(agent.name);
    if (!prepare.ok()) return prepare.status();
    PrepareReply prepared;
    const absl::Status done = agent.client->Call(&Agent::Stub::Prepare, *prepare, prepared);
    absl::MutexLock lock(&notes_mutex);
    notes.insert(notes.end(), prepared.notes().begin(), prepared.notes().end());
    return done;
  });
  if (!status.ok()) return CallFailed("this host cannot do it, and nothing was touched", status);

  for (const std::string& note : notes) Say(note);
  notes.clear();

  doing_ = "starting services";
  std::optional<Ending> ending = Await(std::async(std::launch::async,
                                                  [&] {
                                                    return agents_->ForEach([&](Agents::Member& agent) {
                                                      StartServicesReply started;
                                                      const absl::Status done = agent.client->Call(
                                                          &Agent::Stub::StartServices, Named<StartServicesRequest>(), started);
                                                      absl::MutexLock lock(&notes_mutex);
                                                      for (const std::string& note : started.notes()) notes.push_back(note);
                                                      return done;
                                                    });
                                                  }),
                                       "services");
  if (ending) return *ending;
  for (const std::string& note : notes) Say(note);
  std::atomic<int64_t> load_started_ns = std::numeric_limits<int64_t>::max();
  status = agents_->ForEach([&](Agents::Member& agent) {
    StartLoadReply load;
    const absl::Status done = agent.client->Call(&Agent::Stub::StartLoad, Named<StartLoadRequest>(), load);
    const int64_t started_ns = load.started_ns() - agent.clock.ahead_ns - started_ns_;
    int64_t first_ns = load_started_ns;
    while (started_ns < first_ns && !load_started_ns.compare_exchange_weak(first_ns, started_ns)) {
    }
    return done;
  });
  if (!status.ok()) return CallFailed("load", status);
  load_started_ns_ = load_started_ns;
  doing_.clear();
  return {};
}

// As if it had been done.
void Run::Pretend(absl::Span<const Action> at_once) {
  for (const Action& action : at_once) {
    for (const FaultEvent::State state : {FaultEvent::INJECTED, FaultEvent::HEALING, FaultEvent::HEALED}) {
      if ((state == FaultEvent::INJECTED) != action.inject) continue;
      Record record;
      record.mutable_fault()->set_fault(action.fault->name());
      record.mutable_fault()->set_at_ns(Now());
      record.mutable_fault()->set_state(state);
      Append(record);
    }
  }
}

std::optional<Run::Ending> Run::Step(absl::Span<const Action> at_once) {
  if (options_.placebo) {
    Pretend(at_once);
    return std::nullopt;
  }
  std::vector<absl::Status> done(at_once.size());
  std::vector<FaultReply> replies(at_once.size());
  const auto act = [&](size_t i) {
    const Fault& fault = *at_once[i].fault;
    const AgentClient& client = *agents_->Named(AgentOfFault(scenario_, fault)).client;
    if (at_once[i].inject) {
      InjectRequest request = Named<InjectRequest>();
      *request.mutable_fault() = fault;
      return client.Call(&Agent::Stub::Inject, request, replies[i]);
    }
    HealRequest request = Named<HealRequest>();
    request.set_fault(fault.name());
    return client.Call(&Agent::Stub::Heal, request, replies[i]);
  };
  for (const Action& action : at_once) {
    if (action.inject) injected_.insert(action.fault->name());
  }
  auto ending = Await(std::async(std::launch::async,
                                 [&] {
                                   std::vector<std::thread> threads;
                                   for (size_t i = 0; i < at_once.size(); ++i) threads.emplace_back([&, i] { done[i] = act(i); });
                                   for (std::thread& thread : threads) thread.join();
                                   return absl::OkStatus();
                                 }),
                      "faults");
  for (size_t i = 0; i < at_once.size(); ++i) {
    auto own = Conclude(at_once[i], done[i], replies[i].event());
    if (own && !ending) ending = own;
  }
  return ending;
}

std::optional<Run::Ending> Run::Conclude(const Action& action, const absl::Status& status, const FaultEvent& event) {
  const std::string& name = action.fault->name();
  if (!status.ok()) return CallFailed(absl::StrCat(action.inject ? "injection of " : "healing of ", name), status);
  if (action.inject) {
    Say(absl::StrCat("injected ", name, ": ", DescribeFault(*action.fault)));
    return std::nullopt;
  }
  injected_.erase(name);
  if (event.state() != FaultEvent::HEALED) {
    not_healed_.push_back(absl::StrCat("fault ", name, ": ", event.message()));
    return Ending{Footer::HARNESS_FAILED, absl::StrCat("healing of ", name, " is not confirmed: ", event.message())};
  }
  // A killed service that nobody starts again has nothing to heal.
  const Kill& kill = action.fault->kill();
  if (!action.fault->has_kill() || kill.has_restart_after() || kill.has_supervisor_within()) Say(absl::StrCat("healed ", name));
  return std::nullopt;
}

Timeline Run::SoFar() {
  absl::MutexLock lock(&mutex_);
  Timeline so_far = timeline_;
  so_far.Sort();
  return so_far;
}

bool Run::AllFinal() {
  const Timeline so_far = SoFar();
  for (const Assertion& assertion : scenario_.assertions()) {
    // That is told by the rest after the recovery.
    if (assertion.has_no_leak()) continue;
    // What is said of all the time after the faults is never final before the end: it is watched for as long as it needs.
    if (assertion.has_metric() || assertion.has_log()) {
      const absl::Duration watched = absl::Nanoseconds(Now() - recovery_started_ns_);
      if (watched < RecoveryFor(assertion, plan_.window)) return false;
      continue;
    }
    if (!Judge(assertion, so_far).final) return false;
  }
  return true;
}

absl::Status Run::ShareLoad(double share) {
  ShareLoadRequest request = Named<ShareLoadRequest>();
  request.set_share(share);
  return agents_->ForEach([&](Agents::Member& agent) {
    ShareLoadReply reply;
    return agent.client->Call(&Agent::Stub::ShareLoad, request, reply);
  });
}

std::optional<Run::Ending> Run::TakeSnapshot(ProcessSnapshot::Moment moment) {
  TakeSnapshotRequest request = Named<TakeSnapshotRequest>();
  request.set_moment(moment);
  request.set_cycle(cycle_);
  return Await(std::async(std::launch::async,
                          [this, request] {
                            return agents_->ForEach([&](Agents::Member& agent) {
                              TakeSnapshotReply reply;
                              return agent.client->Call(&Agent::Stub::TakeSnapshot, request, reply);
                            });
                          }),
               "looking at what services hold");
}

std::optional<Run::Ending> Run::Rest() {
  if (plan_.rest <= absl::ZeroDuration()) return std::nullopt;
  if (const absl::Status status = ShareLoad(0); !status.ok()) return CallFailed("load", status);
  EnterPhase(PhaseEvent::REST, cycle_);
  phase_ends_ns_ = Now() + absl::ToInt64Nanoseconds(plan_.rest);
  // Before the first fault there is nothing to compare with: a service gets all the time that it may take.
  const std::function<bool()> back = [this] { return AllBackAtRest(SoFar()); };
  if (auto ending = WaitUntil(phase_ends_ns_, cycle_ == 0 ? nullptr : back)) return ending;
  if (auto ending = TakeSnapshot(ProcessSnapshot::AT_REST)) return ending;
  ++cycle_;
  return std::nullopt;
}

std::optional<Run::Ending> Run::GoOn() {
  if (plan_.rest <= absl::ZeroDuration()) return std::nullopt;
  if (const absl::Status status = ShareLoad(1); !status.ok()) return CallFailed("load", status);
  EnterPhase(PhaseEvent::RESTED);
  return WaitUntil(Now() + absl::ToInt64Nanoseconds(plan_.window));
}

std::optional<Run::Ending> Run::CutAndRestore() {
  if (plan_.cut <= absl::ZeroDuration() || !AnyStuck(SoFar())) return std::nullopt;
  for (const auto& [phase, share, lasts] : {std::tuple(PhaseEvent::CUT_TO_HALF, 0.5, plan_.cut), std::tuple(PhaseEvent::CUT_TO_NOTHING, 0.0, plan_.cut),
                                            std::tuple(PhaseEvent::RESTORED, 1.0, plan_.restored)}) {
    Say(share == 1 ? "the load is as before again" : absl::StrCat("it has not recovered: the load is cut to ", share * 100, " %"));
    if (const absl::Status status = ShareLoad(share); !status.ok()) return CallFailed("load", status);
    EnterPhase(phase);
    phase_ends_ns_ = Now() + absl::ToInt64Nanoseconds(lasts);
    if (auto ending = WaitUntil(phase_ends_ns_)) return ending;
  }
  return std::nullopt;
}

// Of all loads that have steps, or only those of which the plan made the steps when faults are to come.
absl::Status Run::StartSteps(PhaseEvent::Phase phase) {
  StartStepsRequest request = Named<StartStepsRequest>();
  if (phase == PhaseEvent::LIMITS && !plan_.faults.empty()) {
    for (const Load& load : scenario_.load()) {
      if (HasPlannedSteps(load)) request.add_loads(load.name());
    }
  }
  for (const Assertion& assertion : scenario_.assertions()) {
    if (!assertion.rate_limiter().retry_after()) continue;
    RetryRejected& retry = *request.add_retry();
    retry.set_load(assertion.rate_limiter().load());
    *retry.mutable_every() = FromDuration(RetryEvery(assertion.rate_limiter()));
    *retry.mutable_rest() = FromDuration(RetryRest(assertion.rate_limiter()));
  }
  const absl::Status status = agents_->ForEach([&](Agents::Member& agent) {
    StartStepsReply reply;
    return agent.client->Call(&Agent::Stub::StartSteps, request, reply);
  });
  if (status.ok()) EnterPhase(phase);
  return status;
}

// A fault that repeats is about to be injected again.
bool BeginsAgain(absl::Span<const Action> actions) {
  return std::any_of(actions.begin(), actions.end(), [](const Action& action) { return action.inject && !action.fault->repeats().empty(); });
}

Run::Ending Run::Drive() {
  const Ending set_up = SetUp();
  if (set_up.how != Footer::ENDING_UNSPECIFIED) return set_up;

  EnterPhase(PhaseEvent::BASELINE);
  phase_ends_ns_ = load_started_ns_ + absl::ToInt64Nanoseconds(plan_.baseline);
  if (auto ending = WaitUntil(phase_ends_ns_)) return *ending;
  if (const std::string violation = SteadyViolation(SoFar()); !violation.empty()) return {Footer::NOT_STEADY, violation};

  if (plan_.limits > absl::ZeroDuration()) {
    if (const absl::Status status = StartSteps(PhaseEvent::LIMITS); !status.ok()) return CallFailed("load", status);
    if (auto ending = WaitUntil(Now() + absl::ToInt64Nanoseconds(plan_.limits))) return *ending;
    if (plan_.faults.empty()) return {Footer::COMPLETED, ""};
  }
  for (const auto step : {&Run::Rest, &Run::GoOn}) {
    if (auto ending = (this->*step)()) return *ending;
  }
  if (const absl::Status status = StartSteps(PhaseEvent::FAULTS); !status.ok()) return CallFailed("load", status);
  faults_started_ns_ = Now();
  for (FaultClock clock(plan_); !clock.Next().empty();) {
    if (auto ending = WaitUntil(faults_started_ns_ + absl::ToInt64Nanoseconds(clock.Due()))) return *ending;
    const int64_t began_ns = Now();
    if (BeginsAgain(clock.Next())) {
      for (const auto step : {&Run::Rest, &Run::GoOn}) {
        if (auto ending = (this->*step)()) return *ending;
      }
    }
    if (auto ending = Step(clock.Next())) return *ending;
    clock.Done(absl::Nanoseconds(Now() - began_ns));
  }

  EnterPhase(PhaseEvent::RECOVERY);
  recovery_started_ns_ = Now();
  phase_ends_ns_ = recovery_started_ns_ + absl::ToInt64Nanoseconds(plan_.recovery);
  if (auto ending = WaitUntil(phase_ends_ns_, [this] { return AllFinal(); })) return *ending;
  for (const auto step : {&Run::CutAndRestore, &Run::Rest}) {
    if (auto ending = (this->*step)()) return *ending;
  }
  if (plan_.rest > absl::ZeroDuration() && AnyLeak(SoFar())) {
    // What holds it, and for how long it has: said once, since a whole dump stops the service for a moment.
    if (auto ending = TakeSnapshot(ProcessSnapshot::LEAKED)) return *ending;
  }
  return {Footer::COMPLETED, ""};
}

// Heals and stops everything on all agents at the same time. Whatever is not confirmed is noted.
void Run::Finish(bool at_once) {
  absl::Mutex mutex;
  std::vector<std::string> not_healed;
  std::map<std::string, FinishReply> replies;  // by agent, in their order
  agents_->ForEach([&](Agents::Member& agent) {
    if (agent.finished) return absl::OkStatus();
    FinishRequest request = Named<FinishRequest>();
    request.set_at_once(at_once);
    FinishReply reply;
    const absl::Status status = agent.client->Call(&Agent::Stub::Finish, request, reply);
    absl::MutexLock lock(&mutex);
    const std::string of = agent.label.empty() ? "" : absl::StrCat(agent.label, ": ");
    for (const std::string& left : reply.not_healed()) not_healed.push_back(absl::StrCat(of, left));
    for (const std::string& note : reply.notes()) Say(absl::StrCat(of, note));
    agent.finished = status.ok();
    if (status.ok()) replies[agent.name] = reply;
    if (!status.ok() && !absl::IsNotFound(status) && !(absl::IsUnavailable(status) && !agent.name.empty())) {
      not_healed.push_back(absl::StrCat(of, "the agent does not confirm that it healed: ", status.message()));
    }
    return absl::OkStatus();
  }).IgnoreError();
  std::sort(not_healed.begin(), not_healed.end());
  not_healed_.insert(not_healed_.end(), not_healed.begin(), not_healed.end());
  for (auto& [name, reply] : replies) {
    if (!reply.has_digested()) continue;
    reply.mutable_digested()->set_agent(name);
    *footer_.add_digested_hosts() = reply.digested();
    for (HostChange& change : *reply.mutable_host_changes()) {
      change.set_agent(name);
      *footer_.add_host_changes() = std::move(change);
    }
  }
}

void Run::TearDown(const Ending& ending) {
  if (agents_ == nullptr) return;
  LookForLostAgents();
  agents_->FillClocks(footer_);
  const bool orderly = ending.how == Footer::COMPLETED || ending.how == Footer::NOT_STEADY;
  if (orderly) {
    agents_->ForEach([&](Agents::Member& agent) {
      StopLoadReply stopped;
      return agent.client->Call(&Agent::Stub::StopLoad, Named<StopLoadRequest>(), stopped);
    }).IgnoreError();
  }
  doing_ = "healing and stopping services";
  next_progress_ns_ = 0;
  ShowProgress();
  Finish(!orderly || Interrupted());
  // One that was lost on the way heals by itself.
  LookForLostAgents();
  absl::Mutex mutex;
  agents_->ForEach([&](Agents::Member& agent) {
    const bool ended = agent.client->WaitForLastEvent(absl::Seconds(5));
    absl::MutexLock lock(&mutex);
    if (!ended) not_healed_.push_back(agent.label.empty() ? "the agent does not end the run" : absl::StrCat(agent.label, " does not end the run"));
    return absl::OkStatus();
  }).IgnoreError();
  const absl::Status child = agents_->WaitForChild(absl::Seconds(5));
  if (!child.ok()) Say(absl::StrCat("agent: ", child.message()));
  agents_.reset();
}

absl::StatusOr<FinishedRun> Run::Execute() {
  const absl::Status begun = Begin();
  if (!begun.ok()) return begun;
  Ending ending = Drive();
  TearDown(ending);
  phase_ = PhaseEvent::DONE;
  bool has_header = false;
  {
    absl::MutexLock lock(&mutex_);
    // Whatever failed for it: this is why.
    if (!ended_.by().empty()) {
      ending = {Footer::INTERRUPTED, absl::StrCat("ended by ", ended_.by(), " through squall heal")};
      not_healed_.assign(ended_.not_healed().begin(), ended_.not_healed().end());
    }
    has_header = timeline_.header.run_id() == run_id_;
  }
  if (!has_header) {
    Record header;
    *header.mutable_header() = header_;
    Append(header);
  }
  EnterPhase(PhaseEvent::DONE);
  Record footer;
  *footer.mutable_footer() = footer_;
  for (LostAgent& lost : lost_agents_) *footer.mutable_footer()->add_lost_agents() = std::move(lost);
  footer.mutable_footer()->set_ending(ending.how);
  footer.mutable_footer()->set_reason(ending.reason);
  footer.mutable_footer()->set_at_ns(Now());
  for (const std::string& left : not_healed_) footer.mutable_footer()->add_not_healed(left);
  Append(footer);
  for (const auto& [service, log] : logs_) {
    if (log != nullptr) fclose(log);
  }
  {
    absl::MutexLock lock(&mutex_);
    const absl::Status closed = writer_->Close();
    if (write_status_.ok()) write_status_ = closed;
    if (!write_status_.ok()) return write_status_;
  }
  // From the file, so that `squall judge` can but say the same.
  absl::StatusOr<Judged> judged = JudgeFolder(folder_, options_.inconclusive_fails);
  if (!judged.ok()) return judged.status();
  return FinishedRun{std::move(judged->result), std::move(judged->timeline), folder_};
}

}  // namespace

absl::StatusOr<FinishedRun> RunScenario(const LoadedScenario& loaded, const RunOptions& options) {
  return Run(loaded, options).Execute();
}

}  // namespace squall
