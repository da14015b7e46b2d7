#include "agent/undo.h"

#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "agent/process/cgroup.h"
#include "agent/process/cpu_cgroup.h"
#include "agent/process/proc.h"
#include "base/clock.h"

namespace squall {
namespace {

constexpr absl::Duration kPatience = absl::Seconds(2);
constexpr absl::Duration kFirstPause = absl::Milliseconds(2);
constexpr absl::Duration kLongestPause = absl::Milliseconds(100);

bool IsThere(const std::string& path) {
  struct stat status;
  return lstat(path.c_str(), &status) == 0;
}

// Quoted for a shell where it has to be.
std::string ForShell(const std::string& text) {
  const bool plain = !text.empty() && std::all_of(text.begin(), text.end(), [](char c) {
    return absl::ascii_isalnum(static_cast<unsigned char>(c)) || absl::string_view("/._-+=:,@").find(c) != absl::string_view::npos;
  });
  if (plain) return text;
  std::string quoted = "'";
  for (const char c : text) quoted += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return quoted + "'";
}

std::string PidsOf(const google::protobuf::RepeatedPtrField<UndoProcess>& processes) {
  return absl::StrJoin(processes, " ", [](std::string* out, const UndoProcess& process) { absl::StrAppend(out, process.pid()); });
}

absl::Status EndService(const ServiceUndo& service) {
  const ProcessId leader = FromProto(service.leader());
  const bool signalled = SignalGroup(leader, service.mark(), SIGKILL);
  const absl::Status removed = KillAndRemoveCgroup(service.cgroup());
  if (!removed.ok()) return removed;
  // Until nobody is left to be signalled.
  if (signalled || IsAlive(leader)) return absl::UnavailableError(absl::StrCat("pid ", leader.pid, " or what it started still runs"));
  return absl::OkStatus();
}

absl::Status Restore(const CpuLimitUndo& limit) {
  // On v1 quota and period are written one after the other.
  const absl::StatusOr<CpuLimit> now = ReadLimit({"cpu", limit.version(), limit.folder()});
  if (now.ok() && ((now->quota_us != limit.quota_us() && now->quota_us != limit.during_quota_us()) ||
                   (now->period_us != limit.period_us() && now->period_us != limit.during_period_us()))) {
    return absl::OkStatus();  // somebody else's
  }
  const absl::Status status = WriteLimit({"cpu", limit.version(), limit.folder()}, {limit.quota_us(), limit.period_us()});
  return IsThere(limit.folder()) ? status : absl::OkStatus();  // the cgroup is gone, and its limit with it
}

absl::Status Restore(const CgroupValueUndo& value) {
  if (!IsThere(value.file())) return absl::OkStatus();  // the cgroup is gone, and its limits with it
  const std::string text = Slurp(value.file());
  const absl::string_view now = absl::StripAsciiWhitespace(text);
  if (now == value.before()) return absl::OkStatus();
  if (!value.during().empty() && !now.empty() && now != value.during()) return absl::OkStatus();  // somebody else's
  const absl::Status written = WriteCgroupFile(value.file(), value.before());
  if (!IsThere(value.file())) return absl::OkStatus();
  if (!written.ok()) return written;
  const std::string after = Slurp(value.file());
  if (absl::StripAsciiWhitespace(after) == value.before()) return absl::OkStatus();
  return absl::UnavailableError(
      absl::StrCat(value.file(), " says ", absl::StripAsciiWhitespace(after), " after ", value.before(), " was written"));
}

absl::Status Continue(const StoppedUndo& stopped) {
  for (const UndoProcess& each : stopped.processes()) {
    const ProcessId process = FromProto(each);
    if (!IsAlive(process) || process.pid <= 1) continue;
    if (kill(process.pid, SIGCONT) != 0 && errno != ESRCH) {
      return absl::ErrnoToStatus(errno, absl::StrCat("cannot send SIGCONT to pid ", process.pid));
    }
    const absl::StatusOr<ProcStat> stat = ReadStat(process.pid);
    if (stat.ok() && stat->id == process && stat->state == 'T') {
      return absl::UnavailableError(absl::StrCat("pid ", process.pid, " is still stopped"));
    }
  }
  return absl::OkStatus();
}

// Raises the soft limit of open files of a process that still has `from`. Says whether it did.
absl::StatusOr<bool> RaiseLimit(const ProcessId& process, rlim_t from, rlim_t to) {
  rlimit now;
  if (!IsAlive(process) || prlimit(process.pid, RLIMIT_NOFILE, nullptr, &now) != 0) return false;
  if (now.rlim_cur != from) return false;  // as before already, or somebody else's
  const rlimit before = {std::min(to, now.rlim_max), now.rlim_max};
  if (prlimit(process.pid, RLIMIT_NOFILE, &before, nullptr) != 0) {
    if (!IsAlive(process)) return false;
    return absl::ErrnoToStatus(errno, absl::StrCat("cannot set the soft limit of open files of pid ", process.pid));
  }
  if (prlimit(process.pid, RLIMIT_NOFILE, nullptr, &now) == 0 && now.rlim_cur != before.rlim_cur && IsAlive(process)) {
    return absl::UnavailableError(absl::StrCat("the soft limit of open files of pid ", process.pid, " is ", now.rlim_cur));
  }
  return before.rlim_cur != from;
}

// What has inherited the limits, of processes that started since. Says how many had theirs raised.
absl::StatusOr<int> RaiseInherited(const SoftLimitUndo& limits) {
  std::vector<ProcessId> written;
  for (const SoftLimitUndo::OfProcess& each : limits.processes()) written.push_back(FromProto(each.process()));
  std::vector<ProcessId> heirs;
  if (limits.only_descendants()) {
    heirs = WithDescendants(written);
  } else {
    for (const pid_t pid : AllPids()) {
      if (const absl::StatusOr<ProcStat> stat = ReadStat(pid); stat.ok()) heirs.push_back(stat->id);
    }
  }
  int raised = 0;
  for (const ProcessId& heir : heirs) {
    if (heir.start_ticks < limits.since_ticks() || heir.pid <= 1 || std::count(written.begin(), written.end(), heir) > 0) continue;
    for (const SoftLimitUndo::OfProcess& each : limits.processes()) {
      const absl::StatusOr<bool> done = RaiseLimit(heir, each.set(), each.before());
      if (!done.ok()) return done.status();
      if (!*done) continue;
      ++raised;
      break;
    }
  }
  return raised;
}

absl::Status Raise(const SoftLimitUndo& limits) {
  for (const SoftLimitUndo::OfProcess& each : limits.processes()) {
    const absl::StatusOr<bool> raised = RaiseLimit(FromProto(each.process()), each.set(), each.before());
    if (!raised.ok()) return raised.status();
  }
  if (limits.since_ticks() == 0) return absl::OkStatus();
  const absl::StatusOr<int> raised = RaiseInherited(limits);
  if (!raised.ok() || *raised == 0) return raised.status();
  // One of these may have forked just before.
  return absl::UnavailableError("processes that inherited a lowered limit of open files are still being found");
}

absl::Status RemoveFile(const FileUndo& file) {
  struct stat about;
  if (lstat(file.path().c_str(), &about) != 0) {
    return errno == ENOENT || errno == ENOTDIR ? absl::OkStatus() : absl::ErrnoToStatus(errno, absl::StrCat("cannot look at ", file.path()));
  }
  if (!S_ISREG(about.st_mode) || (file.inode() != 0 && (about.st_ino != file.inode() || about.st_dev != file.device()))) {
    return absl::OkStatus();  // somebody else's
  }
  if (unlink(file.path().c_str()) != 0 && errno != ENOENT) return absl::ErrnoToStatus(errno, absl::StrCat("cannot remove ", file.path()));
  return absl::OkStatus();
}

absl::Status EndProcess(const UndoProcess& which) {
  const ProcessId process = FromProto(which);
  if (!IsAlive(process) || process.pid <= 1) return absl::OkStatus();
  if (kill(process.pid, SIGKILL) != 0 && errno != ESRCH) return absl::ErrnoToStatus(errno, absl::StrCat("cannot end pid ", process.pid));
  return IsAlive(process) ? absl::UnavailableError(absl::StrCat("pid ", process.pid, " still runs")) : absl::OkStatus();
}

absl::Status TakeBackOnce(const Undo& undo) {
  switch (undo.kind_case()) {
    case Undo::kService:
      return EndService(undo.service());
    case Undo::kCpuLimit:
      return Restore(undo.cpu_limit());
    case Undo::kMadeCgroup:
      return PutBack(undo.made_cgroup().folder());
    case Undo::kCgroupValue:
      return Restore(undo.cgroup_value());
    case Undo::kStopped:
      return Continue(undo.stopped());
    case Undo::kSoftLimit:
      return Raise(undo.soft_limit());
    case Undo::kFile:
      return RemoveFile(undo.file());
    case Undo::kProcess:
      return EndProcess(undo.process().process());
    case Undo::KIND_NOT_SET:
      break;
  }
  return absl::UnimplementedError("written by a newer squall, whose agent has to take it back");
}

}  // namespace

absl::Status TakeBack(const Undo& undo) {
  const int64_t deadline = BootNanos() + absl::ToInt64Nanoseconds(kPatience);
  for (absl::Duration pause = kFirstPause;; pause = std::min(2 * pause, kLongestPause)) {
    const absl::Status status = TakeBackOnce(undo);
    if (status.ok() || absl::IsUnimplemented(status) || BootNanos() >= deadline) return status;
    absl::SleepFor(pause);
  }
}

std::string WhatIsChanged(const Undo& undo) {
  switch (undo.kind_case()) {
    case Undo::kService:
      return absl::StrCat("the service of pid ", undo.service().leader().pid(), ", which squall started, runs");
    case Undo::kCpuLimit:
      return absl::StrCat("the cpu quota of cgroup ", undo.cpu_limit().folder());
    case Undo::kMadeCgroup:
      return absl::StrCat("cgroup ", undo.made_cgroup().folder(), ", which squall made");
    case Undo::kCgroupValue:
      return absl::StrCat(undo.cgroup_value().file(), ", which was ", undo.cgroup_value().before());
    case Undo::kStopped:
      return absl::StrCat("stopped processes: ", PidsOf(undo.stopped().processes()));
    case Undo::kSoftLimit:
      return absl::StrCat("the soft limit of open files of ",
                          absl::StrJoin(undo.soft_limit().processes(), ", ", [](std::string* out, const auto& each) {
                            absl::StrAppend(out, "pid ", each.process().pid());
                          }));
    case Undo::kFile:
      return absl::StrCat("file ", undo.file().path());
    case Undo::kProcess:
      return absl::StrCat("pid ", undo.process().process().pid(), ", a process of squall's");
    case Undo::KIND_NOT_SET:
      break;
  }
  return "something that a newer squall changed";
}

std::string CommandFor(const Undo& undo) {
  switch (undo.kind_case()) {
    case Undo::kService:
      return undo.service().cgroup().empty()
                 ? absl::StrCat("kill -KILL -- -", undo.service().leader().pid())
                 : absl::StrCat("echo 1 > ", ForShell(undo.service().cgroup()), "/cgroup.kill; rmdir ", ForShell(undo.service().cgroup()));
    case Undo::kCpuLimit: {
      const CpuLimitUndo& limit = undo.cpu_limit();
      const std::string folder = ForShell(limit.folder());
      return limit.version() == 2 ? absl::StrCat("echo ", CpuMax({limit.quota_us(), limit.period_us()}), " > ", folder, "/cpu.max")
                                  : absl::StrCat("echo ", limit.period_us(), " > ", folder, "/cpu.cfs_period_us; echo ", limit.quota_us(),
                                                 " > ", folder, "/cpu.cfs_quota_us");
    }
    case Undo::kMadeCgroup: {
      const std::string folder = ForShell(undo.made_cgroup().folder());
      return absl::StrCat("while read p; do echo $p > ", folder, "/../../cgroup.procs; done < ", folder, "/cgroup.procs; rmdir ", folder, " ",
                          folder, "/..");
    }
    case Undo::kCgroupValue:
      return absl::StrCat("echo ", ForShell(undo.cgroup_value().before()), " > ", ForShell(undo.cgroup_value().file()));
    case Undo::kStopped:
      return absl::StrCat("kill -CONT ", PidsOf(undo.stopped().processes()));
    case Undo::kSoftLimit:
      return absl::StrJoin(undo.soft_limit().processes(), "; ", [](std::string* out, const SoftLimitUndo::OfProcess& each) {
        absl::StrAppend(out, "prlimit --pid ", each.process().pid(), " --nofile=", each.before(), ":");
      });
    case Undo::kFile:
      return absl::StrCat("rm ", ForShell(undo.file().path()));
    case Undo::kProcess:
      return absl::StrCat("kill -KILL ", undo.process().process().pid());
    case Undo::KIND_NOT_SET:
      break;
  }
  return "squall-agent heal, of the squall that made it";
}

bool OutlivesBoot(const Undo& undo) { return undo.has_file(); }

UndoProcess ToProto(const ProcessId& process) {
  UndoProcess proto;
  proto.set_pid(process.pid);
  proto.set_start_ticks(process.start_ticks);
  return proto;
}

ProcessId FromProto(const UndoProcess& process) { return {process.pid(), process.start_ticks()}; }

}  // namespace squall
