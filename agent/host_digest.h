#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "agent/process/proc.h"

// What squall could have changed on a host, as it is now: read before a run and after it, and compared (see host_changes.h).
namespace squall {

// One thing that is there.
struct HostThing {
  std::string value;
  // The agent of squall's whose it is, by its name or because that holds it; of a lock file, the process that is held.
  // start_ticks 0: not known.
  std::optional<ProcessId> owner;
  // What must be there both times for a comparison to make sense (see HostState::places); empty: nothing.
  std::string within;
};

struct HostProcess {
  std::string name;
  pid_t parent = 0;
  // RLIMIT_NOFILE; nothing where it may not be seen.
  std::optional<std::pair<uint64_t, uint64_t>> files;  // soft, hard
  std::string standing;  // "stopped", "stopped by a tracer", "frozen"; empty: it runs
};

struct HostState {
  // By kind ("cgroup", "cgroup limit", "nftables table", "qdisc", "BPF program", "BPF link", "file", "lock") and name.
  std::map<std::pair<std::string, std::string>, HostThing> things;
  std::map<ProcessId, HostProcess> processes;  // those that are alive
  // What was there to be looked at: cgroups, interfaces, and lists that could be read.
  std::set<std::string> places;
  // How much was read, and how much could not be, by kind in the plural.
  std::map<std::string, int64_t> read;
  std::map<std::string, int64_t> unread;
};

// Where files of squall's may be.
struct SquallFolders {
  std::set<std::string> own;     // everything in them is squall's
  std::set<std::string> shared;  // what begins with "squall-" is
  std::set<std::string> files;   // others that squall made
};

// /run/squall, /run/lock, /tmp and /dev/shm, or what stands in for them for this user.
SquallFolders UsualFolders();

// Changes nothing, needs no privileges and never fails as a whole: what this user may not see is left out and counted. Takes some
// milliseconds on a host with hundreds of processes and cgroups. Thread-safe.
HostState ReadHostState(const SquallFolders& folders);

// What a limit file of a cgroup holds when nobody set a limit; nullptr: it is no such file.
const char* DefaultLimit(const std::string& file_name);

}  // namespace squall
