#include "controller/run.h"

#include <pwd.h>
#include <unistd.h>

#include <cstdio>
#include <filesystem>
#include <future>
#include <random>
#include <set>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/clock.h"
#include "base/clock.h"
#include "base/text.h"
#include "controller/agent_client.h"
#include "controller/assertions/judge.h"
#include "controller/limiter_steps.h"
#include "controller/live.h"
#include "controller/rebase.h"
#include "controller/run_folder.h"
#include "controller/scalars.h"

namespace squall {
namespace {

constexpr char kVersion[] = "0.1.0";
constexpr absl::Duration kTick = absl::Milliseconds(5);
constexpr absl::Duration kProgressEvery = absl::Milliseconds(250);

std::string HostName() {
  char name[256] = {};
  gethostname(name, sizeof(name) - 1);
  return name;
}

std::string UserName() {
  const passwd* entry = getpwuid(geteuid());
  return entry == nullptr ? absl::StrCat("uid ", geteuid()) : entry->pw_name;
}

// Sorts as it was started, and tells at a glance what it was.
std::string MakeRunId(const std::string& scenario, absl::Time now, uint64_t random) {
  return absl::StrCat(absl::FormatTime("%Y%m%dT%H%M%SZ", now, absl::UTCTimeZone()), "-", scenario, "-",
                      absl::StrFormat("%06x", random & 0xffffff));
}

// One action of the faults' clock.
struct Action {
  absl::Duration at;
  bool inject;
  const Fault* fault;
};

std::vector<Action> Actions(const Plan& plan) {
  std::vector<Action> actions;
  for (const PlannedFault& planned : plan.faults) {
    actions.push_back({planned.at, true, planned.fault});
    actions.push_back({planned.until, false, planned.fault});
  }
  // What ends makes room before what begins; a fault without length begins before it ends.
  std::stable_sort(actions.begin(), actions.end(), [](const Action& a, const Action& b) {
    if (a.at != b.at) return a.at < b.at;
    return !a.inject && b.inject && a.fault != b.fault;
  });
  return actions;
}

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
  std::optional<Ending> Step(const Action& action);
  std::optional<Ending> Await(std::future<absl::Status> call, const std::string& what);
  bool AllFinal();
  void TearDown(const Ending& ending);

  void OnEvent(AgentEvent event);
  void Append(const Record& record);
  void EnterPhase(PhaseEvent::Phase phase);
  void Say(const std::string& line) {
    if (options_.on_event) options_.on_event(line);
  }
  void ShowProgress();
  Ending HarnessFailed(const std::string& what, const absl::Status& status) {
    return {Footer::HARNESS_FAILED, absl::StrCat(what, ": ", status.message())};
  }
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
  int64_t clock_ahead_ns_ = 0;
  int64_t load_started_ns_ = 0;
  int64_t faults_started_ns_ = 0;
  int64_t phase_ends_ns_ = 0;
  Header header_;
  std::unique_ptr<AgentClient> agent_;
  std::map<std::string, FILE*> logs_;
  std::set<std::string> injected_;
  PhaseEvent::Phase phase_ = PhaseEvent::PHASE_UNSPECIFIED;
  std::string doing_;
  int64_t next_progress_ns_ = 0;
  int64_t next_guard_ns_ = 0;
  std::vector<std::string> not_healed_;

  absl::Mutex mutex_;
  std::optional<TimelineWriter> writer_ ABSL_GUARDED_BY(mutex_);
  Timeline timeline_ ABSL_GUARDED_BY(mutex_);
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
  Rebase(*event.mutable_record(), started_ns_ + clock_ahead_ns_);
  if (event.record().has_service()) {
    const ServiceEvent& service = event.record().service();
    if (service.what() == ServiceEvent::EXITED && !service.expected()) {
      Say(absl::StrCat(service.service(), " (pid ", service.pid(), ") ", service.message()));
    }
  }
  Append(event.record());
}

void Run::EnterPhase(PhaseEvent::Phase phase) {
  phase_ = phase;
  Record record;
  record.mutable_phase()->set_phase(phase);
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
    if (agent_->StreamIsOver()) {
      return Ending{Footer::HARNESS_FAILED, "the agent is gone, or did not hear from this controller within its lease"};
    }
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

// Waits for a call that may take long, and goes on watching meanwhile.
std::optional<Run::Ending> Run::Await(std::future<absl::Status> call, const std::string& what) {
  while (call.wait_for(std::chrono::milliseconds(5)) != std::future_status::ready) {
    ShowProgress();
    if (!Interrupted()) continue;
    // Cuts the call short on the agent's side as well.
    FinishRequest finish = Named<FinishRequest>();
    finish.set_at_once(true);
    FinishReply reply;
    agent_->Call(&Agent::Stub::Finish, finish, reply).IgnoreError();
    not_healed_.assign(reply.not_healed().begin(), reply.not_healed().end());
    call.wait();
    return Ending{Footer::INTERRUPTED, "interrupted"};
  }
  const absl::Status status = call.get();
  if (!status.ok()) return HarnessFailed(what, status);
  return std::nullopt;
}

Run::Ending Run::SetUp() {
  doing_ = "starting the agent";
  ShowProgress();
  absl::StatusOr<std::unique_ptr<AgentClient>> agent =
      options_.agent.empty() ? AgentClient::StartChild() : AgentClient::Connect(options_.agent);
  if (!agent.ok()) return HarnessFailed("no agent", agent.status());
  agent_ = *std::move(agent);
  const absl::StatusOr<AgentClient::Clock> clock = agent_->ReadClock();
  if (!clock.ok()) return HarnessFailed("the agent does not answer", clock.status());
  clock_ahead_ns_ = clock->ahead_ns;
  header_.set_clock_uncertainty_ns(clock->uncertainty_ns);

  // Before the stream opens: the header is the first record.
  PrepareRequest prepare = Named<PrepareRequest>();
  *prepare.mutable_scenario() = scenario_;
  prepare.set_seed(scenario_.seed());
  std::error_code error;
  const std::string folder = std::filesystem::absolute(std::filesystem::path(loaded_.path), error).parent_path().string();
  prepare.set_folder(folder);
  const absl::Status late = PutInLate(*prepare.mutable_scenario(),
                                      {std::filesystem::absolute(folder_, error).string(), folder});
  for (const Edge& edge : scenario_.edges()) {
    (*header_.mutable_edge_mechanisms())[edge.name()] =
        edge.relay_at().empty() ? "connects redirected by cgroup BPF" : absl::StrCat("relay at ", edge.relay_at());
  }
  Record header;
  *header.mutable_header() = header_;
  Append(header);
  if (!late.ok()) return HarnessFailed("secrets", late);

  const absl::Time now = absl::Now();
  const std::string holder = absl::StrCat(
      "run ", run_id_, " of ", UserName(), "@", HostName(), " since ",
      absl::FormatTime("%H:%M:%S", now, absl::LocalTimeZone()), " until ",
      absl::FormatTime("%H:%M:%S", now + plan_.Longest() + absl::Seconds(30), absl::LocalTimeZone()), " at the latest");
  absl::Status status = agent_->Open(run_id_, holder, plan_.Longest() + absl::Seconds(30),
                                     [this](AgentEvent event) { OnEvent(std::move(event)); });
  if (!status.ok()) return HarnessFailed("the agent refuses the run", status);
  PrepareReply prepared;
  status = agent_->Call(&Agent::Stub::Prepare, prepare, prepared);
  if (!status.ok()) return HarnessFailed("this host cannot do it, and nothing was touched", status);

  doing_ = "starting services";
  StartServicesReply started;
  std::optional<Ending> ending = Await(std::async(std::launch::async,
                                                  [&] {
                                                    return agent_->Call(&Agent::Stub::StartServices,
                                                                        Named<StartServicesRequest>(), started);
                                                  }),
                                       "services");
  if (ending) return *ending;
  for (const std::string& note : started.notes()) Say(note);
  StartLoadReply load;
  status = agent_->Call(&Agent::Stub::StartLoad, Named<StartLoadRequest>(), load);
  if (!status.ok()) return HarnessFailed("load", status);
  load_started_ns_ = load.started_ns() - clock_ahead_ns_ - started_ns_;
  doing_.clear();
  return {};
}

std::optional<Run::Ending> Run::Step(const Action& action) {
  const std::string& name = action.fault->name();
  FaultReply reply;
  if (action.inject) {
    InjectRequest request = Named<InjectRequest>();
    *request.mutable_fault() = *action.fault;
    injected_.insert(name);
    auto ending = Await(std::async(std::launch::async, [&] { return agent_->Call(&Agent::Stub::Inject, request, reply); }),
                        absl::StrCat("injection of ", name));
    if (!ending) Say(absl::StrCat("injected ", name, ": ", DescribeFault(*action.fault)));
    return ending;
  }
  HealRequest request = Named<HealRequest>();
  request.set_fault(name);
  auto ending = Await(std::async(std::launch::async, [&] { return agent_->Call(&Agent::Stub::Heal, request, reply); }),
                        absl::StrCat("healing of ", name));
  if (ending) return ending;
  injected_.erase(name);
  if (reply.event().state() != FaultEvent::HEALED) {
    not_healed_.push_back(absl::StrCat("fault ", name, ": ", reply.event().message()));
    return Ending{Footer::HARNESS_FAILED, absl::StrCat("healing of ", name, " is not confirmed: ", reply.event().message())};
  }
  // A killed service that is not started again has nothing to heal.
  if (!action.fault->has_kill() || action.fault->kill().has_restart_after()) Say(absl::StrCat("healed ", name));
  return ending;
}

bool Run::AllFinal() {
  absl::MutexLock lock(&mutex_);
  Timeline so_far = timeline_;
  so_far.Sort();
  for (const Judgement& judgement : JudgeAll(so_far)) {
    if (!judgement.final) return false;
  }
  return true;
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
    *retry.mutable_every() = ToProto(RetryEvery(assertion.rate_limiter()));
    *retry.mutable_rest() = ToProto(RetryRest(assertion.rate_limiter()));
  }
  StartStepsReply reply;
  const absl::Status status = agent_->Call(&Agent::Stub::StartSteps, request, reply);
  if (status.ok()) EnterPhase(phase);
  return status;
}

Run::Ending Run::Drive() {
  const Ending set_up = SetUp();
  if (set_up.how != Footer::ENDING_UNSPECIFIED) return set_up;

  EnterPhase(PhaseEvent::BASELINE);
  phase_ends_ns_ = load_started_ns_ + absl::ToInt64Nanoseconds(plan_.baseline);
  if (auto ending = WaitUntil(phase_ends_ns_)) return *ending;
  {
    absl::MutexLock lock(&mutex_);
    Timeline so_far = timeline_;
    so_far.Sort();
    const std::string violation = SteadyViolation(so_far);
    if (!violation.empty()) return {Footer::NOT_STEADY, violation};
  }

  if (plan_.limits > absl::ZeroDuration()) {
    if (const absl::Status status = StartSteps(PhaseEvent::LIMITS); !status.ok()) return HarnessFailed("load", status);
    if (auto ending = WaitUntil(Now() + absl::ToInt64Nanoseconds(plan_.limits))) return *ending;
    if (plan_.faults.empty()) return {Footer::COMPLETED, ""};
  }
  if (const absl::Status status = StartSteps(PhaseEvent::FAULTS); !status.ok()) return HarnessFailed("load", status);
  faults_started_ns_ = Now();
  for (const Action& action : Actions(plan_)) {
    if (auto ending = WaitUntil(faults_started_ns_ + absl::ToInt64Nanoseconds(action.at))) return *ending;
    if (auto ending = Step(action)) return *ending;
  }

  EnterPhase(PhaseEvent::RECOVERY);
  phase_ends_ns_ = Now() + absl::ToInt64Nanoseconds(plan_.recovery);
  if (auto ending = WaitUntil(phase_ends_ns_, [this] { return AllFinal(); })) return *ending;
  return {Footer::COMPLETED, ""};
}

void Run::TearDown(const Ending& ending) {
  if (agent_ == nullptr) return;
  const bool orderly = ending.how == Footer::COMPLETED || ending.how == Footer::NOT_STEADY;
  if (!agent_->StreamIsOver()) {
    if (orderly) {
      StopLoadReply stopped;
      agent_->Call(&Agent::Stub::StopLoad, Named<StopLoadRequest>(), stopped).IgnoreError();
    }
    doing_ = "healing and stopping services";
    next_progress_ns_ = 0;
    ShowProgress();
    FinishRequest request = Named<FinishRequest>();
    request.set_at_once(!orderly || Interrupted());
    FinishReply reply;
    const absl::Status status = agent_->Call(&Agent::Stub::Finish, request, reply);
    for (const std::string& left : reply.not_healed()) not_healed_.push_back(left);
    if (!status.ok() && !absl::IsNotFound(status)) {
      not_healed_.push_back(absl::StrCat("the agent does not confirm that it healed: ", status.message()));
    }
    if (!agent_->WaitForLastEvent(absl::Seconds(5))) not_healed_.push_back("the agent does not end the run");
  }
  const bool child = agent_->child() > 0;
  if (child) {
    const absl::Status status = agent_->WaitForChild(absl::Seconds(5));
    if (!status.ok()) Say(absl::StrCat("agent: ", status.message()));
  }
  agent_.reset();
}

absl::StatusOr<FinishedRun> Run::Execute() {
  const absl::Status begun = Begin();
  if (!begun.ok()) return begun;
  const Ending ending = Drive();
  TearDown(ending);
  phase_ = PhaseEvent::DONE;
  bool has_header = false;
  {
    absl::MutexLock lock(&mutex_);
    has_header = timeline_.header.run_id() == run_id_;
  }
  if (!has_header) {
    Record header;
    *header.mutable_header() = header_;
    Append(header);
  }
  EnterPhase(PhaseEvent::DONE);
  Record footer;
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
  absl::StatusOr<Judged> judged = JudgeFolder(folder_, /*inconclusive_fails=*/true);
  if (!judged.ok()) return judged.status();
  return FinishedRun{std::move(judged->result), std::move(judged->timeline), folder_};
}

}  // namespace

absl::StatusOr<FinishedRun> RunScenario(const LoadedScenario& loaded, const RunOptions& options) {
  return Run(loaded, options).Execute();
}

}  // namespace squall
