#include "agent/host_changes.h"

#include <algorithm>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "agent/undo.h"

namespace squall {
namespace {

constexpr char kGuardian[] = "squall-guardian";

bool Is(const ProcessId& known, const ProcessId& process) {
  return known.pid == process.pid && (known.start_ticks == 0 || known.start_ticks == process.start_ticks);
}

std::string NameOf(const ProcessId& id, const HostProcess& process) { return absl::StrCat("pid ", id.pid, " (", process.name, ")"); }

std::string Folder(const std::string& path) { return path.substr(0, path.rfind('/')); }

std::string FilesWords(const HostProcess& process) {
  const auto number = [](uint64_t limit) { return limit == ~0ull ? std::string("unlimited") : absl::StrCat(limit); };
  return absl::StrCat("soft ", number(process.files->first), ", hard ", number(process.files->second));
}

std::string StandingWords(const HostProcess& process) { return process.standing.empty() ? "runs" : process.standing; }

// What puts it back, of things that squall made or changed.
std::string CommandFor(const std::string& kind, const std::string& name, const std::string& before) {
  Undo undo;
  if (kind == "cgroup") {
    // HOME/squall-CONTROLLER-PID-START/NAME, whose processes belong to HOME, or MOUNT/squall-PID-START/NAME, a service.
    const std::string around = Folder(name);
    if (!absl::StartsWith(around.substr(around.rfind('/') + 1), "squall-")) return absl::StrCat("rmdir ", name);
    if (std::count(around.begin() + static_cast<ptrdiff_t>(around.rfind('/')), around.end(), '-') == 3) {
      undo.mutable_made_cgroup()->set_folder(name);
    } else {
      undo.mutable_service()->set_cgroup(name);
    }
    return squall::CommandFor(undo);
  }
  if (kind == "cgroup limit") {
    undo.mutable_cgroup_value()->set_file(name);
    undo.mutable_cgroup_value()->set_before(before);
    return squall::CommandFor(undo);
  }
  if (kind == "nftables table") return absl::StrCat("nft delete table ", name.substr(0, name.find(" in ")));
  if (kind == "file" || kind == "lock") {
    undo.mutable_file()->set_path(name);
    return squall::CommandFor(undo);
  }
  return "";
}

class Comparison {
 public:
  Comparison(const HostState& before, const HostState& after, const Touched& touched)
      : before_(before), after_(after), touched_(touched) {}

  std::vector<HostChange> Changes() {
    static const HostThing kNone;
    for (const auto& [key, was] : before_.things) {
      const auto now = after_.things.find(key);
      LookAt(key.first, key.second, was, now == after_.things.end() ? kNone : now->second);
    }
    for (const auto& [key, now] : after_.things) {
      if (before_.things.count(key) == 0) LookAt(key.first, key.second, kNone, now);
    }
    for (const auto& [id, now] : after_.processes) {
      const auto was = before_.processes.find(id);
      if (was != before_.processes.end()) {
        LookAt(id, was->second, now);
      } else {
        LookAtNew(id, now);
      }
    }
    std::stable_sort(changes_.begin(), changes_.end(),
                     [](const HostChange& a, const HostChange& b) { return a.by_squall() && !b.by_squall(); });
    return std::move(changes_);
  }

 private:
  bool IsAlive(const ProcessId& agent) const {
    // Ordered by pid first: the one process of that number comes right behind it.
    const auto found = after_.processes.lower_bound({agent.pid, 0});
    return found != after_.processes.end() && Is(agent, found->first);
  }

  void LookAt(const std::string& kind, const std::string& name, const HostThing& was, const HostThing& now) {
    if (was.value == now.value) return;
    const HostThing& thing = now.value.empty() ? was : now;
    if (!thing.within.empty() && (before_.places.count(thing.within) == 0 || after_.places.count(thing.within) == 0)) return;
    const bool gone = now.value.empty();
    bool ours = !gone && (touched_.cgroups.count(name) > 0 || touched_.files.count(name) > 0);
    if (kind == "cgroup limit") {
      ours = touched_.cgroups.count(name) > 0 || touched_.cgroups.count(Folder(name)) > 0;
    } else if (kind == "lock") {
      // Held for as long as a run lasts, and named after the service.
      if (gone || !thing.owner || touched_.services.count(*thing.owner) == 0) return;
      ours = true;
    }
    if (kind != "lock" && thing.owner) {
      const bool own = Is(*thing.owner, touched_.agent);
      if (gone || (!own && IsAlive(*thing.owner))) return;  // squall's, taken away or at work
      ours |= own;
    }
    std::string before = was.value, after = now.value;
    if (kind == "cgroup limit") {
      const char* unlimited = DefaultLimit(name.substr(name.rfind('/') + 1));
      if (before.empty()) before = unlimited;
      if (after.empty()) after = unlimited;
    }
    Add(kind, name, before, after, ours, ours ? CommandFor(kind, name, before) : "");
  }

  void LookAt(const ProcessId& id, const HostProcess& was, const HostProcess& now) {
    const bool ours = touched_.processes.count(id) > 0;
    if (was.files && now.files && was.files != now.files) {
      Undo undo;
      SoftLimitUndo::OfProcess& of = *undo.mutable_soft_limit()->add_processes();
      *of.mutable_process() = ToProto(id);
      of.set_before(was.files->first);
      Add("limit of open files", NameOf(id, now), FilesWords(was), FilesWords(now), ours, ours ? squall::CommandFor(undo) : "");
    }
    if (was.standing != now.standing) {
      const std::string command = absl::StrCat(now.standing == "stopped" ? "kill -CONT " : "kill -STOP ", id.pid);
      const bool by_signal = now.standing == "stopped" || was.standing == "stopped";
      Add("process", NameOf(id, now), StandingWords(was), StandingWords(now), ours, ours && by_signal ? command : "");
    }
  }

  // Processes come and go. One that stands still is somebody's doing, and one of squall's own should have ended.
  void LookAtNew(const ProcessId& id, const HostProcess& now) {
    const bool child = now.parent == touched_.agent.pid && !absl::StartsWith(now.name, kGuardian);
    const bool stands = !now.standing.empty() && touched_.processes.count(id) > 0;
    if (!child && !stands) return;
    Add("process", NameOf(id, now), "", StandingWords(now), true, absl::StrCat(child ? "kill -KILL " : "kill -CONT ", id.pid));
  }

  void Add(const std::string& kind, const std::string& name, const std::string& before, const std::string& after, bool by_squall,
           const std::string& command) {
    HostChange& change = changes_.emplace_back();
    change.set_kind(kind == "lock" ? "file" : kind);
    change.set_name(name);
    change.set_before(before);
    change.set_after(after);
    change.set_by_squall(by_squall);
    change.set_command(command);
  }

  const HostState& before_;
  const HostState& after_;
  const Touched& touched_;
  std::vector<HostChange> changes_;
};

}  // namespace

void AddTo(Touched& touched, const Undo& undo) {
  switch (undo.kind_case()) {
    case Undo::kService:
      if (!undo.service().cgroup().empty()) touched.cgroups.insert(undo.service().cgroup());
      break;
    case Undo::kCpuLimit:
      touched.cgroups.insert(undo.cpu_limit().folder());
      break;
    case Undo::kMadeCgroup:
      touched.cgroups.insert(undo.made_cgroup().folder());
      break;
    case Undo::kCgroupValue:
      touched.cgroups.insert(undo.cgroup_value().file());
      break;
    case Undo::kStopped:
      for (const UndoProcess& process : undo.stopped().processes()) touched.processes.insert(FromProto(process));
      break;
    case Undo::kSoftLimit:
      for (const SoftLimitUndo::OfProcess& each : undo.soft_limit().processes()) touched.processes.insert(FromProto(each.process()));
      break;
    case Undo::kFile:
      touched.files.insert(undo.file().path());
      break;
    case Undo::kProcess:
      touched.processes.insert(FromProto(undo.process().process()));
      break;
    case Undo::KIND_NOT_SET:
      break;
  }
}

std::vector<HostChange> Compare(const HostState& before, const HostState& after, const Touched& touched) {
  return Comparison(before, after, touched).Changes();
}

std::string ToText(const HostChange& change) {
  const std::string how = change.before().empty()  ? absl::StrCat("it was not there before the run, and now it ", change.after() == "there" ? "is" : change.after())
                          : change.after().empty() ? "it was there before the run, and is gone"
                                                   : absl::StrCat("it was \"", change.before(), "\" before the run, and is \"", change.after(), "\"");
  return absl::StrCat(change.kind(), " ", change.name(), ": ", how, change.command().empty() ? "" : "; run: ", change.command());
}

}  // namespace squall
