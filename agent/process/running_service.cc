#include "agent/process/running_service.h"

#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstring>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/time/clock.h"
#include "agent/process/find.h"
#include "agent/process/ready.h"
#include "agent/process/spawn.h"
#include "agent/undo.h"
#include "base/clock.h"
#include "base/durations.h"

namespace squall {
namespace {

constexpr absl::Duration kGrace = absl::Seconds(2);
constexpr absl::Duration kThawsWithin = absl::Seconds(5);

std::string Join(const std::string& folder, const std::string& path) {
  return path.empty() || path[0] != '/' ? absl::StrCat(folder, "/", path) : path;
}

}  // namespace

RunningService::RunningService(const Service& service, Context context)
    : service_(service), context_(std::move(context)) {}

RunningService::~RunningService() {
  Stop().IgnoreError();
  stop_reading_ = true;
  if (reader_.joinable()) reader_.join();
}

absl::Status RunningService::Claim() {
  if (IsRun()) {
    if (geteuid() == 0) {  // without root the process group has to do
      absl::StatusOr<Cgroup> cgroup = Cgroup::Make(service_.name());
      if (!cgroup.ok() && !absl::IsNotFound(cgroup.status())) return cgroup.status();
      if (cgroup.ok()) cgroup_ = *std::move(cgroup);
    }
    // The fault that needs it says what is missing; others do without.
    for (const std::string& controller : context_.controllers) {
      own_.emplace(controller, OwnLimits{absl::InternalError(""), {}, 0});
      own_.at(controller).cgroup = MakeOwnCgroup(controller);
    }
    return absl::OkStatus();
  }
  const absl::StatusOr<ProcessId> found = FindTarget(service_.attach());
  if (!found.ok()) return found.status();
  absl::StatusOr<Hold> hold = Hold::Take(*found, context_.holder);
  if (!hold.ok()) return hold.status();
  hold_ = *std::move(hold);
  {
    absl::MutexLock lock(&mutex_);
    leader_ = *found;
    running_ = true;
  }
  Tell(ServiceEvent::ATTACHED, found->pid, CommandLine(found->pid), true);
  return absl::OkStatus();
}

absl::Status RunningService::Reattach(size_t least) {
  if (IsRun()) return absl::FailedPreconditionError("squall runs it, and nobody else brings it back");
  const absl::StatusOr<ProcessId> found = FindTarget(service_.attach());
  if (!found.ok()) return found.status();
  const size_t running = WithDescendants({*found}).size();
  if (running < least) return absl::UnavailableError(absl::StrCat(running, " of its ", least, " processes run"));
  const absl::Status in_reach = CheckInReach(*found);
  if (!in_reach.ok()) return in_reach;
  absl::StatusOr<Hold> hold = Hold::Take(*found, context_.holder);
  if (!hold.ok()) return hold.status();
  Look();  // tells first that the one before is gone
  hold_ = *std::move(hold);
  exit_expected_ = false;
  {
    absl::MutexLock lock(&mutex_);
    leader_ = *found;
    running_ = true;
    exit_.clear();
  }
  Tell(ServiceEvent::ATTACHED, found->pid, CommandLine(found->pid), true);
  return absl::OkStatus();
}

absl::StatusOr<LimitCgroup> RunningService::OwnCgroup(const std::string& controller) const {
  const auto found = own_.find(controller);
  if (found == own_.end()) return absl::NotFoundError(absl::StrCat("the service has no ", controller, " cgroup of its own"));
  return found->second.cgroup;
}

absl::StatusOr<LimitCgroup> RunningService::MakeOwnCgroup(const std::string& controller) {
  const absl::StatusOr<LimitCgroup> home = CgroupOf(controller, getpid());
  if (!home.ok()) return home.status();
  if (home->version == 2) {
    if (!cgroup_) return absl::PermissionDeniedError("making a cgroup needs root");
    return WithController(controller, cgroup_->path());
  }
  // Below the agent's own, so that what limits the agent limits the service, as it does without a fault.
  const absl::StatusOr<LimitCgroup> below = BelowOf(*home, name());
  if (!below.ok()) return below.status();
  OwnLimits& own = own_.at(controller);
  own.undo.mutable_made_cgroup()->set_folder(below->folder);
  const absl::StatusOr<uint64_t> pending = context_.journal->Pend(own.undo);
  if (!pending.ok()) return pending.status();
  own.pending = *pending;
  return MakeBelow(*home, name());
}

absl::Status RunningService::RemoveOwnCgroups() {
  absl::Status status;
  for (auto& [controller, own] : own_) {
    if (own.pending == 0) continue;
    const absl::Status taken_back = TakeBack(own.undo);
    status.Update(taken_back);
    if (!taken_back.ok()) continue;
    context_.journal->Done(own.pending);
    own.pending = 0;
  }
  return status;
}

absl::StatusOr<std::string> RunningService::CgroupFolder() const {
  if (cgroup_) return cgroup_->path();
  const std::optional<ProcessId> leader = Leader();
  if (IsRun() || !leader) return absl::NotFoundError(absl::StrCat("service ", name(), " has no cgroup v2 of its own"));
  return CgroupV2Of(leader->pid);
}

bool RunningService::ReadyAddressIsTaken() const {
  return service_.ready().check_case() != Ready::CHECK_NOT_SET &&
         LookWhetherReady(service_.ready(), &NetNamespace::Own).ok();
}

absl::Status RunningService::Start() {
  if (ReadyAddressIsTaken()) {
    return absl::FailedPreconditionError(
        absl::StrCat("service ", name(), ": something else already answers its ready check (",
                     service_.ready().has_http() ? service_.ready().http().url() : service_.ready().tcp(),
                     "); stop it, or attach to it instead of running it"));
  }
  // What starts in a frozen cgroup does not come to execute, and the main thread would wait for it.
  const int64_t deadline = BootNanos() + absl::ToInt64Nanoseconds(kThawsWithin);
  while (cgroup_ && ReadCgroupKey(absl::StrCat(cgroup_->path(), "/cgroup.events"), "frozen").value_or(0) == 1) {
    if (BootNanos() >= deadline) {
      return absl::FailedPreconditionError(absl::StrCat("service ", name(), " cannot start while its cgroup ", cgroup_->path(), " is frozen"));
    }
    absl::SleepFor(absl::Milliseconds(5));
  }
  absl::Status status = absl::CancelledError("the agent is stopping");
  context_.main_thread->Run([&] { status = StartOnMainThread(); });
  return status;
}

absl::Status RunningService::StartOnMainThread() {
  SpawnOptions options;
  options.argv.assign(service_.run().begin(), service_.run().end());
  // As a shell would: a bare name is looked up in PATH, a path is relative to the scenario.
  if (options.argv[0].find('/') != std::string::npos) options.argv[0] = Join(context_.folder, options.argv[0]);
  options.env.insert(service_.env().begin(), service_.env().end());
  options.folder = service_.cwd().empty() ? context_.folder : Join(context_.folder, service_.cwd());
  options.user = service_.user();
  if (cgroup_) options.cgroups.push_back(cgroup_->path());
  for (const auto& [controller, own] : own_) {
    if (own.cgroup.ok() && own.cgroup->version == 1) options.cgroups.push_back(own.cgroup->folder);
  }
  absl::StatusOr<Spawned> spawned = Spawn(options);
  if (!spawned.ok()) {
    return absl::Status(spawned.status().code(),
                        absl::StrCat("service ", name(), " cannot start: ", spawned.status().message()));
  }
  // The kernel ends it with the agent (PR_SET_PDEATHSIG); what it has forked is ended by its group and cgroup.
  Undo undo;
  *undo.mutable_service()->mutable_leader() = ToProto(spawned->id);
  undo.mutable_service()->set_mark(ServiceMark());
  if (cgroup_) undo.mutable_service()->set_cgroup(cgroup_->path());
  const absl::StatusOr<uint64_t> pending = context_.journal->Pend(undo);
  if (!pending.ok()) {
    TakeBack(undo).IgnoreError();
    waitpid(spawned->id.pid, nullptr, 0);
    return pending.status();
  }
  if (pending_ != 0) context_.journal->Done(pending_);
  pending_ = *pending;
  if (reader_.joinable()) {
    stop_reading_ = true;
    reader_.join();
  }
  stop_reading_ = false;
  exit_expected_ = false;
  {
    absl::MutexLock lock(&mutex_);
    leader_ = spawned->id;
    running_ = true;
    exit_.clear();
  }
  reader_ = std::thread([this, pipe = spawned->output.Release()] { ReadOutput(Fd(pipe)); });
  Tell(ServiceEvent::STARTED, spawned->id.pid, absl::StrJoin(service_.run(), " "), true);
  return absl::OkStatus();
}

void RunningService::ReadOutput(Fd pipe) {
  char buffer[16384];
  while (true) {
    pollfd ready = {pipe.get(), POLLIN, 0};
    const int count = poll(&ready, 1, 50);
    if (count == 0 && stop_reading_) break;
    if (count <= 0) continue;
    const ssize_t size = read(pipe.get(), buffer, sizeof(buffer));
    if (size <= 0) break;
    std::string text(buffer, static_cast<size_t>(size));
    if (context_.printed) context_.printed(text);
    {
      absl::MutexLock lock(&mutex_);
      last_output_ += text;
      if (last_output_.size() > 4096) last_output_.erase(0, last_output_.size() - 4096);
    }
    context_.events->PushOutput(name(), std::move(text));
  }
  if (context_.printed) context_.printed("");
}

std::string RunningService::LastOutput() const {
  absl::MutexLock lock(&mutex_);
  std::string text = last_output_.size() > 600 ? last_output_.substr(last_output_.size() - 600) : last_output_;
  while (!text.empty() && text.back() == '\n') text.pop_back();
  return text.empty() ? "it printed nothing" : absl::StrCat("it printed: ", text);
}

absl::Status RunningService::WaitReady(const std::function<bool()>& cancelled) {
  if (!IsRun()) return absl::OkStatus();
  const bool has_check = service_.ready().check_case() != Ready::CHECK_NOT_SET;
  const absl::Duration within = service_.has_ready() ? ToDuration(service_.ready().within()) : absl::Seconds(10);
  const int64_t deadline = BootNanos() + absl::ToInt64Nanoseconds(within);
  absl::Status last = absl::UnavailableError("it listens on no TCP port");
  while (true) {
    Look();
    {
      absl::MutexLock lock(&mutex_);
      if (!running_) break;
    }
    if (has_check) {
      last = LookWhetherReady(service_.ready(), [this] { return Namespace(); });
    } else if (!ListeningPorts(Processes()).empty()) {
      last = absl::OkStatus();
    }
    if (last.ok()) {
      const std::optional<ProcessId> leader = Leader();
      if (leader && IsAlive(*leader)) {
        Tell(ServiceEvent::READY, leader->pid, "", true);
        return absl::OkStatus();
      }
    }
    if (cancelled()) return absl::CancelledError("the run is over");
    if (BootNanos() >= deadline) {
      return absl::FailedPreconditionError(absl::StrCat("service ", name(), " was not ready within ",
                                                        absl::FormatDuration(within), ": ", last.message(), "; ",
                                                        LastOutput()));
    }
    absl::SleepFor(absl::Milliseconds(10));
  }
  absl::SleepFor(absl::Milliseconds(60));  // lets the reader take in its last words
  std::string exit;
  {
    absl::MutexLock lock(&mutex_);
    exit = exit_;
  }
  return absl::FailedPreconditionError(absl::StrCat("service ", name(), " ", exit, " before it was ready; ", LastOutput()));
}

std::optional<ProcessId> RunningService::Leader() const {
  absl::MutexLock lock(&mutex_);
  return leader_;
}

absl::StatusOr<NetNamespace> RunningService::Namespace() const {
  const std::optional<ProcessId> leader = Leader();
  if (!leader) return absl::NotFoundError(absl::StrCat("service ", name(), " does not run"));
  return NetNamespace::Of(leader->pid);
}

void RunningService::Disregard(std::vector<ProcessId> strangers) {
  absl::MutexLock lock(&mutex_);
  strangers_ = std::move(strangers);
}

std::vector<ProcessId> RunningService::Processes() const {
  if (cgroup_) {
    std::vector<ProcessId> processes = cgroup_->Processes();
    absl::MutexLock lock(&mutex_);
    for (const ProcessId& stranger : strangers_) std::erase(processes, stranger);
    return processes;
  }
  const std::optional<ProcessId> leader = Leader();
  if (!leader) return {};
  std::vector<ProcessId> processes = WithDescendants({*leader});
  if (!IsRun()) return processes;
  // Without a cgroup: also what its parent has left behind in the process group.
  for (const pid_t pid : AllPids()) {
    const absl::StatusOr<ProcStat> stat = ReadStat(pid);
    if (!stat.ok() || stat->group != leader->pid || HasEnded(*stat)) continue;
    if (stat->id.start_ticks < leader->start_ticks) continue;
    if (std::find(processes.begin(), processes.end(), stat->id) == processes.end()) processes.push_back(stat->id);
  }
  return processes;
}

void RunningService::Look() {
  ServiceEvent::What what = ServiceEvent::WHAT_UNSPECIFIED;
  pid_t pid = 0;
  std::string exit;
  std::optional<int> ended;
  {
    absl::MutexLock lock(&mutex_);
    if (!running_ || !leader_) return;
    pid = leader_->pid;
    if (IsRun()) {
      int status = 0;
      if (waitpid(pid, &status, WNOHANG) != pid) return;
      ended = status;
      exit_ = WIFSIGNALED(status) ? absl::StrCat("was ended by SIG", sigabbrev_np(WTERMSIG(status)))
                                  : absl::StrCat("exited with code ", WEXITSTATUS(status));
    } else {
      if (IsAlive(*leader_)) return;
      exit_ = "is gone";
    }
    running_ = false;
    exit = exit_;
    what = ServiceEvent::EXITED;
  }
  Tell(what, pid, exit, exit_expected_, ended);
}

absl::Status RunningService::Stop() {
  if (!IsRun()) {
    hold_ = Hold();
    return absl::OkStatus();
  }
  ExpectExit();
  const std::optional<ProcessId> leader = Leader();
  if (leader) {
    SignalGroup(*leader, ServiceMark(), SIGTERM);
    const int64_t deadline = BootNanos() + absl::ToInt64Nanoseconds(kGrace);
    while (!Processes().empty() && BootNanos() < deadline) {
      Look();
      absl::SleepFor(absl::Milliseconds(5));
    }
    SignalGroup(*leader, ServiceMark(), SIGKILL);
    for (const ProcessId& process : Processes()) {
      if (IsAlive(process)) kill(process.pid, SIGKILL);
    }
  }
  absl::Status status;
  if (cgroup_) status = cgroup_->Remove();
  status.Update(RemoveOwnCgroups());
  const int64_t deadline = BootNanos() + absl::ToInt64Nanoseconds(kGrace);
  while (leader && BootNanos() < deadline) {
    Look();
    absl::MutexLock lock(&mutex_);
    if (!running_) break;
  }
  if (leader) {
    const std::vector<ProcessId> left = WithDescendants({*leader});
    if (!left.empty()) {
      status = absl::InternalError(absl::StrCat("service ", name(), ": pid ", left[0].pid, " does not end"));
    }
    if (status.ok() && pending_ != 0) {
      context_.journal->Done(pending_);
      pending_ = 0;
    }
    absl::MutexLock lock(&mutex_);
    leader_.reset();
  }
  return status;
}

void RunningService::Tell(ServiceEvent::What what, pid_t pid, std::string message, bool expected, std::optional<int> status) {
  Record record;
  ServiceEvent& event = *record.mutable_service();
  event.set_service(name());
  event.set_at_ns(BootNanos());
  event.set_what(what);
  event.set_pid(pid);
  event.set_message(std::move(message));
  event.set_expected(expected);
  if (status) {
    event.set_exit_known(true);
    if (WIFSIGNALED(*status)) {
      event.set_exit_signal(WTERMSIG(*status));
    } else {
      event.set_exit_code(WEXITSTATUS(*status));
    }
  }
  context_.events->Push(std::move(record));
}

}  // namespace squall
