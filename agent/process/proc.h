#pragma once

#include <sys/types.h>

#include <compare>
#include <cstdint>
#include <set>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

// What /proc says of processes. All functions are thread-safe and look anew each time.
namespace squall {

// One process for good: pids are used again, start times with them are not.
struct ProcessId {
  pid_t pid = 0;
  uint64_t start_ticks = 0;  // since boot, as in /proc/PID/stat
  friend auto operator<=>(const ProcessId&, const ProcessId&) = default;
};

struct ProcStat {
  ProcessId id;
  std::string name;
  char state = '?';
  pid_t parent = 0;
  pid_t group = 0;
  double cpu_seconds = 0;  // user and system
  double waited_for_cpu_seconds = 0;  // of its children that have ended and been waited for, and of theirs
  int threads = 0;
  int64_t rss_bytes = 0;
};

// NOT_FOUND when there is no such process.
absl::StatusOr<ProcStat> ReadStat(pid_t pid);
// It waits to be reaped and holds nothing any more. A main thread that has ended while others are still ending shows the same state, and
// the process still has its files and locks.
bool HasEnded(const ProcStat& stat);
// It runs, and is not just waiting to be reaped.
bool IsAlive(const ProcessId& process);
std::vector<pid_t> AllPids();
// Its threads, by number; none when there is no such process.
std::vector<pid_t> ThreadsOf(pid_t pid);
// `root` and everything below it, by parent; those that are alive.
std::vector<ProcessId> WithDescendants(const std::vector<ProcessId>& roots);
// What the main thread of this process has started and is still there (see MainThread). None without CONFIG_PROC_CHILDREN.
std::vector<ProcessId> Children();
// The arguments, joined by single spaces; empty for kernel threads and zombies.
std::string CommandLine(pid_t pid);
// The cores on which the process's main thread may run, by number. NOT_FOUND when there is no such process.
absl::StatusOr<std::vector<int>> CoresOf(pid_t pid);
// Descriptors open, -1 when that may not be seen.
int CountFds(pid_t pid);
// Inodes of the sockets that the process holds; none when that may not be seen.
std::vector<uint64_t> SocketInodesOf(pid_t pid);
// TCP ports on which the process's network namespace listens, and that one of `pids` holds.
std::set<int> ListeningPorts(const std::vector<ProcessId>& pids);
// The pids that hold a socket which listens on `port` in the agent's network namespace.
std::vector<pid_t> PidsListeningOn(int port);
// The last field of the cgroup lines of /proc/PID/cgroup, v2 first.
std::vector<std::string> CgroupsOf(pid_t pid);
// The agent, its parents up to pid 1: never a target.
bool IsOutOfReach(pid_t pid);
// What stands in the environment of every service of this agent, and of what it starts: "SQUALL_AGENT=PID-START".
std::string ServiceMark();
// Sends `signal` to the process group of `leader`: while that is there to the group, afterwards to those of its members that carry `mark`.
// Numbers of groups are given again, and strangers must not be hit. True: somebody was signalled.
bool SignalGroup(const ProcessId& leader, const std::string& mark, int signal);
// How the cores of this host were used since boot, in clock ticks summed over them.
struct CpuTicks {
  int64_t total = 0;
  int64_t idle = 0;   // waiting for a disk too
  int64_t steal = 0;  // taken by the hypervisor
  int cores = 0;
};
CpuTicks ReadCpuTicks();
// The whole file; empty when it cannot be read.
std::string Slurp(const std::string& path);

}  // namespace squall
