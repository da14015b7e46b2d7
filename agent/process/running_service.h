#pragma once

#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "agent/events.h"
#include "agent/journal.h"
#include "agent/net/netns.h"
#include "agent/process/cgroup.h"
#include "agent/process/hold.h"
#include "agent/process/limit_cgroup.h"
#include "agent/process/main_thread.h"
#include "agent/process/proc.h"
#include "proto/scenario.pb.h"

namespace squall {

// One service of a run: processes that squall starts and ends, or that it attaches to and leaves alone. Thread-safe.
class RunningService {
 public:
  struct Context {
    std::string folder;          // of the scenario
    std::string holder;          // who to name when another run wants the service
    MainThread* main_thread;     // all three outlive the service
    Journal* journal;
    Events* events;
    // Faults will act on these controllers: it starts in cgroups whose limits can be set.
    std::set<std::string> controllers = {};
    // Takes what it prints, as it comes; nothing: its output has ended. Called on a thread of the service, and not after it is destroyed.
    std::function<void(absl::string_view)> printed = nullptr;
  };
  RunningService(const Service& service, Context context);
  ~RunningService();

  bool IsRun() const { return service_.run_size() > 0; }
  const std::string& name() const { return service_.name(); }

  // Makes the cgroup of a service that squall runs, or finds the process to attach to and takes hold of it. Changes
  // nothing about either.
  absl::Status Claim();
  // The cgroup v2 folder in which the service's processes are; NOT_FOUND without one.
  absl::StatusOr<std::string> CgroupFolder() const;

  // Of a service that squall runs: the cgroup of its own that has the controller. An error says why there is none.
  absl::StatusOr<LimitCgroup> OwnCgroup(const std::string& controller) const;

  // For services that squall runs. Start returns once the program executes.
  absl::Status Start();
  // For services that squall attaches to, once the leader is gone: finds again what its supervisor has started and takes hold of it.
  // UNAVAILABLE while fewer than `least` processes of it run; then, and on every other error, nothing has changed.
  absl::Status Reattach(size_t least);
  // Waits until the ready check holds. FAILED_PRECONDITION when it exits before or does not become ready in time, with the
  // end of what it printed.
  absl::Status WaitReady(const std::function<bool()>& cancelled);
  // SIGTERM, SIGKILL after two seconds, then everything it left in its group and cgroup.
  absl::Status Stop();
  // The next exit was asked for.
  void ExpectExit() { exit_expected_ = true; }

  // Everything that belongs to it and is alive.
  std::vector<ProcessId> Processes() const;
  // Processes that squall put into its cgroup and that do not belong to it. Replaces those of the call before.
  void Disregard(std::vector<ProcessId> strangers);
  std::optional<ProcessId> Leader() const;
  absl::StatusOr<NetNamespace> Namespace() const;

  // Notices an exit. Called every few milliseconds.
  void Look();

 private:
  absl::Status StartOnMainThread();
  absl::StatusOr<LimitCgroup> MakeOwnCgroup(const std::string& controller);
  absl::Status RemoveOwnCgroups();
  void ReadOutput(Fd pipe);
  // `status`: for an exit of what squall started, as waitpid gives it.
  void Tell(ServiceEvent::What what, pid_t pid, std::string message, bool expected, std::optional<int> status = {});
  std::string LastOutput() const;
  bool ReadyAddressIsTaken() const;

  const Service service_;
  const Context context_;
  std::optional<Cgroup> cgroup_;
  // By controller. On v1 each has a cgroup of its own, which is taken back by the number; on v2 it is the service's.
  struct OwnLimits {
    absl::StatusOr<LimitCgroup> cgroup;
    Undo undo;
    uint64_t pending = 0;
  };
  std::map<std::string, OwnLimits> own_;
  uint64_t pending_ = 0;  // of the running service
  Hold hold_;
  std::atomic<bool> exit_expected_ = false;

  mutable absl::Mutex mutex_;
  std::optional<ProcessId> leader_ ABSL_GUARDED_BY(mutex_);
  bool running_ ABSL_GUARDED_BY(mutex_) = false;
  std::string exit_ ABSL_GUARDED_BY(mutex_);
  std::vector<ProcessId> strangers_ ABSL_GUARDED_BY(mutex_);
  std::string last_output_ ABSL_GUARDED_BY(mutex_);
  std::atomic<bool> stop_reading_ = false;
  std::thread reader_;
};

}  // namespace squall
