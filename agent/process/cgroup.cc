#include "agent/process/cgroup.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "agent/process/cgroup_layout.h"
#include "agent/process/limit_cgroup.h"
#include "base/fd.h"

namespace squall {
namespace {

constexpr char kPrefix[] = "squall-";

bool WriteFile(const std::string& path, absl::string_view text) {
  const Fd fd(open(path.c_str(), O_WRONLY | O_CLOEXEC));
  return fd && write(fd.get(), text.data(), text.size()) == static_cast<ssize_t>(text.size());
}

std::string Parent(const std::string& path) { return path.substr(0, path.rfind('/')); }

}  // namespace

absl::StatusOr<std::string> CgroupV2Mount() {
  for (const CgroupMount& mount : ParseCgroupMounts(Slurp("/proc/self/mountinfo"))) {
    if (mount.version == 2) return mount.folder;
  }
  return absl::NotFoundError("no cgroup v2 is mounted on this host");
}

absl::StatusOr<std::string> CgroupV2Of(pid_t pid) {
  const absl::StatusOr<std::string> mount = CgroupV2Mount();
  if (!mount.ok()) return mount.status();
  const std::vector<std::string> paths = CgroupsOf(pid);
  if (paths.empty()) return absl::NotFoundError(absl::StrCat("there is no process ", pid));
  return absl::StrCat(*mount, paths[0] == "/" ? "" : paths[0]);
}

absl::StatusOr<Cgroup> Cgroup::Make(const std::string& name) {
  const absl::StatusOr<std::string> mount = CgroupV2Mount();
  if (!mount.ok()) return mount.status();
  const absl::StatusOr<ProcStat> self = ReadStat(getpid());
  if (!self.ok()) return self.status();
  const std::string own = absl::StrCat(*mount, "/", kPrefix, self->id.pid, "-", self->id.start_ticks);
  Cgroup cgroup;
  cgroup.path_ = absl::StrCat(own, "/", name);
  if ((mkdir(own.c_str(), 0755) != 0 && errno != EEXIST) || (mkdir(cgroup.path_.c_str(), 0755) != 0 && errno != EEXIST)) {
    return absl::ErrnoToStatus(errno, absl::StrCat("cannot make cgroup ", cgroup.path_));
  }
  return cgroup;
}

std::vector<ProcessId> Cgroup::Processes() const {
  std::vector<ProcessId> processes;
  const std::string text = Slurp(absl::StrCat(path_, "/cgroup.procs"));
  for (const absl::string_view line : absl::StrSplit(text, '\n', absl::SkipEmpty())) {
    pid_t pid = 0;
    if (!absl::SimpleAtoi(line, &pid)) continue;
    const absl::StatusOr<ProcStat> stat = ReadStat(pid);
    if (stat.ok() && !HasEnded(*stat)) processes.push_back(stat->id);
  }
  return processes;
}

absl::Status Cgroup::Remove() { return KillAndRemoveCgroup(path_); }

absl::Status KillAndRemoveCgroup(const std::string& path) {
  struct stat there;
  if (path.empty() || stat(path.c_str(), &there) != 0) return absl::OkStatus();
  int error = 0;
  for (int i = 0; i < 200; ++i) {
    WriteFile(absl::StrCat(path, "/cgroup.kill"), "1");
    if (rmdir(path.c_str()) == 0 || errno == ENOENT) {
      rmdir(Parent(path).c_str());  // the agent's own, once its last service is gone
      return absl::OkStatus();
    }
    error = errno;
    absl::SleepFor(absl::Milliseconds(10));
  }
  return absl::ErrnoToStatus(error, absl::StrCat("cannot remove cgroup ", path));
}

void SweepCgroups() {
  SweepMadeCgroups();
  const absl::StatusOr<std::string> mount = CgroupV2Mount();
  if (!mount.ok()) return;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(*mount, error)) {
    const std::string name = entry.path().filename();
    if (!absl::StartsWith(name, kPrefix)) continue;
    const std::vector<std::string> parts = absl::StrSplit(name, '-');
    ProcessId owner;
    if (parts.size() != 3 || !absl::SimpleAtoi(parts[1], &owner.pid) ||
        !absl::SimpleAtoi(parts[2], &owner.start_ticks) || IsAlive(owner)) {
      continue;
    }
    for (const auto& service : std::filesystem::directory_iterator(entry.path(), error)) {
      if (service.is_directory(error)) KillAndRemoveCgroup(service.path()).IgnoreError();
    }
    rmdir(entry.path().c_str());
  }
}

}  // namespace squall
