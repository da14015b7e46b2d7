// pause: stops every process of a service, once or again and again.
//
// What and to whom: the processes that belong to the service. A cgroup is frozen where that stops the service and nobody else: the v2
//   cgroup of a service that squall runs, or the v2 or v1 freezer cgroup in which a running one is alone. That is looked at before each
//   stop. Elsewhere each process gets SIGSTOP through a pidfd, parents first, until all are seen stopped: what they forked meanwhile too,
//   and not what somebody else had stopped before. Never pid 1, the agent or its parents. squall's burners in a frozen cgroup stop too.
// Proof: how often all of them were seen stopped, and for how long between two looks that both saw it.
// Undo while the agent lives: the cgroup is thawed and no longer frozen, or those that got SIGSTOP get SIGCONT and are not stopped.
// Undo when the agent was killed: the kernel does nothing. The journal has the cgroup, or every process before it is stopped, from the
//   first stop until the fault is healed; who takes it back thaws and continues what is stopped just then.

#include "agent/faults/pause.h"

#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cmath>
#include <filesystem>
#include <set>
#include <thread>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/clock.h"
#include "agent/faults/fault.h"
#include "agent/process/find.h"
#include "agent/undo.h"
#include "base/clock.h"
#include "base/durations.h"

namespace squall {
namespace {

constexpr int64_t kSeenWithinNs = 2'000'000'000;
constexpr absl::Duration kBetweenLooks = absl::Milliseconds(1);
constexpr absl::Duration kLongestSleep = absl::Milliseconds(5);
constexpr absl::Duration kBetweenTries = absl::Milliseconds(100);
// What is forked by one that ends while it is looked at seems to be nobody's.
constexpr int kLooks = 5;

absl::Status About(const std::string& service, const absl::Status& status) {
  return absl::Status(status.code(), absl::StrCat("service ", service, ": ", status.message()));
}

bool IsStopped(char state) { return state == 'T' || state == 't'; }

// All its threads are stopped, or it has ended.
bool IsStopped(const ProcessId& process) {
  if (!IsAlive(process)) return true;
  for (const pid_t thread : ThreadsOf(process.pid)) {
    const absl::StatusOr<ProcStat> stat = ReadStat(thread);
    if (stat.ok() && !IsStopped(stat->state) && stat->state != 'Z' && stat->state != 'X') return false;
  }
  return true;
}

bool IsFrozen(const LimitCgroup& cgroup) {
  if (cgroup.version == 2) return ReadCgroupKey(FileOf(cgroup, "cgroup.events"), "frozen").value_or(0) == 1;
  return absl::StripAsciiWhitespace(Slurp(LimitFile(cgroup))) == "FROZEN";
}

// It is one of them, or has been forked by them since they were looked for.
bool IsOfThese(ProcStat stat, const std::vector<ProcessId>& processes) {
  while (std::find(processes.begin(), processes.end(), stat.id) == processes.end()) {
    const absl::StatusOr<ProcStat> parent = stat.parent > 1 ? ReadStat(stat.parent) : absl::NotFoundError("");
    if (!parent.ok()) return false;
    stat = *parent;
  }
  return true;
}

// Whether everything in the cgroup and below it belongs to `processes`, and all of these are there.
bool HoldsJust(const LimitCgroup& cgroup, const std::vector<ProcessId>& processes) {
  std::vector<std::string> folders = {cgroup.folder};
  std::error_code error;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(cgroup.folder, error)) {
    if (entry.is_directory(error)) folders.push_back(entry.path());
  }
  if (error) return false;
  std::set<ProcessId> missing(processes.begin(), processes.end());
  for (const std::string& folder : folders) {
    const std::string text = Slurp(absl::StrCat(folder, "/cgroup.procs"));
    for (const absl::string_view line : absl::StrSplit(text, '\n', absl::SkipEmpty())) {
      pid_t pid = 0;
      // 0: a process of another pid namespace, which cannot be told.
      if (!absl::SimpleAtoi(line, &pid) || pid <= 0) return false;
      const absl::StatusOr<ProcStat> stat = ReadStat(pid);
      if (!stat.ok() || HasEnded(*stat)) continue;
      if (IsOutOfReach(pid) || !IsOfThese(*stat, processes)) return false;
      missing.erase(stat->id);
    }
  }
  return std::none_of(missing.begin(), missing.end(), IsAlive);
}

// The cgroup in which they are alone and that this user may freeze.
std::optional<LimitCgroup> FreezerOf(const std::vector<ProcessId>& processes) {
  const std::string own = processes.empty() ? "" : Slurp(absl::StrCat("/proc/", processes[0].pid, "/cgroup"));
  std::vector<CgroupMount> mounts = ParseCgroupMounts(Slurp("/proc/self/mountinfo"));
  std::stable_sort(mounts.begin(), mounts.end(), [](const auto& a, const auto& b) { return a.version > b.version; });
  for (const CgroupMount& mount : mounts) {
    const auto& options = mount.options;
    if (mount.version == 1 && std::find(options.begin(), options.end(), "freezer") == options.end()) continue;
    const absl::StatusOr<std::string> folder = CgroupFolder(mount, "freezer", own);
    if (!folder.ok()) continue;
    const LimitCgroup cgroup = {"freezer", mount.version, *folder};
    // The first cgroup of a hierarchy has no such file.
    if (access(LimitFile(cgroup).c_str(), W_OK) == 0 && HoldsJust(cgroup, processes)) return cgroup;
  }
  return std::nullopt;
}

absl::Status CheckMayStop(const std::vector<ProcessId>& processes) {
  for (const ProcessId& process : processes) {
    if (IsOutOfReach(process.pid)) {
      return absl::FailedPreconditionError(
          absl::StrCat("pid ", process.pid, " is pid 1, the agent or one of its parents: out of reach"));
    }
    if (kill(process.pid, 0) == 0 || errno == ESRCH) continue;
    return absl::PermissionDeniedError(
        absl::StrCat("this user may not stop pid ", process.pid, "; run squall as root or as the user of that process"));
  }
  return absl::OkStatus();
}

class PauseFault : public ActiveFault {
 public:
  PauseFault(const Pause& pause, const FaultContext& context) : pause_(pause), context_(context) {}
  ~PauseFault() override { EndThread(); }

  absl::Status Inject() override {
    const auto service = context_.services->find(pause_.service());
    if (service == context_.services->end()) {
      return absl::InvalidArgumentError(absl::StrCat("the run has no service '", pause_.service(), "'"));
    }
    service_ = service->second.get();
    absl::Status status;
    {
      absl::MutexLock lock(&mutex_);
      status = FindFreezer();
      if (status.ok()) status = Stop();
    }
    if (!status.ok()) {
      Heal(HealFor::kFaultOver).IgnoreError();
      return About(pause_.service(), status);
    }
    if (pause_.has_each()) thread_ = std::thread([this] { Repeat(); });
    return absl::OkStatus();
  }

  absl::Status Heal(HealFor) override {
    EndThread();
    absl::MutexLock lock(&mutex_);
    const absl::Status status = LetGoOn();
    if (!status.ok()) return About(pause_.service(), status);
    for (const uint64_t number : pending_) context_.journal->Done(number);
    pending_.clear();
    remembered_.clear();
    freezer_is_remembered_ = false;
    return absl::OkStatus();
  }

  Evidence Seen() override {
    absl::MutexLock lock(&mutex_);
    Account();
    Evidence evidence;
    evidence.set_pauses(pauses_);
    evidence.set_paused_ns(paused_ns_);
    if (pause_.has_each()) evidence.set_requested_ns(asked_ns_ + AskedOfThisStop());
    for (const ProcessId& process : seen_) evidence.add_pids(process.pid);
    return evidence;
  }

 private:
  absl::Status FindFreezer() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    const std::vector<ProcessId> processes = service_->Processes();
    if (processes.empty()) return absl::FailedPreconditionError("it has no process");
    const absl::Status may = CheckMayStop(processes);
    if (!may.ok()) return may;
    freezer_ = FindFreezerOf(processes);
    if (!freezer_) return absl::OkStatus();
    undo_.mutable_cgroup_value()->set_file(LimitFile(*freezer_));
    undo_.mutable_cgroup_value()->set_before(std::string(absl::StripAsciiWhitespace(Slurp(LimitFile(*freezer_)))));
    const std::string& before = undo_.cgroup_value().before();
    if (before == (freezer_->version == 2 ? "0" : "THAWED") && !IsFrozen(*freezer_)) return absl::OkStatus();
    return absl::FailedPreconditionError(
        absl::StrCat("it is frozen already, and not by this fault: ", LimitFile(*freezer_), " says ", before, "; thaw it first"));
  }

  std::optional<LimitCgroup> FindFreezerOf(const std::vector<ProcessId>& processes) const {
    if (!service_->IsRun()) {
      std::optional<LimitCgroup> found = FreezerOf(processes);
      for (int i = 1; i < kLooks && !found; ++i) found = FreezerOf(service_->Processes());
      return found;
    }
    const absl::StatusOr<std::string> folder = service_->CgroupFolder();
    if (!folder.ok()) return std::nullopt;
    const LimitCgroup own = {"freezer", 2, *folder};
    // Linux 5.2 and later.
    return access(LimitFile(own).c_str(), W_OK) == 0 ? std::optional<LimitCgroup>(own) : std::nullopt;
  }

  // What squall runs is alone in its cgroup. Others may have been joined by somebody.
  bool MayFreeze() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    if (!freezer_ || service_->IsRun()) return freezer_.has_value();
    for (int i = 0; i < kLooks; ++i) {
      if (HoldsJust(*freezer_, service_->Processes())) return true;
    }
    return false;
  }

  // All are seen stopped, or an error and they go on.
  absl::Status Stop() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    const absl::Status status = MayFreeze() ? Freeze() : StopEach();
    if (!status.ok()) {
      LetGoOn().IgnoreError();
      return status;
    }
    ++pauses_;
    since_ns_ = BootNanos();
    seen_ = service_->Processes();
    return status;
  }

  absl::Status Remember(const Undo& undo) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    const absl::StatusOr<uint64_t> pending = context_.journal->Pend(undo);
    if (pending.ok()) pending_.push_back(*pending);
    return pending.status();
  }

  absl::Status Freeze() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    if (!freezer_is_remembered_) {
      const absl::Status remembered = Remember(undo_);
      if (!remembered.ok()) return remembered;
      freezer_is_remembered_ = true;
    }
    freezing_ = true;
    const absl::Status written = WriteCgroupFile(LimitFile(*freezer_), freezer_->version == 2 ? "1" : "FROZEN");
    if (!written.ok()) return written;
    const int64_t deadline = BootNanos() + kSeenWithinNs;
    while (!IsFrozen(*freezer_)) {
      if (BootNanos() > deadline) {
        return absl::DeadlineExceededError(absl::StrCat("cgroup ", freezer_->folder, " does not freeze: a process in it waits for a device"));
      }
      absl::SleepFor(kBetweenLooks);
    }
    return absl::OkStatus();
  }

  absl::Status StopEach() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    std::set<ProcessId> others;  // somebody else stopped them before
    bool all_before = false;
    const int64_t deadline = BootNanos() + kSeenWithinNs;
    while (true) {
      const std::vector<ProcessId> processes = service_->Processes();
      std::vector<ProcessId> fresh;
      for (const ProcessId& process : processes) {
        if (stopped_.count(process) > 0 || others.count(process) > 0) continue;
        if (IsAlive(process) && IsStopped(process)) {
          others.insert(process);
        } else {
          fresh.push_back(process);
        }
      }
      const absl::Status remembered = RememberEach(fresh);
      if (!remembered.ok()) return remembered;
      stopped_.insert(fresh.begin(), fresh.end());

      std::set<pid_t> running;
      for (const ProcessId& process : processes) {
        if (others.count(process) == 0 && !IsStopped(process)) running.insert(process.pid);
      }
      for (const ProcessId& process : processes) {
        if (running.count(process.pid) == 0) continue;
        // A parent waits for the child that it has forked with vfork until that has executed: stopped before, the child would keep it
        // from ever stopping.
        const absl::StatusOr<ProcStat> stat = ReadStat(process.pid);
        if (!stat.ok() || running.count(stat->parent) > 0) continue;
        const absl::Status sent = SendStop(process);
        if (!sent.ok()) return sent;
      }
      if (running.empty() && stopped_.empty()) {
        return absl::FailedPreconditionError(processes.empty() ? "it has no process"
                                                               : "all its processes are stopped already, and not by this fault");
      }
      // Seen twice: what was forked just before its parent stopped is in the second list.
      if (running.empty() && all_before) return absl::OkStatus();
      all_before = running.empty();
      if (BootNanos() > deadline) {
        if (running.empty()) return absl::DeadlineExceededError("it forks faster than its processes can be stopped");
        const absl::StatusOr<ProcStat> stat = ReadStat(*running.begin());
        return absl::DeadlineExceededError(absl::StrCat("pid ", *running.begin(), " does not stop (state ",
                                                        stat.ok() ? std::string(1, stat->state) : "?", ")"));
      }
      absl::SleepFor(kBetweenLooks);
    }
  }

  absl::Status RememberEach(const std::vector<ProcessId>& processes) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    Undo undo;
    for (const ProcessId& process : processes) {
      if (IsOutOfReach(process.pid)) return absl::FailedPreconditionError(absl::StrCat("pid ", process.pid, " is out of reach"));
      if (remembered_.count(process) == 0) *undo.mutable_stopped()->add_processes() = ToProto(process);
    }
    if (!undo.has_stopped()) return absl::OkStatus();
    const absl::Status status = Remember(undo);
    if (status.ok()) remembered_.insert(processes.begin(), processes.end());
    return status;
  }

  static absl::Status SendStop(const ProcessId& process) {
    const Fd fd(static_cast<int>(syscall(SYS_pidfd_open, process.pid, 0)));
    if (!fd && errno != ESRCH) return absl::ErrnoToStatus(errno, absl::StrCat("pidfd_open ", process.pid));
    // The pidfd pins the process; the start time says that it is the one that was meant.
    if (!fd || !IsAlive(process)) return absl::OkStatus();
    if (syscall(SYS_pidfd_send_signal, fd.get(), SIGSTOP, nullptr, 0) == 0 || errno == ESRCH) return absl::OkStatus();
    return absl::ErrnoToStatus(errno, absl::StrCat("cannot stop pid ", process.pid));
  }

  // Ends the stop, if there is one. Idempotent; where it fails it can be tried again.
  absl::Status LetGoOn() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    Account();
    since_ns_ = 0;
    if (freezing_) {
      const absl::Status thawed = Thaw();
      if (!thawed.ok()) return thawed;
      freezing_ = false;
    }
    if (stopped_.empty()) return absl::OkStatus();
    Undo undo;
    for (const ProcessId& process : stopped_) *undo.mutable_stopped()->add_processes() = ToProto(process);
    const absl::Status status = TakeBack(undo);
    if (status.ok()) stopped_.clear();
    return status;
  }

  absl::Status Thaw() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    const absl::Status status = TakeBack(undo_);
    const int64_t deadline = BootNanos() + kSeenWithinNs;
    while (status.ok() && IsFrozen(*freezer_)) {
      if (BootNanos() > deadline) {
        return absl::UnavailableError(
            absl::StrCat("cgroup ", freezer_->folder, " is thawed and still frozen: somebody has frozen a cgroup above it"));
      }
      absl::SleepFor(kBetweenLooks);
    }
    return status;
  }

  // Counts the time since the last look, if it is stopped now as it was then.
  void Account() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    if (since_ns_ == 0) return;
    const std::vector<ProcessId> processes = service_->Processes();
    const bool stopped = freezing_ ? IsFrozen(*freezer_)
                                   : std::all_of(processes.begin(), processes.end(), [](const ProcessId& p) { return IsStopped(p); });
    const int64_t now = BootNanos();
    if (stopped && !processes.empty()) paused_ns_ += now - since_ns_;
    since_ns_ = now;
  }

  // How long the stop that is now was to last so far.
  int64_t AskedOfThisStop() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return asked_since_ns_ == 0 ? 0 : std::min(BootNanos() - asked_since_ns_, absl::ToInt64Nanoseconds(ToDuration(pause_.each())));
  }

  bool StayStopped(absl::Duration each) {
    {
      absl::MutexLock lock(&mutex_);
      asked_since_ns_ = BootNanos();
    }
    const bool goes_on = Sleep(each);
    absl::MutexLock lock(&mutex_);
    asked_ns_ += AskedOfThisStop();
    asked_since_ns_ = 0;
    return goes_on;
  }

  // On a thread of its own.
  void Repeat() {
    const absl::Duration each = ToDuration(pause_.each());
    const absl::Duration every = ToDuration(pause_.every());
    for (int64_t number = 0; StayStopped(each); ++number) {
      while (true) {
        {
          absl::MutexLock lock(&mutex_);
          if (LetGoOn().ok()) break;
        }
        if (!Sleep(kBetweenTries)) return;
      }
      // What cannot be stopped this time may be the next.
      do {
        if (!Sleep(PauseGap(context_.seed, number, every))) return;
      } while (!StopAgain());
    }
  }

  bool StopAgain() {
    absl::MutexLock lock(&mutex_);
    if (Stop().ok()) return true;
    asked_ns_ += absl::ToInt64Nanoseconds(ToDuration(pause_.each()));
    return false;
  }

  // False when the fault is over. In short sleeps by a clock that nobody can set.
  bool Sleep(absl::Duration duration) const {
    const int64_t until = BootNanos() + absl::ToInt64Nanoseconds(duration);
    for (int64_t left; (left = until - BootNanos()) > 0 && !over_;) {
      absl::SleepFor(std::min(absl::Nanoseconds(left), kLongestSleep));
    }
    return !over_;
  }

  void EndThread() {
    over_ = true;
    if (thread_.joinable()) thread_.join();
  }

  const Pause pause_;
  const FaultContext context_;
  const RunningService* service_ = nullptr;
  std::atomic<bool> over_ = false;
  std::thread thread_;

  absl::Mutex mutex_;
  std::optional<LimitCgroup> freezer_ ABSL_GUARDED_BY(mutex_);
  Undo undo_ ABSL_GUARDED_BY(mutex_);  // of freezer_
  bool freezer_is_remembered_ ABSL_GUARDED_BY(mutex_) = false;
  bool freezing_ ABSL_GUARDED_BY(mutex_) = false;
  std::set<ProcessId> stopped_ ABSL_GUARDED_BY(mutex_);     // by SIGSTOP of this stop
  std::set<ProcessId> remembered_ ABSL_GUARDED_BY(mutex_);  // in the journal
  std::vector<uint64_t> pending_ ABSL_GUARDED_BY(mutex_);
  std::vector<ProcessId> seen_ ABSL_GUARDED_BY(mutex_);  // at the last stop
  int64_t since_ns_ ABSL_GUARDED_BY(mutex_) = 0;         // when it was last seen stopped; 0: it is not
  int64_t pauses_ ABSL_GUARDED_BY(mutex_) = 0;
  int64_t paused_ns_ ABSL_GUARDED_BY(mutex_) = 0;
  int64_t asked_ns_ ABSL_GUARDED_BY(mutex_) = 0;        // with `each`: of the stops that are over
  int64_t asked_since_ns_ ABSL_GUARDED_BY(mutex_) = 0;  // 0: no stop now
};

}  // namespace

absl::Duration PauseGap(uint64_t seed, int64_t number, absl::Duration mean) {
  // SplitMix64 (Steele, Lea, Flood 2014): its output for consecutive numbers is as good as random.
  uint64_t x = seed + (static_cast<uint64_t>(number) + 1) * 0x9e3779b97f4a7c15u;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
  x ^= x >> 31;
  const double uniform = (static_cast<double>(x >> 11) + 1) * 0x1p-53;  // above 0, up to 1
  return -std::log(uniform) * mean;
}

absl::Status CheckPause(const Pause& pause, const Service& service) {
  if (!service.has_attach()) return absl::OkStatus();  // its processes are of squall's user, or squall is root
  const absl::StatusOr<ProcessId> leader = FindTarget(service.attach());
  absl::Status status = leader.status();
  if (status.ok()) status = CheckMayStop(WithDescendants({*leader}));
  if (status.ok()) return status;
  return absl::Status(status.code(), absl::StrCat("a pause of ", service.name(), " is not possible: ", status.message()));
}

std::unique_ptr<ActiveFault> MakePause(const Pause& pause, const FaultContext& context) {
  return std::make_unique<PauseFault>(pause, context);
}

}  // namespace squall
