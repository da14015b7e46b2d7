#include "agent/guardian.h"

#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <map>
#include <utility>

#include "absl/status/status.h"
#include "agent/process/cgroup.h"

namespace squall {
namespace {

// One record: smaller than PIPE_BUF, so that writes of several threads never mix.
struct Record {
  bool watch = false;
  bool is_cpu_undo = false;  // otherwise a service
  ProcessId leader;
  char cgroup[1024] = {};
  int cpu_version = 0;
  bool cpu_made = false;
  CpuLimit cpu_before;
};
static_assert(sizeof(Record) < PIPE_BUF);

Record ToRecord(const CpuUndo& undo, bool watch) {
  Record record;
  record.watch = watch;
  record.is_cpu_undo = true;
  strncpy(record.cgroup, undo.cgroup.folder.c_str(), sizeof(record.cgroup) - 1);
  record.cpu_version = undo.cgroup.version;
  record.cpu_made = undo.made;
  record.cpu_before = undo.before;
  return record;
}

CpuUndo ToCpuUndo(const Record& record) {
  return {{record.cpu_version, record.cgroup}, record.cpu_made, record.cpu_before};
}

[[noreturn]] void Guard(int pipe) {
  setsid();
  prctl(PR_SET_NAME, "squall-guardian");
  for (const int signal : {SIGINT, SIGTERM, SIGHUP, SIGPIPE, SIGQUIT}) ::signal(signal, SIG_IGN);
  std::map<pid_t, Record> watched;
  // A limit in a cgroup that was made too is one of each: `made` sorts last, and is undone last.
  std::map<std::pair<std::string, bool>, Record> cpu_undos;
  Record record;
  for (;;) {
    const ssize_t size = read(pipe, &record, sizeof(record));
    if (size < 0 && errno == EINTR) continue;
    if (size != static_cast<ssize_t>(sizeof(record))) break;  // the agent is gone
    if (record.is_cpu_undo) {
      const std::pair<std::string, bool> key = {record.cgroup, record.cpu_made};
      cpu_undos.erase(key);
      if (record.watch) cpu_undos[key] = record;
    } else if (record.watch) {
      watched[record.leader.pid] = record;
    } else {
      watched.erase(record.leader.pid);
    }
  }
  for (const auto& [pid, service] : watched) {
    SignalGroup(service.leader, SIGKILL);
    KillAndRemoveCgroup(service.cgroup).IgnoreError();
  }
  // After the services, so that nothing of theirs is left to be put back.
  for (const auto& [key, undo] : cpu_undos) Undo(ToCpuUndo(undo)).IgnoreError();
  _exit(0);
}

}  // namespace

void SignalGroup(const ProcessId& leader, int signal) {
  const absl::StatusOr<ProcStat> now = ReadStat(leader.pid);
  // While a group has members its number is not given to a new process; a process of that number with another start
  // time is a stranger.
  if (leader.pid > 1 && (!now.ok() || now->id == leader)) kill(-leader.pid, signal);
}

absl::StatusOr<Guardian> Guardian::Fork() {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) return absl::ErrnoToStatus(errno, "cannot make a pipe");
  const pid_t pid = fork();
  if (pid < 0) return absl::ErrnoToStatus(errno, "cannot fork the guardian");
  if (pid == 0) {
    close(ends[1]);
    Guard(ends[0]);
  }
  close(ends[0]);
  Guardian guardian;
  guardian.pipe_ = Fd(ends[1]);
  guardian.pid_ = pid;
  return guardian;
}

void Guardian::Watch(const ProcessId& leader, const std::string& cgroup) const {
  Record record;
  record.watch = true;
  record.leader = leader;
  strncpy(record.cgroup, cgroup.c_str(), sizeof(record.cgroup) - 1);
  (void)!write(pipe_.get(), &record, sizeof(record));
}

void Guardian::Watch(const CpuUndo& undo) const {
  const Record record = ToRecord(undo, /*watch=*/true);
  (void)!write(pipe_.get(), &record, sizeof(record));
}

void Guardian::Forget(const CpuUndo& undo) const {
  const Record record = ToRecord(undo, /*watch=*/false);
  (void)!write(pipe_.get(), &record, sizeof(record));
}

void Guardian::Forget(const ProcessId& leader) const {
  Record record;
  record.leader = leader;
  (void)!write(pipe_.get(), &record, sizeof(record));
}

}  // namespace squall
