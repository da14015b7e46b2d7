#include "agent/process/limit_cgroup.h"

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

constexpr char kPrefix[] = "squall-";
constexpr const char* kControllers[] = {"cpu", "memory", "pids", "freezer"};
constexpr int kTries = 100;
constexpr absl::Duration kBetweenTries = absl::Milliseconds(10);
constexpr int kMovePasses = 50;

std::string Parent(const std::string& path) { return path.substr(0, path.rfind('/')); }
std::string LastName(const std::string& path) { return path.substr(path.rfind('/') + 1); }
std::string Procs(const std::string& folder) { return absl::StrCat(folder, "/cgroup.procs"); }

// The first cgroup of a hierarchy has no limit that could be set.
bool IsRoot(const LimitCgroup& cgroup) {
  if (cgroup.version == 2) return !IsCgroupThere(FileOf(cgroup, "cgroup.type"));
  // memory has the file of its limit there too, which cannot be written; release_agent is there and nowhere else.
  return !IsCgroupThere(LimitFile(cgroup)) || IsCgroupThere(FileOf(cgroup, "release_agent"));
}

std::vector<pid_t> PidsIn(const std::string& folder) {
  std::vector<pid_t> pids;
  for (const absl::string_view line : absl::StrSplit(Slurp(Procs(folder)), '\n', absl::SkipEmpty())) {
    pid_t pid = 0;
    if (absl::SimpleAtoi(line, &pid)) pids.push_back(pid);
  }
  return pids;
}

// Whether the children of a v2 cgroup have the controller.
bool HandsOut(const std::string& folder, const std::string& controller) {
  if (controller == "freezer") return true;  // of every v2 cgroup
  const std::string text = Slurp(absl::StrCat(folder, "/cgroup.subtree_control"));
  const std::vector<absl::string_view> controllers = absl::StrSplit(text, absl::ByAnyChar(" \n"), absl::SkipEmpty());
  return std::find(controllers.begin(), controllers.end(), controller) != controllers.end();
}

absl::Status NeedsHandingOut(const std::string& folder, const std::string& controller) {
  return absl::FailedPreconditionError(absl::StrCat("the cgroups in ", folder, " have no ", controller, " controller; write +",
                                                    controller, " into ", folder, "/cgroup.subtree_control first"));
}

absl::Status HandOut(const std::string& folder, const std::string& controller) {
  if (controller == "freezer") return absl::OkStatus();
  return WriteCgroupFile(absl::StrCat(folder, "/cgroup.subtree_control"), absl::StrCat("+", controller));
}

// Whether the name is that of a folder of MakeBelow, and whose.
bool IsOfAgent(const std::string& name, ProcessId* agent) {
  const std::vector<std::string> parts = absl::StrSplit(name, '-');
  return absl::StartsWith(name, kPrefix) && parts.size() == 4 &&
         std::find(std::begin(kControllers), std::end(kControllers), parts[1]) != std::end(kControllers) &&
         absl::SimpleAtoi(parts[2], &agent->pid) && absl::SimpleAtoi(parts[3], &agent->start_ticks);
}

}  // namespace

absl::StatusOr<CgroupMount> MountOf(const std::string& controller) {
  std::optional<CgroupMount> mount = HierarchyOf(ParseCgroupMounts(Slurp("/proc/self/mountinfo")), controller);
  if (!mount) return absl::NotFoundError("this host has no cgroups");
  return *std::move(mount);
}

absl::StatusOr<LimitCgroup> CgroupOf(const std::string& controller, pid_t pid) {
  const absl::StatusOr<CgroupMount> mount = MountOf(controller);
  if (!mount.ok()) return mount.status();
  const absl::StatusOr<std::string> folder =
      CgroupFolder(*mount, controller, Slurp(absl::StrCat("/proc/", pid, "/cgroup")));
  if (!folder.ok()) return folder.status();
  return LimitCgroup{controller, mount->version, *folder};
}

std::string FileOf(const LimitCgroup& cgroup, const std::string& name) { return absl::StrCat(cgroup.folder, "/", name); }

std::string LimitFile(const LimitCgroup& cgroup) {
  const bool v2 = cgroup.version == 2;
  if (cgroup.controller == "cpu") return FileOf(cgroup, v2 ? "cpu.max" : "cpu.cfs_quota_us");
  if (cgroup.controller == "memory") return FileOf(cgroup, v2 ? "memory.max" : "memory.limit_in_bytes");
  if (cgroup.controller == "freezer") return FileOf(cgroup, v2 ? "cgroup.freeze" : "freezer.state");
  return FileOf(cgroup, absl::StrCat(cgroup.controller, ".max"));
}

absl::Status WriteCgroupFile(const std::string& path, absl::string_view text) {
  const Fd fd(open(path.c_str(), O_WRONLY | O_CLOEXEC | O_TRUNC));
  if (fd && write(fd.get(), text.data(), text.size()) == static_cast<ssize_t>(text.size())) return absl::OkStatus();
  return absl::ErrnoToStatus(errno, absl::StrCat("cannot write '", text, "' to ", path));
}

absl::StatusOr<int64_t> ReadCgroupNumber(const std::string& path) {
  int64_t number = 0;
  if (!absl::SimpleAtoi(Slurp(path), &number)) return absl::NotFoundError(absl::StrCat("there is no number in ", path));
  return number;
}

absl::StatusOr<int64_t> ReadCgroupKey(const std::string& path, absl::string_view key) {
  const std::string text = Slurp(path);
  for (const absl::string_view line : absl::StrSplit(text, '\n')) {
    const std::vector<absl::string_view> words = absl::StrSplit(line, ' ');
    int64_t number = 0;
    if (words.size() == 2 && words[0] == key && absl::SimpleAtoi(words[1], &number)) return number;
  }
  return absl::NotFoundError(absl::StrCat(path, " does not tell ", key));
}

bool IsCgroupThere(const std::string& path) {
  struct stat status;
  return stat(path.c_str(), &status) == 0;
}

std::vector<ProcessId> ProcessesIn(const LimitCgroup& cgroup) {
  std::vector<ProcessId> processes;
  for (const pid_t pid : PidsIn(cgroup.folder)) {
    const absl::StatusOr<ProcStat> stat = ReadStat(pid);
    if (stat.ok() && !HasEnded(*stat)) processes.push_back(stat->id);
  }
  return processes;
}

absl::Status MayMakeBelow(const LimitCgroup& home) {
  if (access(home.folder.c_str(), W_OK) != 0 || access(Procs(home.folder).c_str(), W_OK) != 0) {
    return absl::PermissionDeniedError(absl::StrCat("this user may not write cgroup ", home.folder));
  }
  if (home.version == 1) return absl::OkStatus();
  // A v2 cgroup that holds processes cannot have children with controllers, but for the very first.
  if (!IsRoot(home) && home.controller != "freezer") {
    return absl::FailedPreconditionError(absl::StrCat(
        "cgroup ", home.folder, " holds processes of others too, and v2 allows no cgroup with a limit of its own in it"));
  }
  return HandsOut(home.folder, home.controller) ? absl::OkStatus() : NeedsHandingOut(home.folder, home.controller);
}

absl::StatusOr<LimitCgroup> BelowOf(const LimitCgroup& home, const std::string& name) {
  const absl::StatusOr<ProcStat> self = ReadStat(getpid());
  if (!self.ok()) return self.status();
  return LimitCgroup{home.controller, home.version,
                     absl::StrCat(home.folder, "/", kPrefix, home.controller, "-", self->id.pid, "-", self->id.start_ticks, "/", name)};
}

absl::StatusOr<LimitCgroup> MakeBelow(const LimitCgroup& home, const std::string& name) {
  const absl::Status may = MayMakeBelow(home);
  if (!may.ok()) return may;
  const absl::StatusOr<LimitCgroup> made = BelowOf(home, name);
  if (!made.ok()) return made.status();
  const std::string ours = Parent(made->folder);
  if ((mkdir(ours.c_str(), 0755) != 0 && errno != EEXIST) || (mkdir(made->folder.c_str(), 0755) != 0 && errno != EEXIST)) {
    return absl::ErrnoToStatus(errno, absl::StrCat("cannot make cgroup ", made->folder));
  }
  if (made->version == 2) {
    const absl::Status status = HandOut(ours, made->controller);
    if (!status.ok()) return status;
  }
  return made;
}

absl::Status MayHaveController(const std::string& controller) {
  const absl::StatusOr<CgroupMount> mount = MountOf(controller);
  if (!mount.ok()) return mount.status();
  return HandsOut(mount->folder, controller) ? absl::OkStatus() : NeedsHandingOut(mount->folder, controller);
}

absl::StatusOr<LimitCgroup> WithController(const std::string& controller, const std::string& folder) {
  const absl::Status may = MayHaveController(controller);
  if (!may.ok()) return may;
  const absl::Status status = HandOut(Parent(folder), controller);
  if (!status.ok()) return status;
  return LimitCgroup{controller, 2, folder};
}

absl::Status MoveAllInto(const LimitCgroup& to, const std::function<std::vector<ProcessId>()>& processes) {
  for (int i = 0; i < kMovePasses; ++i) {
    const std::vector<ProcessId> inside = ProcessesIn(to);
    bool all = true;
    for (const ProcessId& process : processes()) {
      if (std::find(inside.begin(), inside.end(), process) != inside.end() || !IsAlive(process)) continue;
      all = false;
      const absl::Status status = WriteCgroupFile(Procs(to.folder), absl::StrCat(process.pid));
      // EINVAL: v1 has real-time threads where they were given time for it only.
      if (!status.ok() && IsAlive(process)) {
        return absl::InternalError(absl::StrCat("pid ", process.pid, " cannot be moved into a cgroup of squall's: ", status.message(),
                                                absl::IsInvalidArgument(status) ? "; has it real-time threads?" : ""));
      }
    }
    if (all) return absl::OkStatus();
  }
  return absl::DeadlineExceededError("it forks faster than its processes can be moved into a cgroup");
}

absl::StatusOr<LimitPlace> PlaceOf(const std::string& controller, const std::vector<ProcessId>& processes) {
  if (processes.empty()) return absl::FailedPreconditionError("it has no process");
  const absl::StatusOr<LimitCgroup> top = CgroupOf(controller, processes[0].pid);
  if (!top.ok()) return top.status();
  LimitPlace place = {*top, false};
  bool several = false;
  std::set<pid_t> service;
  for (const ProcessId& process : processes) {
    const absl::StatusOr<LimitCgroup> at = CgroupOf(controller, process.pid);
    if (!at.ok()) continue;  // gone meanwhile
    service.insert(process.pid);
    several |= at->folder != top->folder;
    if (at->folder != top->folder && !absl::StartsWith(at->folder, top->folder + "/")) {
      return absl::FailedPreconditionError(absl::StrCat("its processes are in cgroups apart (", top->folder, " and ",
                                                        at->folder, "), on which no one limit can act"));
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
      for (const ProcessId& other : ProcessesIn({controller, top->version, folder})) {
        place.own &= service.count(other.pid) > 0;
      }
    }
  }
  if (place.own) {
    const std::string file = LimitFile(*top);
    if (access(file.c_str(), W_OK) == 0) return place;
    if (!IsCgroupThere(file)) {
      return absl::FailedPreconditionError(absl::StrCat("cgroup ", top->folder, " has no ", controller, " controller; write +", controller,
                                                        " into ", Parent(top->folder), "/cgroup.subtree_control first"));
    }
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

// Puts everything in a cgroup of MakeBelow back to where it was and removes it. What is forked meanwhile is in it too, so
// this goes on until nothing is left.
absl::Status PutBack(const std::string& folder) {
  ProcessId agent;
  const std::string ours = Parent(folder);
  if (!IsOfAgent(LastName(ours), &agent)) return absl::InternalError(absl::StrCat(folder, " is not squall's"));
  absl::Status status;
  for (int i = 0; i < kTries && IsCgroupThere(folder); ++i) {
    if (i > 0) absl::SleepFor(kBetweenTries);
    for (const pid_t pid : PidsIn(folder)) {
      const absl::Status moved = WriteCgroupFile(Procs(Parent(ours)), absl::StrCat(pid));
      if (!moved.ok() && !absl::IsNotFound(moved)) status = moved;  // not found: it ended meanwhile
    }
    if (rmdir(folder.c_str()) != 0 && errno != ENOENT && status.ok()) {
      status = absl::ErrnoToStatus(errno, absl::StrCat("cannot remove cgroup ", folder));
    }
  }
  if (IsCgroupThere(folder)) return status;
  rmdir(ours.c_str());  // once its last cgroup is gone
  return absl::OkStatus();
}

void SweepMadeCgroups() {
  std::set<std::string> hierarchies;
  for (const char* controller : kControllers) {
    const absl::StatusOr<CgroupMount> mount = MountOf(controller);
    if (mount.ok()) hierarchies.insert(mount->folder);
  }
  std::vector<std::string> left;
  std::error_code error;
  for (const std::string& hierarchy : hierarchies) {
    for (auto entry = fs::recursive_directory_iterator(hierarchy, error); entry != fs::recursive_directory_iterator();
         entry.increment(error)) {
      if (error) break;
      ProcessId agent;
      if (!IsOfAgent(entry->path().filename(), &agent)) continue;
      entry.disable_recursion_pending();
      if (!IsAlive(agent)) left.push_back(entry->path());
    }
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
