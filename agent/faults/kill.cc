// kill: sends a signal to the processes of a service.
//
// What and to whom: the processes that belong to the service now, or `count` of them by the seed, each held by a pidfd and checked by its
//   start time before the signal, so that a pid that was given to somebody else is never hit. Never pid 1, the agent or its parents. With
//   `grace`, what of those still runs then gets SIGKILL. Of a service that squall runs and whose workers are to be brought back, the
//   leader is not chosen: nobody would bring that back.
// Proof: processes signalled, those of them seen gone, and those that `grace` had to end.
// Undo while the agent lives: with `restart_after`, the service is started again and awaited. With `supervisor_within`, its supervisor is
//   awaited: all that were signalled are gone, as many processes run as before, and where the leader was killed the new one is held.
// Undo when the agent was killed: nothing: a killed process stays killed, and services that squall ran end with it.

#include <poll.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <random>
#include <thread>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/clock.h"
#include "agent/faults/fault.h"
#include "base/clock.h"
#include "base/durations.h"

namespace squall {
namespace {

constexpr int64_t kSeenGoneWithinNs = 1'000'000'000;
constexpr absl::Duration kBetweenLooks = absl::Milliseconds(20);

absl::StatusOr<int> SignalNumber(const std::string& name) {
  for (int signal = 1; signal < NSIG; ++signal) {
    const char* abbreviation = sigabbrev_np(signal);
    if (abbreviation != nullptr && name == absl::StrCat("SIG", abbreviation)) return signal;
  }
  return absl::InvalidArgumentError(absl::StrCat("'", name, "' is no signal"));
}

// `count` of them; the same for the same processes and seed, whatever their order.
std::vector<ProcessId> Choose(std::vector<ProcessId> processes, size_t count, uint64_t seed) {
  std::sort(processes.begin(), processes.end(), [](const ProcessId& a, const ProcessId& b) {
    return std::pair(a.start_ticks, a.pid) < std::pair(b.start_ticks, b.pid);
  });
  std::mt19937_64 random(seed);
  for (size_t i = 0; i < count; ++i) std::swap(processes[i], processes[i + random() % (processes.size() - i)]);
  processes.resize(count);
  return processes;
}

class KillFault : public ActiveFault {
 public:
  KillFault(const Kill& kill, const FaultContext& context) : kill_(kill), context_(context) {}
  ~KillFault() override { EndGrace(); }

  absl::Status Inject() override {
    const absl::StatusOr<int> signal = SignalNumber(kill_.signal());
    if (!signal.ok()) return signal.status();
    RunningService& service = *context_.services->at(kill_.service());
    leader_ = service.Leader();
    std::vector<ProcessId> processes = service.Processes();
    if (processes.empty()) {
      return absl::FailedPreconditionError(absl::StrCat("service ", kill_.service(), " has no process to signal"));
    }
    before_ = processes.size();
    if (kill_.count() > 0) {
      const bool spare_leader = kill_.has_supervisor_within() && service.IsRun() && leader_;
      if (spare_leader) std::erase(processes, *leader_);
      if (processes.size() < static_cast<size_t>(kill_.count())) {
        return absl::FailedPreconditionError(absl::StrCat("service ", kill_.service(), " has ", processes.size(), " processes",
                                                          spare_leader ? " beside its leader" : "", ", and ", kill_.count(),
                                                          " are to be killed; write a smaller count"));
      }
      processes = Choose(std::move(processes), static_cast<size_t>(kill_.count()), context_.seed);
    }
    std::vector<Fd> held;
    std::vector<pid_t> pids;
    for (const ProcessId& process : processes) {
      if (IsOutOfReach(process.pid)) {
        return absl::FailedPreconditionError(
            absl::StrCat("pid ", process.pid, " is pid 1, the agent or one of its parents: out of reach"));
      }
      Fd fd(static_cast<int>(syscall(SYS_pidfd_open, process.pid, 0)));
      if (!fd && errno != ESRCH) return absl::ErrnoToStatus(errno, absl::StrCat("pidfd_open ", process.pid));
      // The pidfd pins the process; the start time says that it is the one that was meant.
      if (!fd || !IsAlive(process)) continue;
      // Asked of all before any is signalled: a fault that cannot be done whole is not done at all.
      if (syscall(SYS_pidfd_send_signal, fd.get(), 0, nullptr, 0) != 0 && errno != ESRCH) {
        return absl::ErrnoToStatus(errno, absl::StrCat("may not signal pid ", process.pid));
      }
      held.push_back(std::move(fd));
      pids.push_back(process.pid);
    }
    if (leader_ && std::find(processes.begin(), processes.end(), *leader_) != processes.end()) service.ExpectExit();
    signalled_ns_ = BootNanos();
    {
      absl::MutexLock lock(&mutex_);
      pids_ = std::move(pids);
      for (size_t i = 0; i < held.size(); ++i) {
        if (syscall(SYS_pidfd_send_signal, held[i].get(), *signal, nullptr, 0) == 0) {
          ++signalled_;
        } else if (errno != ESRCH) {
          return absl::ErrnoToStatus(errno, absl::StrCat("cannot send ", kill_.signal(), " to pid ", pids_[i]));
        }
      }
      held_ = std::move(held);
      injected_ = signalled_ > 0;
      if (!injected_) return absl::FailedPreconditionError("every process was gone before it could be signalled");
    }
    if (kill_.has_grace()) grace_ = std::thread([this] { EndAfterGrace(); });
    const int64_t deadline = BootNanos() + kSeenGoneWithinNs;
    while (StillRunning() > 0 && BootNanos() < deadline) {
      service.Look();  // reaps it, if it is our child
      absl::SleepFor(absl::Milliseconds(1));
    }
    return absl::OkStatus();
  }

  absl::Status Heal(HealFor reason) override {
    if (!injected_ || restarts_ > 0) return absl::OkStatus();
    if (reason == HealFor::kRunOver) {
      EndGrace();
      // Not waited for any longer; that it was not back in time stays said until it is.
      return not_back_.ok() || LookWhetherBack().ok() ? absl::OkStatus() : not_back_;
    }
    if (kill_.has_restart_after()) return Restart();
    if (kill_.has_supervisor_within()) {
      const absl::Status back = AwaitSupervisor();
      if (!absl::IsCancelled(back)) not_back_ = back;
      return back;
    }
    while (!grace_over_ && grace_.joinable() && !*context_.cancelled) absl::SleepFor(absl::Milliseconds(2));
    EndGrace();
    return absl::OkStatus();
  }

  Evidence Seen() override {
    Evidence evidence;
    StillRunning();
    absl::MutexLock lock(&mutex_);
    evidence.set_signalled(signalled_);
    evidence.set_gone(gone_);
    evidence.set_restarts(restarts_);
    evidence.set_ended_by_grace(ended_by_grace_);
    if (signalled_ > 0) evidence.set_signalled_ns(signalled_ns_);
    for (const pid_t pid : pids_) evidence.add_pids(pid);
    return evidence;
  }

 private:
  // Of those signalled. A pidfd becomes readable when its process ends.
  int64_t StillRunning() {
    absl::MutexLock lock(&mutex_);
    for (Fd& fd : held_) {
      pollfd ready = {fd.get(), POLLIN, 0};
      if (fd && poll(&ready, 1, 0) == 1) {
        ++gone_;
        fd.Reset();
      }
    }
    return signalled_ - gone_;
  }

  // On a thread of its own.
  void EndAfterGrace() {
    const int64_t until = signalled_ns_ + absl::ToInt64Nanoseconds(ToDuration(kill_.grace()));
    while (!over_ && StillRunning() > 0 && BootNanos() < until) absl::SleepFor(absl::Milliseconds(2));
    if (!over_ && StillRunning() > 0) {
      absl::MutexLock lock(&mutex_);
      for (const Fd& fd : held_) {
        if (fd && syscall(SYS_pidfd_send_signal, fd.get(), SIGKILL, nullptr, 0) == 0) ++ended_by_grace_;
      }
    }
    grace_over_ = true;
  }

  void EndGrace() {
    over_ = true;
    if (grace_.joinable()) grace_.join();
  }

  absl::Status Restart() {
    EndGrace();
    RunningService& service = *context_.services->at(kill_.service());
    StillRunning();
    // What ignored the signal must not live on beside its successor.
    const absl::Status stopped = EndOldProcesses(service);
    if (!stopped.ok()) return stopped;
    const absl::Status started = service.Start();
    if (!started.ok()) return started;
    const absl::Status ready = service.WaitReady([this] { return context_.cancelled->load(); });
    if (ready.ok()) ++restarts_;
    return ready;
  }

  absl::Status EndOldProcesses(RunningService& service) {
    const int64_t deadline = BootNanos() + 2 * kSeenGoneWithinNs;
    while (true) {
      service.Look();
      const std::vector<ProcessId> left = service.Processes();
      if (left.empty()) return absl::OkStatus();
      if (BootNanos() > deadline) {
        return absl::DeadlineExceededError(absl::StrCat("pid ", left[0].pid, " does not end"));
      }
      for (const ProcessId& process : left) {
        if (IsAlive(process)) kill(process.pid, SIGKILL);
      }
      absl::SleepFor(absl::Milliseconds(2));
    }
  }

  // Counted from when the supervisor could notice.
  absl::Status AwaitSupervisor() {
    const RunningService& service = *context_.services->at(kill_.service());
    const absl::Duration within = ToDuration(kill_.supervisor_within());
    const int64_t deadline = signalled_ns_ + absl::ToInt64Nanoseconds(ToDuration(kill_.grace()) + within);
    while (true) {
      const absl::Status back = LookWhetherBack();
      if (back.ok() || (service.IsRun() && absl::IsFailedPrecondition(back))) return back;
      if (*context_.cancelled) return absl::CancelledError("the run is over");
      if (BootNanos() >= deadline) {
        return absl::DeadlineExceededError(absl::StrCat("service ", kill_.service(), " was not brought back by its supervisor within ",
                                                        absl::FormatDuration(within), ": ", back.message()));
      }
      absl::SleepFor(kBetweenLooks);
    }
  }

  absl::Status LookWhetherBack() {
    RunningService& service = *context_.services->at(kill_.service());
    service.Look();
    const int64_t left = StillRunning();
    if (left > 0) return absl::UnavailableError(absl::StrCat(left, " of its processes still run after ", kill_.signal()));
    if (leader_ && !IsAlive(*leader_)) {
      const absl::Status attached = service.Reattach(before_);
      if (!attached.ok()) {
        return absl::Status(attached.code(), absl::StrCat("pid ", leader_->pid, ", its leader, is gone: ", attached.message()));
      }
    } else if (const size_t now = service.Processes().size(); now < before_) {
      return absl::UnavailableError(absl::StrCat(now, " of its ", before_, " processes run"));
    }
    ++restarts_;
    return absl::OkStatus();
  }

  const Kill kill_;
  const FaultContext context_;
  std::optional<ProcessId> leader_;
  size_t before_ = 0;  // processes of the service
  int64_t signalled_ns_ = 0;
  bool injected_ = false;
  int64_t restarts_ = 0;
  absl::Status not_back_;  // why, when it was awaited in vain
  std::atomic<bool> over_ = false;
  std::atomic<bool> grace_over_ = false;
  std::thread grace_;

  absl::Mutex mutex_;
  std::vector<Fd> held_ ABSL_GUARDED_BY(mutex_);
  std::vector<pid_t> pids_ ABSL_GUARDED_BY(mutex_);
  int64_t signalled_ ABSL_GUARDED_BY(mutex_) = 0;
  int64_t gone_ ABSL_GUARDED_BY(mutex_) = 0;
  int64_t ended_by_grace_ ABSL_GUARDED_BY(mutex_) = 0;
};

}  // namespace

std::unique_ptr<ActiveFault> MakeKill(const Kill& kill, const FaultContext& context) {
  return std::make_unique<KillFault>(kill, context);
}

}  // namespace squall
