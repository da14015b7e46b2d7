// kill: sends a signal to every process of a service.
//
// What and to whom: the processes that belong to the service now, each held by a pidfd and checked by its start time
//   before the signal, so that a pid that was given to somebody else is never hit. Never pid 1, the agent or its parents.
// Proof: processes signalled, and those of them seen gone.
// Undo while the agent lives: with `restart_after`, the service is started again and awaited.
// Undo when the agent was killed: nothing: a killed process stays killed, and services that squall ran end with it.

#include <poll.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "agent/faults/fault.h"
#include "base/clock.h"

namespace squall {
namespace {

constexpr int64_t kSeenGoneWithinNs = 1'000'000'000;

absl::StatusOr<int> SignalNumber(const std::string& name) {
  for (int signal = 1; signal < NSIG; ++signal) {
    const char* abbreviation = sigabbrev_np(signal);
    if (abbreviation != nullptr && name == absl::StrCat("SIG", abbreviation)) return signal;
  }
  return absl::InvalidArgumentError(absl::StrCat("'", name, "' is no signal"));
}

class KillFault : public ActiveFault {
 public:
  KillFault(const Kill& kill, const FaultContext& context) : kill_(kill), context_(context) {}

  absl::Status Inject() override {
    const absl::StatusOr<int> signal = SignalNumber(kill_.signal());
    if (!signal.ok()) return signal.status();
    RunningService& service = *context_.services->at(kill_.service());
    const std::vector<ProcessId> processes = service.Processes();
    if (processes.empty()) {
      return absl::FailedPreconditionError(absl::StrCat("service ", kill_.service(), " has no process to signal"));
    }
    std::vector<Fd> held;
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
      pids_.push_back(process.pid);
    }
    service.ExpectExit();
    for (size_t i = 0; i < held.size(); ++i) {
      if (syscall(SYS_pidfd_send_signal, held[i].get(), *signal, nullptr, 0) == 0) {
        ++signalled_;
      } else if (errno != ESRCH) {
        return absl::ErrnoToStatus(errno, absl::StrCat("cannot send ", kill_.signal(), " to pid ", pids_[i]));
      }
    }
    injected_ = signalled_ > 0;
    held_ = std::move(held);
    const int64_t deadline = BootNanos() + kSeenGoneWithinNs;
    while (CountGone() < signalled_ && BootNanos() < deadline) {
      service.Look();  // reaps it, if it is our child
      absl::SleepFor(absl::Milliseconds(1));
    }
    if (!injected_) return absl::FailedPreconditionError("every process was gone before it could be signalled");
    return absl::OkStatus();
  }

  absl::Status Heal(HealFor reason) override {
    if (!injected_ || !kill_.has_restart_after() || reason == HealFor::kRunOver || restarts_ > 0) {
      return absl::OkStatus();
    }
    RunningService& service = *context_.services->at(kill_.service());
    CountGone();
    // What ignored the signal must not live on beside its successor.
    const absl::Status stopped = EndOldProcesses(service);
    if (!stopped.ok()) return stopped;
    const absl::Status started = service.Start();
    if (!started.ok()) return started;
    const absl::Status ready = service.WaitReady([this] { return context_.cancelled->load(); });
    if (ready.ok()) ++restarts_;
    return ready;
  }

  Evidence Seen() override {
    Evidence evidence;
    CountGone();
    evidence.set_signalled(signalled_);
    evidence.set_gone(gone_);
    evidence.set_restarts(restarts_);
    for (const pid_t pid : pids_) evidence.add_pids(pid);
    return evidence;
  }

 private:
  // A pidfd becomes readable when its process ends.
  int64_t CountGone() {
    for (Fd& fd : held_) {
      pollfd ready = {fd.get(), POLLIN, 0};
      if (fd && poll(&ready, 1, 0) == 1) {
        ++gone_;
        fd.Reset();
      }
    }
    return gone_;
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

  const Kill kill_;
  const FaultContext context_;
  bool injected_ = false;
  std::vector<Fd> held_;
  std::vector<pid_t> pids_;
  int64_t signalled_ = 0;
  int64_t gone_ = 0;
  int64_t restarts_ = 0;
};

}  // namespace

std::unique_ptr<ActiveFault> MakeKill(const Kill& kill, const FaultContext& context) {
  return std::make_unique<KillFault>(kill, context);
}

}  // namespace squall
