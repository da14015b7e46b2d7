#include "agent/host_digest.h"

#include <dirent.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <memory>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "agent/net/kernel_lists.h"
#include "agent/net/netns.h"
#include "agent/process/cgroup_layout.h"
#include "base/fnv.h"
#include "base/local_folder.h"

namespace squall {
namespace {

// A host with many containers has as many network namespaces.
constexpr size_t kMostNamespaces = 200;
constexpr char kThere[] = "there";

// What an unlimited file says, where it says anything: v2's name, then v1's.
constexpr struct {
  const char* file;
  const char* unlimited;
} kLimits[] = {
    {"cpu.max", "max 100000"},
    {"memory.max", "max"},
    {"memory.high", "max"},
    {"memory.swap.max", "max"},
    {"cgroup.freeze", "0"},
    {"pids.max", "max"},
    {"cpu.cfs_quota_us", "-1"},
    {"cpu.cfs_period_us", "100000"},
    {"memory.limit_in_bytes", "9223372036854771712"},
    {"memory.memsw.limit_in_bytes", "9223372036854771712"},
    {"freezer.state", "THAWED"},
};

// The agent in "squall-cpu-PID-START", "squall-PID-START", "agent-PID-START.sock" or "PID-START.journal".
std::optional<ProcessId> AgentIn(absl::string_view name) {
  name = name.substr(0, name.find('.'));
  const std::vector<absl::string_view> parts = absl::StrSplit(name, '-');
  ProcessId agent;
  if (parts.size() < 2 || !absl::SimpleAtoi(parts[parts.size() - 2], &agent.pid) ||
      !absl::SimpleAtoi(parts.back(), &agent.start_ticks) || agent.pid <= 0) {
    return std::nullopt;
  }
  return agent;
}

// Of contents that are not to be repeated in a report.
std::string Fingerprint(const std::string& text) { return absl::StrFormat("%d bytes, %016x", text.size(), Fnv1a(text)); }

// The folders in `folder`. False: it cannot be read.
bool FoldersIn(const std::string& folder, std::vector<std::string>& names) {
  const std::unique_ptr<DIR, int (*)(DIR*)> dir(opendir(folder.c_str()), closedir);
  if (dir == nullptr) return false;
  while (const dirent* entry = readdir(dir.get())) {
    if (entry->d_type == DT_DIR && entry->d_name[0] != '.') names.emplace_back(entry->d_name);
  }
  return true;
}

class Reading {
 public:
  HostState Read(const SquallFolders& folders) {
    Cgroups();
    Processes();
    Network();
    Bpf();
    for (const char* file : {"/etc/resolv.conf", "/etc/hosts", "/etc/nsswitch.conf"}) ConfigFile(file);
    for (const std::string& file : folders.files) {
      struct stat about;
      if (lstat(file.c_str(), &about) == 0) Add("file", "files", file, {kThere, std::nullopt, ""});
    }
    for (const std::string& folder : folders.own) Files(folder, "");
    for (const std::string& folder : folders.shared) Files(folder, "squall-");
    return std::move(state_);
  }

 private:
  void Add(const char* kind, const char* plural, std::string name, HostThing thing) {
    ++state_.read[plural];
    state_.things[{kind, std::move(name)}] = std::move(thing);
  }

  void Cgroups() {
    std::set<std::pair<dev_t, ino_t>> seen;  // one hierarchy may be mounted at several places
    for (const CgroupMount& mount : ParseCgroupMounts(Slurp("/proc/self/mountinfo"))) {
      struct stat root;
      if (stat(mount.folder.c_str(), &root) != 0 || !seen.insert({root.st_dev, root.st_ino}).second) continue;
      Hierarchy at;
      at.top = mount.folder;
      for (const auto& [file, unlimited] : kLimits) {
        // On v2 each cgroup says by its files what it has.
        if (mount.version == 2 || IsOfHierarchy(mount, file)) at.limits.emplace_back(file, unlimited);
      }
      Cgroup(at, mount.folder, std::nullopt, false);
    }
  }

  struct Hierarchy {
    std::string top;
    std::vector<std::pair<absl::string_view, absl::string_view>> limits;  // files, and what they say without one
  };
  static bool IsOfHierarchy(const CgroupMount& mount, absl::string_view file) {
    const std::string controller(file.substr(0, file.find('.')));
    return std::find(mount.options.begin(), mount.options.end(), controller) != mount.options.end();
  }

  void Cgroup(const Hierarchy& at, const std::string& folder, std::optional<ProcessId> owner, bool frozen) {
    std::vector<std::string> below;
    if (!FoldersIn(folder, below)) {
      ++state_.unread["cgroups"];
      return;
    }
    state_.places.insert(folder);
    if (folder != at.top) Add("cgroup", "cgroups", folder, {kThere, owner, at.top});
    for (const auto& [file, unlimited] : at.limits) {
      const std::string path = absl::StrCat(folder, "/", file);
      const std::string text(absl::StripAsciiWhitespace(Slurp(path)));
      // The first cgroup has other files than those below, and v2 those of the controllers that it was given.
      if (text.empty() || text == unlimited) continue;
      if (folder == at.top) continue;
      frozen |= file == "cgroup.freeze" || file == "freezer.state";
      state_.things[{"cgroup limit", path}] = {text, owner, folder};
    }
    if (frozen) {
      for (const absl::string_view line : absl::StrSplit(Slurp(absl::StrCat(folder, "/cgroup.procs")), '\n')) {
        pid_t pid = 0;
        if (absl::SimpleAtoi(line, &pid)) frozen_.insert(pid);
      }
    }
    for (const std::string& name : below) {
      std::optional<ProcessId> of = owner;
      if (!of && absl::StartsWith(name, "squall-")) of = AgentIn(name);
      Cgroup(at, absl::StrCat(folder, "/", name), of, frozen);
    }
  }

  void Processes() {
    int64_t limits = 0;
    for (const pid_t pid : AllPids()) {
      const absl::StatusOr<ProcStat> now = ReadStat(pid);
      if (!now.ok() || HasEnded(*now)) continue;
      HostProcess process;
      process.name = now->name;
      process.parent = now->parent;
      process.standing = now->state == 'T'        ? "stopped"
                         : now->state == 't'      ? "stopped by a tracer"
                         : frozen_.count(pid) > 0 ? "frozen"
                                                  : "";
      const bool of_kernel = pid == 2 || now->parent == 2;
      rlimit files;
      if (!of_kernel && prlimit(pid, RLIMIT_NOFILE, nullptr, &files) == 0) {
        process.files = {files.rlim_cur, files.rlim_max};
        ++limits;
      } else if (!of_kernel && errno != ESRCH) {
        ++state_.unread["limits of open files"];
      }
      struct stat ns;
      if (!of_kernel && namespaces_.size() < kMostNamespaces && IsThere(absl::StrCat("/proc/", pid, "/ns/net"), ns)) {
        namespaces_.emplace(ns.st_ino, pid);
      }
      if (absl::StartsWith(now->name, "squall-agent") || pid == getpid()) agents_.push_back(now->id);
      state_.processes.emplace(now->id, std::move(process));
    }
    state_.read["processes"] = static_cast<int64_t>(state_.processes.size());
    if (limits > 0) state_.read["limits of open files"] = limits;
  }
  static bool IsThere(const std::string& path, struct stat& about) { return stat(path.c_str(), &about) == 0; }

  void Network() {
    const absl::StatusOr<NetNamespace> own = NetNamespace::Own();
    if (own.ok()) {
      Namespace(*own, "");
      namespaces_.erase(own->inode());
    }
    for (const auto& [inode, pid] : namespaces_) {
      const absl::StatusOr<NetNamespace> ns = NetNamespace::Of(pid);
      if (ns.ok() && ns->inode() == inode) Namespace(*ns, absl::StrCat(" in network namespace ", inode));
    }
  }

  void Namespace(const NetNamespace& ns, const std::string& where) {
    if (const auto tables = ListNftTables(ns); tables.ok()) {
      const std::string place = absl::StrCat("nftables", where);
      state_.places.insert(place);
      state_.read["nftables tables"] += 0;
      for (const NftTableName& table : *tables) {
        // squall-PID-NUMBER: a name of squall's tells no more.
        std::optional<ProcessId> owner;
        if (absl::StartsWith(table.name, "squall-")) owner = AgentIn(table.name);
        if (owner) owner->start_ticks = 0;
        Add("nftables table", "nftables tables", absl::StrCat(table.family, " ", table.name, where), {kThere, owner, place});
      }
    } else {
      ++state_.unread["nftables tables"];
    }
    if (const auto qdiscs = ListQdiscs(ns); qdiscs.ok()) {
      for (const Qdisc& qdisc : *qdiscs) {
        const std::string place = absl::StrCat(qdisc.interface, where);
        state_.places.insert(place);
        Add("qdisc", "qdiscs", absl::StrCat(qdisc.interface, " ", qdisc.parent, where),
            {absl::StrFormat("%s %x:", qdisc.kind, qdisc.handle >> 16), std::nullopt, place});
      }
    } else {
      ++state_.unread["qdiscs"];
    }
  }

  void Bpf() {
    const auto objects = ListBpf();
    if (!objects.ok()) {
      ++state_.unread["BPF programs"];
      return;
    }
    // What nobody holds any more is gone: whoever of squall's holds one made it.
    std::map<BpfId, ProcessId> holders;
    for (const ProcessId& agent : agents_) {
      for (const BpfId& id : BpfHeldBy(agent.pid)) {
        if (agent.pid == getpid() || holders.count(id) == 0) holders[id] = agent;
      }
    }
    state_.places.insert("BPF");
    state_.read["BPF programs"] += 0;
    for (const BpfObject& object : *objects) {
      const auto [link, number] = object.id;
      const auto holder = holders.find(object.id);
      const std::optional<ProcessId> owner = holder == holders.end() ? std::nullopt : std::optional(holder->second);
      Add(link ? "BPF link" : "BPF program", link ? "BPF links" : "BPF programs", absl::StrCat(number, " ", object.what),
          {kThere, owner, "BPF"});
    }
  }

  void ConfigFile(const std::string& path) {
    struct stat about;
    if (stat(path.c_str(), &about) != 0) return;
    if (access(path.c_str(), R_OK) != 0) {
      ++state_.unread["files"];
      return;
    }
    Add("file", "files", path, {Fingerprint(Slurp(path)), std::nullopt, ""});
  }

  void Files(const std::string& folder, const std::string& prefix) {
    std::error_code error;
    auto entry = std::filesystem::directory_iterator(folder, error);
    if (error) {
      if (error != std::errc::no_such_file_or_directory) ++state_.unread["files"];
      return;
    }
    for (; entry != std::filesystem::directory_iterator(); entry.increment(error)) {
      if (error) break;
      const std::string name = entry->path().filename();
      if (!absl::StartsWith(name, prefix)) continue;
      const bool lock = absl::StartsWith(name, "squall-") && absl::EndsWith(name, ".lock");
      Add(lock ? "lock" : "file", "files", entry->path(), {kThere, AgentIn(name), ""});
    }
  }

  HostState state_;
  std::set<pid_t> frozen_;
  std::map<uint64_t, pid_t> namespaces_;  // by inode, with a process that is in it
  std::vector<ProcessId> agents_;
};

}  // namespace

const char* DefaultLimit(const std::string& file_name) {
  for (const auto& [file, unlimited] : kLimits) {
    if (file_name == file) return unlimited;
  }
  return nullptr;
}

SquallFolders UsualFolders() { return {{LocalFolder()}, {"/run/lock", "/tmp", "/dev/shm"}, {}}; }

HostState ReadHostState(const SquallFolders& folders) { return Reading().Read(folders); }

}  // namespace squall
