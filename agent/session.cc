#include "agent/session.h"

#include <algorithm>
#include <functional>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/time/clock.h"
#include "agent/edge_checks.h"
#include "agent/plan_checks.h"
#include "agent/process/cgroup.h"
#include "agent/process/spawn.h"
#include "base/clock.h"
#include "base/durations.h"
#include "base/fnv.h"
#include "base/messages.h"
#include "base/version.h"

namespace squall {
namespace {

// What is still in flight when the load has stopped is not waited for any longer.
constexpr absl::Duration kLongestWait = absl::Seconds(5);
// Until a name server that the run starts can be asked.
constexpr absl::Duration kNameServerStarts = absl::Seconds(3);
// How long a living agent may take to undo everything before its guardian takes it for hung.
constexpr absl::Duration kUndoneWithin = absl::Seconds(15);

// The controllers on which faults will act on the service.
std::set<std::string> ControllersFor(const Scenario& scenario, const std::string& service) {
  std::set<std::string> controllers;
  for (const Fault& fault : scenario.faults()) {
    if (fault.cpu().service() == service && fault.has_cpu()) controllers.insert("cpu");
    if (fault.memory().service() == service && fault.memory().has_limit()) controllers.insert("memory");
    if (fault.pids().service() == service && fault.has_pids()) controllers.insert("pids");
  }
  return controllers;
}

// The service whose processes the fault stops, signals or limits one by one; empty: none.
std::string ProcessesTouchedBy(const Fault& fault) {
  if (fault.has_kill()) return fault.kill().service();
  if (fault.has_pause()) return fault.pause().service();
  return fault.has_fds() ? fault.fds().service() : "";
}

// What the fault's own message says in the field; nothing where its kind has no such field.
std::optional<std::string> NameIn(const Fault& fault, const std::string& field) {
  const auto* kind = KindField(fault);
  const auto* name = kind == nullptr ? nullptr : kind->message_type()->FindFieldByName(field);
  if (name == nullptr || name->cpp_type() != google::protobuf::FieldDescriptor::CPPTYPE_STRING) return std::nullopt;
  const google::protobuf::Message& message = fault.GetReflection()->GetMessage(fault, kind);
  return message.GetReflection()->GetString(message, name);
}

uint64_t SeedOf(int64_t run_seed, const std::string& fault) {
  return Fnv1a(fault, static_cast<uint64_t>(run_seed));
}

}  // namespace

Session::Session(std::string run_id, std::string holder, absl::Duration lease, absl::Duration expected,
                 MainThread* main_thread, Journal* journal)
    : run_id_(std::move(run_id)),
      holder_(std::move(holder)),
      lease_(lease),
      expected_(expected),
      started_(absl::Now()),
      main_thread_(main_thread),
      journal_(journal),
      renewed_ns_(BootNanos()),
      host_watch_(journal),
      names_([this](const std::string& edge, const std::vector<Address>& now, const std::vector<Address>& ever) {
        return MoveEdge(edge, now, ever);
      }) {
  heartbeat_ = std::make_unique<Heartbeat>([this](Stall stall) {
    Record record;
    *record.mutable_stall() = std::move(stall);
    events_.Push(std::move(record));
  });
  relay_ = std::make_unique<Relay>([this](const std::string& edge, const SeenCall& call) { calls_.Add(edge, call); });
  queued_edges_ = std::make_unique<QueuedEdges>(&services_, relay_.get());
  watcher_ = std::thread([this] { Watch(); });
}

Session::~Session() {
  Cancel();
  Finish(absl::ZeroDuration());
}

void Session::Renew() { renewed_ns_ = BootNanos(); }

bool Session::LeaseIsOver() const { return BootNanos() - renewed_ns_ > absl::ToInt64Nanoseconds(lease_); }

int64_t Session::ExpiresNs() const {
  const int64_t finishes_by_ns = finishes_by_ns_;
  const int64_t lease_ns = absl::ToInt64Nanoseconds(lease_);
  if (finishes_by_ns == INT64_MAX) return renewed_ns_ + lease_ns;
  // One that is stopped while it undoes no longer asks, and is known as soon as before.
  return std::min(finishes_by_ns, BootNanos() + lease_ns);
}

absl::StatusOr<PrepareReply> Session::Prepare(const PrepareRequest& request) {
  absl::MutexLock lock(&mutex_);
  if (finished_) return absl::FailedPreconditionError("the run is over");
  if (!services_.empty()) return absl::FailedPreconditionError("the run is prepared already");
  absl::StatusOr<PrepareReply> reply = CheckPlan(request.scenario(), request.folder());
  if (!reply.ok()) return reply;
  request_ = request;
  own_listeners_ = OwnListeners();
  {
    absl::MutexLock shown_lock(&shown_mutex_);
    shown_.scenario = request.scenario().name();
    for (const Service& service : request.scenario().services()) shown_.services.push_back(service.name());
  }
  host_watch_.Begin();
  return reply;
}

absl::StatusOr<StartServicesReply> Session::StartServices() {
  absl::MutexLock lock(&mutex_);
  if (finished_) return absl::FailedPreconditionError("the run is over");
  if (!services_.empty()) return absl::FailedPreconditionError("the services are started already");
  StartServicesReply reply;
  watches_.StartLogs(request_.scenario(), request_.folder());
  for (const Service& service : request_.scenario().services()) {
    services_[service.name()] = std::make_unique<RunningService>(
        service, RunningService::Context{request_.folder(), holder_, main_thread_, journal_, &events_,
                                         ControllersFor(request_.scenario(), service.name()), watches_.PrintedBy(service.name())});
  }
  // In the order of the scenario, so that what fails first is what the reader sees first.
  const auto each = [&](const std::function<absl::Status(RunningService&)>& step) -> absl::Status {
    for (const Service& service : request_.scenario().services()) {
      const absl::Status status = step(*services_.at(service.name()));
      if (!status.ok()) return status;
    }
    return absl::OkStatus();
  };
  const bool services_started =
      std::any_of(services_.begin(), services_.end(), [](const auto& service) { return service.second->IsRun(); });
  absl::Status status = each([](RunningService& service) {
    const absl::Status claimed = service.Claim();
    return claimed.ok() ? claimed
                        : absl::Status(claimed.code(), absl::StrCat("service ", service.name(), ": ", claimed.message()));
  });
  watching_services_ = true;
  // One that could not be found before is known now.
  if (status.ok()) status = CheckTargets(request_.scenario());
  if (status.ok()) status = OpenEdges();
  if (names_.HasNames()) {
    resolvers_.TellAnswers([this](const std::string& service, const std::string& name, const std::vector<Address>& addresses) {
      names_.Told(service, name, addresses);
    });
  }
  if (status.ok()) status = resolvers_.Open(request_.scenario(), services_);
  if (status.ok()) status = packet_hooks_.Open(request_.scenario(), services_, relay_.get());
  watching_edges_ = true;
  std::vector<std::string> ended;
  if (status.ok()) status = live_edges_.Reset(cancelled_, ended);
  for (std::string& note : ended) reply.add_notes(std::move(note));
  if (status.ok()) {
    status = each([this](RunningService& s) {
      if (!s.IsRun()) return absl::OkStatus();
      // Its name server may be a service that was started before it: its first connects are to be redirected too.
      if (!EntersNamespace(*FindNamed(request_.scenario().services(), s.name()))) {
        names_.Await(s.name(), kNameServerStarts, cancelled_).IgnoreError();
      }
      return s.Start();
    });
  }
  if (status.ok()) status = each([&](RunningService& s) { return s.WaitReady([this] { return cancelled_.load(); }); });
  if (status.ok()) status = each([&](RunningService& s) { return FollowNamespace(s); });
  if (status.ok()) status = names_.Await("", services_started ? kNameServerStarts : absl::ZeroDuration(), cancelled_);
  if (status.ok()) status = StartWatches();
  if (!status.ok()) return status;
  names_.Start();
  return reply;
}

RunningService* Session::Of(const Edge& edge) const { return services_.at(edge.from()).get(); }

absl::Status Session::OpenEdges() {
  for (const Edge& edge : request_.scenario().edges()) {
    const absl::Status status = OpenEdge(edge);
    if (!status.ok()) return absl::Status(status.code(), absl::StrCat("edge ", edge.name(), ": ", status.message()));
  }
  return absl::OkStatus();
}

absl::Status Session::OpenEdge(const Edge& edge) {
  RunningService& service = *Of(edge);
  Relay::EdgeOptions options;
  options.name = edge.name();
  options.parse_http = edge.protocol() != Edge::PROTOCOL_TCP;
  options.deadline_header = edge.deadline_header();
  // A service that is yet to be started is taken to be in the agent's namespace; FollowNamespace looks again.
  absl::StatusOr<NetNamespace> ns = service.IsRun() && !service.Leader() ? NetNamespace::Own() : service.Namespace();
  if (!ns.ok()) return ns.status();
  namespaces_.push_back(std::make_unique<NetNamespace>(*std::move(ns)));
  // Names are looked up as the agent does while the service is yet to be started, but not for one that will see others.
  const bool as_agent = service.IsRun() && !EntersNamespace(*FindNamed(request_.scenario().services(), edge.from()));
  const auto process = [&service, as_agent]() -> std::optional<pid_t> {
    if (const std::optional<ProcessId> leader = service.Leader()) return leader->pid;
    return as_agent ? std::optional<pid_t>(0) : std::nullopt;
  };
  absl::StatusOr<std::vector<Address>> to =
      names_.Open(edge, *FindNamed(request_.scenario().services(), edge.from()), process, *namespaces_.back());
  if (!to.ok()) return to.status();
  options.to = *std::move(to);
  for (const Address& address : options.to) {
    const absl::Status not_own = CheckNotOwn(edge, *namespaces_.back(), address, own_listeners_);
    if (!not_own.ok()) return not_own;
  }
  edge_peers_.SetAddresses(edge.name(), *namespaces_.back(), options.to);
  const absl::Status known = queued_edges_->SetAddresses(edge, options.to);
  if (!known.ok()) return known;
  if (edge.protocol() == Edge::PROTOCOL_UDP) return packet_hooks_.SetAddresses(edge, options.to);
  if (!edge.relay_at().empty()) {
    const absl::StatusOr<std::vector<Address>> at = ResolveAddress(edge.relay_at());
    if (!at.ok()) return at.status();
    options.relay_at = at->front();
  } else {
    std::unique_ptr<Intercept>& intercept = intercepts_[edge.from()];
    if (intercept == nullptr) {
      // Sockets stay in the cgroup in which they were made. Processes that squall did not start may be moved: at the root every
      // socket is seen, whichever its cgroup, and those that they make are marked.
      const absl::StatusOr<std::string> folder = service.IsRun() ? service.CgroupFolder() : CgroupV2Mount();
      if (!folder.ok()) return folder.status();
      absl::StatusOr<std::unique_ptr<Intercept>> attached = Intercept::Attach(*folder, /*by_process=*/!service.IsRun());
      if (!attached.ok()) return attached.status();
      intercept = *std::move(attached);
    }
    options.intercept = intercept.get();
    const absl::Status marked = FollowProcesses(service, *intercept);
    if (!marked.ok()) return marked;
  }
  absl::Status status = relay_->Open(options, *namespaces_.back());
  if (status.ok() && options.intercept != nullptr) status = options.intercept->SetNamespace(*namespaces_.back());
  if (status.ok()) status = packet_hooks_.SetAddresses(edge, options.to);
  if (status.ok() && options.intercept != nullptr && !service.IsRun()) {
    status = live_edges_.Add(edge, options.to, *namespaces_.back(), [&service] { return service.Processes(); });
  }
  return status;
}

absl::Status Session::MoveEdge(const std::string& name, const std::vector<Address>& now, const std::vector<Address>& ever) {
  for (const Edge& edge : request_.scenario().edges()) {
    if (edge.name() != name) continue;
    const absl::StatusOr<NetNamespace> ns = Of(edge)->Leader() ? Of(edge)->Namespace() : NetNamespace::Own();
    for (const Address& address : now) {
      const absl::Status not_own = ns.ok() ? CheckNotOwn(edge, *ns, address, own_listeners_) : absl::OkStatus();
      if (!not_own.ok()) return not_own;
    }
    if (ns.ok()) edge_peers_.SetAddresses(name, *ns, now);
    absl::Status status = edge.protocol() == Edge::PROTOCOL_UDP ? absl::OkStatus() : relay_->SetAddresses(name, now);
    if (status.ok()) status = packet_hooks_.SetAddresses(edge, ever);
    if (status.ok()) status = queued_edges_->SetAddresses(edge, ever);
    live_edges_.SetAddresses(name, ever);
    return status;
  }
  return absl::OkStatus();
}

absl::Status Session::FollowNamespace(RunningService& service) {
  if (!service.IsRun()) return absl::OkStatus();
  const absl::StatusOr<NetNamespace> ns = service.Namespace();
  if (!ns.ok()) return ns.status();
  if (ns->IsOwn()) return absl::OkStatus();
  for (const Edge& edge : request_.scenario().edges()) {
    if (edge.from() != service.name()) continue;
    const absl::Status status = OpenEdge(edge);
    if (!status.ok()) return absl::Status(status.code(), absl::StrCat("edge ", edge.name(), ": ", status.message()));
  }
  return resolvers_.Move(service.name());
}

std::string Session::Called(const std::string& peer) {
  for (const Edge& edge : request_.scenario().edges()) {
    for (const Address& listener : relay_->Listeners(edge.name())) {
      if (listener.ToString() == peer) return absl::StrJoin(edge.to(), ", ");
    }
  }
  return peer;
}

absl::Status Session::StartWatches() {
  const absl::Status status = watches_.Start(
      request_.scenario(), services_, [this](const std::string& peer) { return Called(peer); }, [this] { return cancelled_.load(); });
  watching_leaks_ = true;
  return status;
}

absl::StatusOr<int64_t> Session::StartLoad() {
  absl::MutexLock lock(&mutex_);
  if (finished_) return absl::FailedPreconditionError("the run is over");
  int64_t started = 0;
  for (const Load& load : request_.scenario().load()) {
    absl::StatusOr<std::unique_ptr<LoadGenerator>> running =
        LoadGenerator::Start(load, run_id_, SeedOf(request_.seed(), load.name()),
                             [this](Record record) { events_.Push(std::move(record)); }, request_.folder());
    if (!running.ok()) return running.status();
    if (started == 0) started = (*running)->StartedNs();
    loads_.push_back(*std::move(running));
    loads_by_name_[load.name()] = loads_.back().get();
  }
  return started == 0 ? BootNanos() : started;
}

void Session::StartSteps(const StartStepsRequest& request) {
  absl::MutexLock lock(&mutex_);
  for (size_t i = 0; i < loads_.size(); ++i) {
    const std::string& name = request_.scenario().load(static_cast<int>(i)).name();
    const bool named = std::find(request.loads().begin(), request.loads().end(), name) != request.loads().end();
    if (!request.loads().empty() && !named) continue;
    std::optional<Retries::Rules> retry;
    for (const RetryRejected& rejected : request.retry()) {
      if (rejected.load() != name) continue;
      retry = Retries::Rules{absl::ToInt64Nanoseconds(ToDuration(rejected.every())),
                             absl::ToInt64Nanoseconds(ToDuration(rejected.rest()))};
    }
    loads_[i]->StartSteps(retry);
  }
}

absl::Status Session::ShareLoad(double share) {
  absl::MutexLock lock(&mutex_);
  if (finished_) return absl::FailedPreconditionError("the run is over");
  for (const auto& load : loads_) {
    const absl::Status status = load->SetShare(share);
    if (!status.ok()) return status;
  }
  watches_.SetResting(share == 0);
  return absl::OkStatus();
}

absl::Status Session::TakeSnapshot(ProcessSnapshot::Moment moment, int32_t cycle) {
  absl::MutexLock lock(&mutex_);
  if (finished_) return absl::FailedPreconditionError("the run is over");
  if (moment == ProcessSnapshot::MOMENT_UNSPECIFIED || !ProcessSnapshot::Moment_IsValid(moment)) {
    return absl::InvalidArgumentError("the moment of the snapshot is missing");
  }
  watches_.TakeSnapshots(moment, cycle);
  return absl::OkStatus();
}

void Session::StopLoad() {
  absl::MutexLock lock(&mutex_);
  // All at once: the patience of one is no reason for another to go on.
  std::vector<std::thread> stopping;
  for (size_t i = 0; i < loads_.size(); ++i) {
    const auto& patience = request_.scenario().load(static_cast<int>(i)).give_up_after();
    stopping.emplace_back([this, i, &patience] {
      loads_[i]->Stop(std::min(kLongestWait, ToDuration(patience)));
    });
  }
  for (std::thread& thread : stopping) thread.join();
}

Evidence Session::SeenOf(const Injected& injected) {
  if (injected.fault == nullptr) return injected.seen;
  Evidence evidence = injected.fault->Seen();
  live_edges_.AddTo(injected.spec, evidence);
  return evidence;
}

FaultEvent Session::Tell(const std::string& fault, FaultEvent::State state, std::string message) {
  watches_.TellLogs();
  Record record;
  FaultEvent& event = *record.mutable_fault();
  event.set_fault(fault);
  event.set_at_ns(BootNanos());
  event.set_state(state);
  event.set_message(std::move(message));
  const auto found = faults_.find(fault);
  if (found != faults_.end()) *event.mutable_evidence() = SeenOf(found->second);
  FaultEvent told = event;
  Note(told);
  events_.Push(std::move(record));
  return told;
}

// Keeps what others are shown in step with what the controller is told.
void Session::Note(const FaultEvent& event) {
  absl::MutexLock lock(&shown_mutex_);
  const auto shown = shown_.faults.find(event.fault());
  if (shown == shown_.faults.end()) return;
  shown->second.evidence = event.evidence();
  if (event.state() == FaultEvent::HEALED) shown_.faults.erase(shown);
}

HeldRun Session::Describe() {
  if (mutex_.TryLock()) {
    absl::MutexLock lock(&shown_mutex_);
    for (auto& [name, shown] : shown_.faults) {
      const auto injected = faults_.find(name);
      if (injected != faults_.end() && !finished_) shown.evidence = SeenOf(injected->second);
    }
    mutex_.Unlock();
  }
  const int64_t now = BootNanos();
  HeldRun held;
  held.set_run_id(run_id_);
  held.set_holder(holder_);
  held.set_started_unix_ns(absl::ToUnixNanos(started_));
  held.set_until_unix_ns(absl::ToUnixNanos(started_ + expected_));
  *held.mutable_lease() = FromDuration(lease_);
  *held.mutable_renewed_ago() = FromDuration(absl::Nanoseconds(now - renewed_ns_));
  absl::MutexLock lock(&shown_mutex_);
  held.set_scenario(shown_.scenario);
  for (const std::string& service : shown_.services) held.add_services(service);
  for (const auto& [name, shown] : shown_.faults) {
    HeldFault& fault = *held.add_faults();
    *fault.mutable_fault() = shown.fault;
    *fault.mutable_since() = FromDuration(absl::Nanoseconds(now - shown.since_ns));
    *fault.mutable_evidence() = shown.evidence;
  }
  return held;
}

FinishReply Session::End(const std::string& by) {
  Cancel();
  FinishReply reply = Finish(absl::ZeroDuration());
  Ended ended;
  ended.set_by(by);
  *ended.mutable_not_healed() = reply.not_healed();
  events_.PushEnded(std::move(ended));
  events_.Close();
  return reply;
}

absl::StatusOr<FaultEvent> Session::Inject(const Fault& fault) {
  absl::MutexLock lock(&mutex_);
  if (finished_) return absl::FailedPreconditionError("the run is over");
  if (faults_.count(fault.name()) > 0) return absl::AlreadyExistsError("the fault is injected already");
  const FaultContext context = {relay_.get(), &services_, SeedOf(request_.seed(), fault.name()), &cancelled_,
                                main_thread_, journal_, resolvers_.by_service(), request_.folder(),
                                packet_hooks_.places(), queued_edges_.get(), &loads_by_name_};
  if (const std::optional<std::string> service = NameIn(fault, "service"); service && services_.count(*service) == 0) {
    return absl::InvalidArgumentError(absl::StrCat("the run has no service '", *service, "'"));
  }
  if (const std::optional<std::string> load = NameIn(fault, "load"); load && loads_by_name_.count(*load) == 0) {
    return absl::InvalidArgumentError(absl::StrCat("the run sends no load '", *load, "'"));
  }
  if (const auto touched = services_.find(ProcessesTouchedBy(fault)); touched != services_.end()) {
    host_watch_.NoteTargets(touched->second->Processes());
  }
  std::unique_ptr<ActiveFault> active = MakeFault(RampedAt(fault, absl::ZeroDuration()), context);
  live_edges_.Begin(fault);
  const absl::Status status = active->Inject();
  host_watch_.NoteUndos();
  faults_[fault.name()] = {fault, std::move(active), {}};
  if (!status.ok()) {
    faults_[fault.name()].fault->Heal(HealFor::kRunOver).IgnoreError();
    Tell(fault.name(), FaultEvent::INJECTION_FAILED, std::string(status.message()));
    return status;
  }
  {
    absl::MutexLock shown_lock(&shown_mutex_);
    shown_.faults[fault.name()] = {fault, BootNanos(), {}};
  }
  Injected& injected = faults_[fault.name()];
  if (fault.has_ramp()) injected.ramp.emplace(fault, injected.fault.get(), BootNanos());
  watches_.SetActing(true);
  return Tell(fault.name(), FaultEvent::INJECTED, "");
}

absl::StatusOr<FaultEvent> Session::Heal(const std::string& fault) {
  absl::MutexLock lock(&mutex_);
  if (finished_) return absl::FailedPreconditionError("the run is over");
  const auto found = faults_.find(fault);
  if (found == faults_.end()) return absl::NotFoundError(absl::StrCat("fault '", fault, "' is not injected"));
  host_watch_.NoteUndos();
  Tell(fault, FaultEvent::HEALING, "");
  Injected& injected = found->second;
  injected.ramp.reset();
  const absl::Status status = injected.fault == nullptr ? absl::OkStatus() : injected.fault->Heal(HealFor::kFaultOver);
  live_edges_.End(fault);
  if (!status.ok()) return Tell(fault, FaultEvent::HEALING_NOT_CONFIRMED, std::string(status.message()));
  FaultEvent healed = Tell(fault, FaultEvent::HEALED, "");
  injected.seen = healed.evidence();
  injected.fault.reset();
  watches_.SetActing(std::any_of(faults_.begin(), faults_.end(), [](const auto& each) { return each.second.fault != nullptr; }));
  return healed;
}

FinishReply Session::Finish(absl::Duration drain) {
  absl::MutexLock lock(&mutex_);
  if (finished_) return finish_reply_;
  finished_ = true;
  finishes_by_ns_ = BootNanos() + absl::ToInt64Nanoseconds(drain + kUndoneWithin);
  FinishReply reply;
  host_watch_.NoteUndos();
  for (auto& [name, injected] : faults_) {
    if (injected.fault == nullptr) continue;
    Tell(name, FaultEvent::HEALING, "the run ends");
    const absl::Status status = injected.fault->Heal(HealFor::kRunOver);
    Tell(name, status.ok() ? FaultEvent::HEALED : FaultEvent::HEALING_NOT_CONFIRMED, std::string(status.message()));
    if (!status.ok()) reply.add_not_healed(absl::StrCat("fault ", name, ": ", status.message()));
  }
  cancelled_ = true;
  watches_.Stop();
  for (const auto& load : loads_) load->Stop(absl::ZeroDuration());
  names_.Stop();
  for (std::string& note : names_.Notes()) reply.add_notes(std::move(note));
  // Redirection first: from here on new connections go where they want to.
  for (auto& [service, intercept] : intercepts_) intercept->Detach();
  resolvers_.StopQueries();
  packet_hooks_.Close();
  bool attached = false;
  for (auto& [name, service] : services_) {
    attached |= !service->IsRun();
    if (const std::optional<ProcessId> leader = service->Leader(); leader && !service->IsRun()) host_watch_.NoteService(*leader);
    const absl::Status status = service->Stop();
    if (!status.ok()) reply.add_not_healed(absl::StrCat(status.message()));
  }
  watches_.TellLogs();
  relay_->Close(attached ? drain : absl::ZeroDuration(), at_once_);
  for (std::string& note : resolvers_.Close(attached ? drain : absl::ZeroDuration())) reply.add_notes(std::move(note));
  stop_watching_ = true;
  watcher_.join();
  TellCalls();
  TellEdges();  // with what came after the last second
  // The programs of the kernel that redirected and dropped go with these, and not before.
  relay_.reset();
  intercepts_.clear();
  resolvers_.Release();
  packet_hooks_.Release();
  host_watch_.End(reply);
  finish_reply_ = reply;
  finishes_by_ns_ = 0;
  return reply;
}

// A service that squall did not start is told from its neighbours in the cgroup by its processes.
absl::Status Session::FollowProcesses(const RunningService& service, Intercept& intercept) {
  if (service.IsRun()) return absl::OkStatus();
  std::set<pid_t> pids;
  for (const ProcessId& process : service.Processes()) pids.insert(process.pid);
  return intercept.SetProcesses(pids);
}

void Session::Watch() {
  Sampler sampler;
  StarvationWatch starvation;
  int64_t next_calls = 0, next_ramp = 0, next_sample = 0, next_starved = 0;
  while (!stop_watching_) {
    absl::SleepFor(absl::Milliseconds(10));
    const int64_t now = BootNanos();
    if (watching_services_) {
      for (auto& [name, service] : services_) service->Look();
    }
    if (now >= next_ramp) {
      next_ramp = now + kRampStepNs;
      StepRamps();
    }
    if (now >= next_calls) {
      next_calls = now + 250'000'000;
      TellCalls();
      if (watching_edges_) {
        for (auto& [name, intercept] : intercepts_) FollowProcesses(*services_.at(name), *intercept).IgnoreError();
        resolvers_.FollowProcesses();
        packet_hooks_.FollowProcesses();
        queued_edges_->FollowProcesses();
      }
    }
    if (now >= next_starved && watching_services_) {
      next_starved = now + 200'000'000;
      TellStarved(starvation);
    }
    if (now >= next_sample) {
      next_sample = now + 1'000'000'000;
      TellSamples(sampler);
    }
  }
}

// While a call that changes the world is under way, nothing is waited for: the next step makes up for this one.
void Session::StepRamps() {
  if (!mutex_.TryLock()) return;
  for (auto& [name, injected] : faults_) {
    if (!injected.ramp || finished_) continue;
    const absl::Status status = injected.ramp->Step(BootNanos());
    if (!status.ok()) Tell(name, FaultEvent::INJECTION_FAILED, std::string(status.message()));
  }
  mutex_.Unlock();
}

void Session::TellCalls() {
  for (Record& record : calls_.Flush()) events_.Push(std::move(record));
}

void Session::TellStarved(StarvationWatch& starvation) {
  std::map<Waiter, std::vector<ProcessId>> waiters;
  std::set<ProcessId> known;
  for (const auto& [name, service] : services_) {
    std::vector<ProcessId>& own = waiters[{name, ""}];
    own = service->Processes();
    known.insert(own.begin(), own.end());
  }
  // A service waits for its peers too. One that is itself a service of the run is looked at already.
  const auto peers = edge_peers_.Look(BootNanos());
  for (const Edge& edge : request_.scenario().edges()) {
    const auto found = peers.find(edge.name());
    if (found == peers.end()) continue;
    for (const ProcessId& peer : found->second) {
      if (known.insert(peer).second) waiters[{edge.from(), edge.name()}].push_back(peer);
    }
  }
  for (Stall& stall : starvation.Look(waiters)) {
    Record record;
    *record.mutable_stall() = std::move(stall);
    events_.Push(std::move(record));
  }
}

void Session::TellSamples(Sampler& sampler) {
  Record host;
  *host.mutable_host() = sampler.Host();
  events_.Push(std::move(host));
  if (!watching_services_) return;
  for (auto& [name, service] : services_) {
    Record record;
    LeakWatch* const leak = watching_leaks_ ? watches_.LeakOf(name) : nullptr;
    *record.mutable_sample() = sampler.Service(name, service->Processes(), service->Leader(), /*sockets=*/leak != nullptr);
    if (leak != nullptr) leak->AddTo(*record.mutable_sample());
    events_.Push(std::move(record));
  }
  live_edges_.Look();
  TellEdges();
}

void Session::TellEdges() {
  for (const Edge& edge : request_.scenario().edges()) {
    Record record;
    *record.mutable_edge_stats() = relay_->Stats(edge.name());
    live_edges_.AddTo(*record.mutable_edge_stats());
    if (record.edge_stats().at_ns() > 0) events_.Push(std::move(record));
  }
}

}  // namespace squall
