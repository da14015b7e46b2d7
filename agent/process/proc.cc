#include "agent/process/proc.h"

#include <dirent.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <map>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "base/fd.h"

namespace squall {
namespace {

// Calls `each` with the name of every entry of a folder.
template <typename Function>
bool ForEachEntry(const std::string& folder, Function each) {
  DIR* dir = opendir(folder.c_str());
  if (dir == nullptr) return false;
  const auto close = absl::MakeCleanup([dir] { closedir(dir); });
  while (const dirent* entry = readdir(dir)) each(std::string(entry->d_name));
  return true;
}

std::vector<pid_t> NumbersIn(const std::string& folder) {
  std::vector<pid_t> numbers;
  ForEachEntry(folder, [&](const std::string& name) {
    pid_t number = 0;
    if (absl::SimpleAtoi(name, &number) && number > 0) numbers.push_back(number);
  });
  return numbers;
}

// Socket inodes of listeners, by port, from /proc/PID/net/tcp and tcp6.
std::map<uint64_t, int> Listeners(const std::string& net_folder) {
  std::map<uint64_t, int> by_inode;
  for (const char* file : {"tcp", "tcp6"}) {
    const std::string text = Slurp(absl::StrCat(net_folder, "/", file));
    for (const absl::string_view line : absl::StrSplit(text, '\n')) {
      const std::vector<absl::string_view> fields = absl::StrSplit(line, ' ', absl::SkipEmpty());
      if (fields.size() < 10 || fields[3] != "0A") continue;  // 0A: TCP_LISTEN
      const size_t colon = fields[1].rfind(':');
      uint32_t port = 0;
      uint64_t inode = 0;
      if (colon == absl::string_view::npos || !absl::SimpleHexAtoi(fields[1].substr(colon + 1), &port) ||
          !absl::SimpleAtoi(fields[9], &inode)) {
        continue;
      }
      by_inode[inode] = static_cast<int>(port);
    }
  }
  return by_inode;
}

}  // namespace

CpuTicks ReadCpuTicks() {
  CpuTicks ticks;
  const std::string stat = Slurp("/proc/stat");
  for (const absl::string_view line : absl::StrSplit(stat, '\n')) {
    if (line.substr(0, 3) != "cpu") break;
    // proc(5): cpu user nice system idle iowait irq softirq steal. The first line is the sum of the others.
    const std::vector<absl::string_view> fields = absl::StrSplit(line, ' ', absl::SkipEmpty());
    if (fields[0] != "cpu") {
      ++ticks.cores;
      continue;
    }
    for (size_t i = 1; i < fields.size() && i <= 8; ++i) {
      int64_t count = 0;
      if (!absl::SimpleAtoi(fields[i], &count)) continue;
      ticks.total += count;
      if (i == 4 || i == 5) ticks.idle += count;
      if (i == 8) ticks.steal = count;
    }
  }
  return ticks;
}

std::string Slurp(const std::string& path) {
  const Fd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  std::string text;
  char buffer[16384];
  ssize_t size;
  while (fd && (size = read(fd.get(), buffer, sizeof(buffer))) > 0) text.append(buffer, static_cast<size_t>(size));
  return text;
}

absl::StatusOr<ProcStat> ReadStat(pid_t pid) {
  const std::string text = Slurp(absl::StrCat("/proc/", pid, "/stat"));
  const size_t open = text.find('(');
  const size_t close = text.rfind(')');
  if (open == std::string::npos || close == std::string::npos) {
    return absl::NotFoundError(absl::StrCat("there is no process ", pid));
  }
  const std::vector<absl::string_view> fields =
      absl::StrSplit(absl::string_view(text).substr(close + 1), ' ', absl::SkipEmpty());
  ProcStat stat;
  stat.id.pid = pid;
  stat.name = text.substr(open + 1, close - open - 1);
  int64_t user = 0, system = 0, waited_user = 0, waited_system = 0, pages = 0;
  // Field n of proc(5) is fields[n - 3].
  if (fields.size() < 22 || !absl::SimpleAtoi(fields[1], &stat.parent) || !absl::SimpleAtoi(fields[2], &stat.group) ||
      !absl::SimpleAtoi(fields[11], &user) || !absl::SimpleAtoi(fields[12], &system) ||
      !absl::SimpleAtoi(fields[13], &waited_user) || !absl::SimpleAtoi(fields[14], &waited_system) ||
      !absl::SimpleAtoi(fields[17], &stat.threads) || !absl::SimpleAtoi(fields[19], &stat.id.start_ticks) ||
      !absl::SimpleAtoi(fields[21], &pages)) {
    return absl::InternalError(absl::StrCat("/proc/", pid, "/stat has an unknown form"));
  }
  stat.state = fields[0][0];
  const auto ticks = static_cast<double>(sysconf(_SC_CLK_TCK));
  stat.cpu_seconds = static_cast<double>(user + system) / ticks;
  stat.waited_for_cpu_seconds = static_cast<double>(waited_user + waited_system) / ticks;
  stat.rss_bytes = pages * sysconf(_SC_PAGESIZE);
  return stat;
}

bool HasEnded(const ProcStat& stat) { return stat.state == 'X' || (stat.state == 'Z' && stat.threads <= 1); }

bool IsAlive(const ProcessId& process) {
  const absl::StatusOr<ProcStat> stat = ReadStat(process.pid);
  return stat.ok() && stat->id == process && !HasEnded(*stat);
}

std::vector<pid_t> AllPids() { return NumbersIn("/proc"); }

std::vector<pid_t> ThreadsOf(pid_t pid) { return NumbersIn(absl::StrCat("/proc/", pid, "/task")); }

std::vector<ProcessId> WithDescendants(const std::vector<ProcessId>& roots) {
  std::multimap<pid_t, ProcessId> children;
  std::map<pid_t, ProcStat> stats;
  for (const pid_t pid : AllPids()) {
    absl::StatusOr<ProcStat> stat = ReadStat(pid);
    if (!stat.ok() || HasEnded(*stat)) continue;
    children.emplace(stat->parent, stat->id);
    stats[pid] = *std::move(stat);
  }
  std::vector<ProcessId> all;
  std::set<pid_t> seen;
  const auto add = [&](const ProcessId& id) {
    const auto found = stats.find(id.pid);
    if (found != stats.end() && found->second.id == id && seen.insert(id.pid).second) all.push_back(id);
  };
  for (const ProcessId& root : roots) add(root);
  for (size_t i = 0; i < all.size(); ++i) {
    const auto [from, to] = children.equal_range(all[i].pid);
    for (auto child = from; child != to; ++child) add(child->second);
  }
  return all;
}

std::vector<ProcessId> Children() {
  std::vector<ProcessId> children;
  const std::string pids = Slurp(absl::StrCat("/proc/self/task/", getpid(), "/children"));
  for (const absl::string_view text : absl::StrSplit(pids, ' ', absl::SkipEmpty())) {
    pid_t pid = 0;
    if (!absl::SimpleAtoi(text, &pid)) continue;
    if (const absl::StatusOr<ProcStat> stat = ReadStat(pid); stat.ok()) children.push_back(stat->id);
  }
  return children;
}

std::string CommandLine(pid_t pid) {
  std::string text = Slurp(absl::StrCat("/proc/", pid, "/cmdline"));
  while (!text.empty() && text.back() == '\0') text.pop_back();
  for (char& c : text) {
    if (c == '\0') c = ' ';
  }
  return text;
}

absl::StatusOr<std::vector<int>> CoresOf(pid_t pid) {
  // As many bits as the largest kernel has; the call fails when they are fewer than this one's.
  constexpr int kMost = 8192;
  cpu_set_t* set = CPU_ALLOC(kMost);
  const auto free = absl::MakeCleanup([set] { CPU_FREE(set); });
  const size_t size = CPU_ALLOC_SIZE(kMost);
  CPU_ZERO_S(size, set);
  if (sched_getaffinity(pid, size, set) != 0) {
    return absl::ErrnoToStatus(errno, absl::StrCat("cannot tell the cores of pid ", pid));
  }
  std::vector<int> cores;
  for (int core = 0; core < kMost; ++core) {
    if (CPU_ISSET_S(core, size, set)) cores.push_back(core);
  }
  return cores;
}

int CountFds(pid_t pid) {
  int count = 0;
  const bool seen = ForEachEntry(absl::StrCat("/proc/", pid, "/fd"), [&](const std::string& name) {
    if (name[0] != '.') ++count;
  });
  return seen ? count : -1;
}

std::vector<uint64_t> SocketInodesOf(pid_t pid) {
  std::vector<uint64_t> inodes;
  const std::string folder = absl::StrCat("/proc/", pid, "/fd");
  ForEachEntry(folder, [&](const std::string& name) {
    char target[64];
    const ssize_t size = readlink(absl::StrCat(folder, "/", name).c_str(), target, sizeof(target));
    if (size <= 0) return;
    absl::string_view link(target, static_cast<size_t>(size));
    uint64_t inode = 0;
    if (absl::ConsumePrefix(&link, "socket:[") && absl::ConsumeSuffix(&link, "]") && absl::SimpleAtoi(link, &inode)) {
      inodes.push_back(inode);
    }
  });
  return inodes;
}

std::set<int> ListeningPorts(const std::vector<ProcessId>& pids) {
  std::set<int> ports;
  for (const ProcessId& process : pids) {
    const std::map<uint64_t, int> listeners = Listeners(absl::StrCat("/proc/", process.pid, "/net"));
    if (listeners.empty()) continue;
    for (const uint64_t inode : SocketInodesOf(process.pid)) {
      const auto found = listeners.find(inode);
      if (found != listeners.end()) ports.insert(found->second);
    }
  }
  return ports;
}

std::vector<pid_t> PidsListeningOn(int port) {
  std::set<uint64_t> wanted;
  for (const auto& [inode, at] : Listeners("/proc/thread-self/net")) {
    if (at == port) wanted.insert(inode);
  }
  std::vector<pid_t> pids;
  if (wanted.empty()) return pids;
  for (const pid_t pid : AllPids()) {
    for (const uint64_t inode : SocketInodesOf(pid)) {
      if (wanted.count(inode) == 0) continue;
      pids.push_back(pid);
      break;
    }
  }
  return pids;
}

std::vector<std::string> CgroupsOf(pid_t pid) {
  std::vector<std::string> paths;
  const std::string text = Slurp(absl::StrCat("/proc/", pid, "/cgroup"));
  for (const absl::string_view line : absl::StrSplit(text, '\n', absl::SkipEmpty())) {
    const std::vector<absl::string_view> parts = absl::StrSplit(line, absl::MaxSplits(':', 2));
    if (parts.size() != 3) continue;
    // "0::" is the line of cgroup v2.
    paths.insert(parts[0] == "0" ? paths.begin() : paths.end(), std::string(parts[2]));
  }
  return paths;
}

bool IsOutOfReach(pid_t pid) {
  for (pid_t at = getpid(); at > 1;) {
    if (at == pid) return true;
    const absl::StatusOr<ProcStat> stat = ReadStat(at);
    if (!stat.ok()) break;
    at = stat->parent;
  }
  return pid <= 1;
}

std::string ServiceMark() {
  const absl::StatusOr<ProcStat> self = ReadStat(getpid());
  return self.ok() ? absl::StrCat("SQUALL_AGENT=", self->id.pid, "-", self->id.start_ticks) : "";
}

bool SignalGroup(const ProcessId& leader, const std::string& mark, int signal) {
  if (leader.pid <= 1) return false;
  const absl::StatusOr<ProcStat> now = ReadStat(leader.pid);
  if (now.ok() && now->id == leader) {
    return kill(-leader.pid, signal) == 0 && !HasEnded(*now);
  }
  // Its number may name a group of strangers by now.
  if (mark.empty()) return false;
  bool any = false;
  const std::string marked = std::string(1, '\0') + mark + '\0';
  for (const pid_t pid : AllPids()) {
    const absl::StatusOr<ProcStat> stat = ReadStat(pid);
    if (!stat.ok() || stat->group != leader.pid || stat->id.start_ticks < leader.start_ticks || HasEnded(*stat)) continue;
    const std::string environment = std::string(1, '\0') + Slurp(absl::StrCat("/proc/", pid, "/environ"));
    if (environment.find(marked) != std::string::npos && IsAlive(stat->id)) any |= kill(pid, signal) == 0;
  }
  return any;
}

}  // namespace squall
