#include "agent/process/cpu_cgroup.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <set>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "base/fd.h"

namespace squall {
namespace {

namespace fs = std::filesystem;

constexpr char kPrefix[] = "squall-cpu-";
constexpr int kTries = 100;
constexpr absl::Duration kBetweenTries = absl::Milliseconds(10);

std::string Parent(const std::string& path) { return path.substr(0, path.rfind('/')); }
std::string LastName(const std::string& path) { return path.substr(path.rfind('/') + 1); }
std::string Procs(const std::string& folder) { return absl::StrCat(folder, "/cgroup.procs"); }

absl::Status WriteFile(const std::string& path, absl::string_view text) {
  const Fd fd(open(path.c_str(), O_WRONLY | O_CLOEXEC | O_TRUNC));
  if (fd && write(fd.get(), text.data(), text.size()) == static_cast<ssize_t>(text.size())) return absl::OkStatus();
  return absl::ErrnoToStatus(errno, absl::StrCat("cannot write '", text, "' to ", path));
}

absl::StatusOr<int64_t> ReadNumber(const std::string& path) {
  int64_t number = 0;
  if (!absl::SimpleAtoi(Slurp(path), &number)) return absl::NotFoundError(absl::StrCat("there is no number in ", path));
  return number;
}

bool IsThere(const std::string& folder) {
  struct stat status;
  return stat(folder.c_str(), &status) == 0;
}

bool IsAt(const CgroupMount& mount, const std::string& folder) { return folder == mount.folder; }

// The first cgroup of a hierarchy has no limit that could be set.
bool IsRoot(const CpuCgroup& cgroup) {
  return !IsThere(absl::StrCat(cgroup.folder, cgroup.version == 1 ? "/cpu.cfs_quota_us" : "/cgroup.type"));
}

std::vector<pid_t> PidsIn(const std::string& folder) {
  std::vector<pid_t> pids;
  for (const absl::string_view line : absl::StrSplit(Slurp(Procs(folder)), '\n', absl::SkipEmpty())) {
    pid_t pid = 0;
    if (absl::SimpleAtoi(line, &pid)) pids.push_back(pid);
  }
  return pids;
}

// Whether the children of a v2 cgroup have the cpu controller.
bool HandsOutCpu(const std::string& folder) {
  const std::string text = Slurp(absl::StrCat(folder, "/cgroup.subtree_control"));
  const std::vector<absl::string_view> controllers = absl::StrSplit(text, absl::ByAnyChar(" \n"), absl::SkipEmpty());
  return std::find(controllers.begin(), controllers.end(), "cpu") != controllers.end();
}

absl::Status NeedsHandingOut(const std::string& folder) {
  return absl::FailedPreconditionError(absl::StrCat("the cgroups in ", folder,
                                                    " have no cpu controller; write +cpu into ", folder,
                                                    "/cgroup.subtree_control first"));
}

// Whether the name is that of a folder of MakeBelow, and whose.
bool IsOfAgent(const std::string& name, ProcessId* agent) {
  const std::vector<std::string> parts = absl::StrSplit(name, '-');
  return absl::StartsWith(name, kPrefix) && parts.size() == 4 && absl::SimpleAtoi(parts[2], &agent->pid) &&
         absl::SimpleAtoi(parts[3], &agent->start_ticks);
}

// Puts everything in a cgroup of MakeBelow back to where it was and removes it. What is forked meanwhile is in it too, so
// this goes on until nothing is left.
absl::Status PutBack(const std::string& folder) {
  ProcessId agent;
  const std::string ours = Parent(folder);
  if (!IsOfAgent(LastName(ours), &agent)) return absl::InternalError(absl::StrCat(folder, " is not squall's"));
  absl::Status status;
  for (int i = 0; i < kTries && IsThere(folder); ++i) {
    if (i > 0) absl::SleepFor(kBetweenTries);
    for (const pid_t pid : PidsIn(folder)) {
      const absl::Status moved = WriteFile(Procs(Parent(ours)), absl::StrCat(pid));
      if (!moved.ok() && !absl::IsNotFound(moved)) status = moved;  // not found: it ended meanwhile
    }
    if (rmdir(folder.c_str()) != 0 && errno != ENOENT && status.ok()) {
      status = absl::ErrnoToStatus(errno, absl::StrCat("cannot remove cgroup ", folder));
    }
  }
  if (IsThere(folder)) return status;
  rmdir(ours.c_str());  // once its last cgroup is gone
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<CgroupMount> CpuMount() {
  std::optional<CgroupMount> mount = HierarchyOf(ParseCgroupMounts(Slurp("/proc/self/mountinfo")), "cpu");
  if (!mount) return absl::NotFoundError("this host has no cgroups");
  return *std::move(mount);
}

absl::StatusOr<CpuCgroup> CpuCgroupOf(pid_t pid) {
  const absl::StatusOr<CgroupMount> mount = CpuMount();
  if (!mount.ok()) return mount.status();
  const absl::StatusOr<std::string> folder =
      CgroupFolder(*mount, "cpu", Slurp(absl::StrCat("/proc/", pid, "/cgroup")));
  if (!folder.ok()) return folder.status();
  return CpuCgroup{mount->version, *folder};
}

absl::StatusOr<CpuLimit> ReadLimit(const CpuCgroup& cgroup) {
  if (cgroup.version == 2) {
    const std::string text = Slurp(absl::StrCat(cgroup.folder, "/cpu.max"));
    if (text.empty()) return absl::NotFoundError(absl::StrCat("cgroup ", cgroup.folder, " has no cpu.max"));
    return ParseCpuMax(text);
  }
  const absl::StatusOr<int64_t> quota = ReadNumber(absl::StrCat(cgroup.folder, "/cpu.cfs_quota_us"));
  const absl::StatusOr<int64_t> period = ReadNumber(absl::StrCat(cgroup.folder, "/cpu.cfs_period_us"));
  if (!quota.ok()) return quota.status();
  if (!period.ok()) return period.status();
  return CpuLimit{*quota, *period};
}

absl::Status WriteLimit(const CpuCgroup& cgroup, const CpuLimit& limit) {
  const absl::StatusOr<CpuLimit> before = ReadLimit(cgroup);
  if (!before.ok()) return before.status();
  absl::Status status;
  if (cgroup.version == 2) {
    status = WriteFile(absl::StrCat(cgroup.folder, "/cpu.max"), CpuMax(limit));
  } else {
    const std::string quota = absl::StrCat(cgroup.folder, "/cpu.cfs_quota_us");
    const std::string period = absl::StrCat(cgroup.folder, "/cpu.cfs_period_us");
    // Two files, one after the other. The longer period is in force meanwhile, so that never more is allowed than before
    // or after: the kernel refuses what is more than the cgroup above allows.
    const bool period_first = limit.period_us >= before->period_us;
    if (period_first) status = WriteFile(period, absl::StrCat(limit.period_us));
    if (status.ok()) status = WriteFile(quota, absl::StrCat(limit.limited() ? limit.quota_us : -1));
    if (status.ok() && !period_first) status = WriteFile(period, absl::StrCat(limit.period_us));
  }
  if (!status.ok()) return status;
  const absl::StatusOr<CpuLimit> now = ReadLimit(cgroup);
  if (!now.ok()) return now.status();
  if (*now == limit) return absl::OkStatus();
  return absl::InternalError(
      absl::StrCat("cgroup ", cgroup.folder, " has the limit ", CpuMax(*now), " after ", CpuMax(limit), " was set"));
}

std::vector<CpuLimit> LimitsOver(const CpuCgroup& cgroup) {
  std::vector<CpuLimit> limits;
  const absl::StatusOr<CgroupMount> mount = CpuMount();
  if (!mount.ok()) return limits;
  for (CpuCgroup at = cgroup; absl::StartsWith(at.folder, mount->folder); at.folder = Parent(at.folder)) {
    const absl::StatusOr<CpuLimit> limit = ReadLimit(at);
    if (limit.ok() && limit->limited()) limits.push_back(*limit);
    if (IsAt(*mount, at.folder)) break;
  }
  return limits;
}

absl::StatusOr<int64_t> ThrottledNs(const CpuCgroup& cgroup) {
  const std::string path = absl::StrCat(cgroup.folder, "/cpu.stat");
  const std::string text = Slurp(path);
  for (const absl::string_view line : absl::StrSplit(text, '\n')) {
    const std::vector<absl::string_view> words = absl::StrSplit(line, ' ');
    int64_t number = 0;
    if (words.size() != 2 || !absl::SimpleAtoi(words[1], &number)) continue;
    if (words[0] == "throttled_time") return number;         // v1
    if (words[0] == "throttled_usec") return number * 1'000;  // v2
  }
  return absl::NotFoundError(absl::StrCat(path, " does not say for how long it was throttled"));
}

std::vector<ProcessId> ProcessesIn(const CpuCgroup& cgroup) {
  std::vector<ProcessId> processes;
  for (const pid_t pid : PidsIn(cgroup.folder)) {
    const absl::StatusOr<ProcStat> stat = ReadStat(pid);
    if (stat.ok() && stat->state != 'Z' && stat->state != 'X') processes.push_back(stat->id);
  }
  return processes;
}

absl::Status MayMakeBelow(const CpuCgroup& home) {
  if (access(home.folder.c_str(), W_OK) != 0 || access(Procs(home.folder).c_str(), W_OK) != 0) {
    return absl::PermissionDeniedError(absl::StrCat("this user may not write cgroup ", home.folder));
  }
  if (home.version == 1) return absl::OkStatus();
  // A v2 cgroup that holds processes cannot have children with controllers, but for the very first.
  if (!IsRoot(home)) {
    return absl::FailedPreconditionError(absl::StrCat(
        "cgroup ", home.folder, " holds processes of others too, and v2 allows no cgroup with a limit of its own in it"));
  }
  return HandsOutCpu(home.folder) ? absl::OkStatus() : NeedsHandingOut(home.folder);
}

absl::StatusOr<CpuCgroup> MakeBelow(const CpuCgroup& home, const std::string& name) {
  const absl::Status may = MayMakeBelow(home);
  if (!may.ok()) return may;
  const absl::StatusOr<ProcStat> self = ReadStat(getpid());
  if (!self.ok()) return self.status();
  const std::string ours = absl::StrCat(home.folder, "/", kPrefix, self->id.pid, "-", self->id.start_ticks);
  const CpuCgroup made = {home.version, absl::StrCat(ours, "/", name)};
  if ((mkdir(ours.c_str(), 0755) != 0 && errno != EEXIST) || (mkdir(made.folder.c_str(), 0755) != 0 && errno != EEXIST)) {
    return absl::ErrnoToStatus(errno, absl::StrCat("cannot make cgroup ", made.folder));
  }
  if (made.version == 2) {
    const absl::Status status = WriteFile(absl::StrCat(ours, "/cgroup.subtree_control"), "+cpu");
    if (!status.ok()) return status;
  }
  return made;
}

absl::Status MayHaveCpuController() {
  const absl::StatusOr<CgroupMount> mount = CpuMount();
  if (!mount.ok()) return mount.status();
  return HandsOutCpu(mount->folder) ? absl::OkStatus() : NeedsHandingOut(mount->folder);
}

absl::StatusOr<CpuCgroup> WithCpuController(const std::string& folder) {
  const absl::Status may = MayHaveCpuController();
  if (!may.ok()) return may;
  const absl::Status status = WriteFile(absl::StrCat(Parent(folder), "/cgroup.subtree_control"), "+cpu");
  if (!status.ok()) return status;
  return CpuCgroup{2, folder};
}

absl::Status MoveInto(const CpuCgroup& to, const std::vector<ProcessId>& processes) {
  for (const ProcessId& process : processes) {
    if (!IsAlive(process)) continue;
    const absl::Status status = WriteFile(Procs(to.folder), absl::StrCat(process.pid));
    // EINVAL: v1 has real-time threads where they were given time for it only.
    if (!status.ok() && IsAlive(process)) {
      return absl::InternalError(absl::StrCat("pid ", process.pid, " cannot be moved into a cgroup of squall's: ",
                                              status.message(),
                                              absl::IsInvalidArgument(status) ? "; has it real-time threads?" : ""));
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<CpuPlace> PlaceOf(const std::vector<ProcessId>& processes) {
  if (processes.empty()) return absl::FailedPreconditionError("it has no process");
  const absl::StatusOr<CpuCgroup> top = CpuCgroupOf(processes[0].pid);
  if (!top.ok()) return top.status();
  CpuPlace place = {*top, false};
  bool several = false;
  std::set<pid_t> service;
  for (const ProcessId& process : processes) {
    const absl::StatusOr<CpuCgroup> at = CpuCgroupOf(process.pid);
    if (!at.ok()) continue;  // gone meanwhile
    service.insert(process.pid);
    several |= at->folder != top->folder;
    if (at->folder != top->folder && !absl::StartsWith(at->folder, top->folder + "/")) {
      return absl::FailedPreconditionError(absl::StrCat("its processes are in cgroups apart (", top->folder, " and ",
                                                        at->folder, "), on which no one quota can act"));
    }
  }
  if (!IsRoot(*top)) {
    place.own = true;
    std::vector<std::string> folders = {top->folder};
    std::error_code error;
    for (const auto& entry : fs::recursive_directory_iterator(top->folder, error)) {
      if (entry.is_directory(error)) folders.push_back(entry.path());
    }
    for (const std::string& folder : folders) {
      for (const ProcessId& other : ProcessesIn({top->version, folder})) {
        place.own &= service.count(other.pid) > 0;
      }
    }
  }
  if (place.own) {
    const absl::StatusOr<CpuLimit> limit = ReadLimit(*top);
    if (!limit.ok()) return absl::FailedPreconditionError(limit.status().message());
    const std::string file = absl::StrCat(top->folder, top->version == 1 ? "/cpu.cfs_quota_us" : "/cpu.max");
    if (access(file.c_str(), W_OK) == 0) return place;
    return absl::PermissionDeniedError(absl::StrCat("this user may not write ", file));
  }
  if (several) {
    return absl::FailedPreconditionError(
        absl::StrCat("its processes are in several cgroups below ", top->folder, ", which holds others too"));
  }
  const absl::Status may = MayMakeBelow(*top);
  if (!may.ok()) return may;
  return place;
}

absl::Status Undo(const CpuUndo& undo) {
  if (undo.made) return PutBack(undo.cgroup.folder);
  if (!IsThere(undo.cgroup.folder)) return absl::OkStatus();
  const absl::Status status = WriteLimit(undo.cgroup, undo.before);
  return IsThere(undo.cgroup.folder) ? status : absl::OkStatus();
}

void SweepCpuCgroups() {
  const absl::StatusOr<CgroupMount> mount = CpuMount();
  if (!mount.ok()) return;
  std::vector<std::string> left;
  std::error_code error;
  for (auto entry = fs::recursive_directory_iterator(mount->folder, error); entry != fs::recursive_directory_iterator();
       entry.increment(error)) {
    if (error) break;
    ProcessId agent;
    if (!IsOfAgent(entry->path().filename(), &agent)) continue;
    entry.disable_recursion_pending();
    if (!IsAlive(agent)) left.push_back(entry->path());
  }
  for (const std::string& ours : left) {
    std::vector<std::string> folders;
    for (const auto& entry : fs::directory_iterator(ours, error)) {
      if (entry.is_directory(error)) folders.push_back(entry.path());
    }
    for (const std::string& folder : folders) PutBack(folder).IgnoreError();
    rmdir(ours.c_str());
  }
}

}  // namespace squall
