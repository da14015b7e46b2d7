#include "agent/process/find.h"

#include <algorithm>
#include <set>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace squall {
namespace {

constexpr char kOurs[] = "pid 1, squall itself or one of its parents: out of reach";

std::vector<pid_t> Candidates(const Attach& attach) {
  switch (attach.by_case()) {
    case Attach::kListen:
      return PidsListeningOn(attach.listen());
    case Attach::kPid:
      return ReadStat(attach.pid()).ok() ? std::vector<pid_t>{attach.pid()} : std::vector<pid_t>{};
    case Attach::kCommand: {
      std::vector<pid_t> pids;
      for (const pid_t pid : AllPids()) {
        if (CommandLine(pid) == attach.command()) pids.push_back(pid);
      }
      return pids;
    }
    case Attach::kCgroup: {
      std::vector<pid_t> pids;
      for (const pid_t pid : AllPids()) {
        const std::vector<std::string> cgroups = CgroupsOf(pid);
        if (std::find(cgroups.begin(), cgroups.end(), attach.cgroup()) != cgroups.end()) pids.push_back(pid);
      }
      return pids;
    }
    case Attach::BY_NOT_SET:
      break;
  }
  return {};
}

std::string Describe(const Attach& attach) {
  switch (attach.by_case()) {
    case Attach::kListen:
      return absl::StrCat("listens on TCP port ", attach.listen());
    case Attach::kPid:
      return absl::StrCat("has pid ", attach.pid());
    case Attach::kCommand:
      return absl::StrCat("has the command line '", attach.command(), "'");
    case Attach::kCgroup:
      return absl::StrCat("is in cgroup ", attach.cgroup());
    case Attach::BY_NOT_SET:
      break;
  }
  return "is meant";
}

}  // namespace

absl::StatusOr<ProcessId> FindTarget(const Attach& attach) {
  const std::vector<pid_t> pids = Candidates(attach);
  const std::set<pid_t> matching(pids.begin(), pids.end());
  std::vector<ProcStat> roots;
  for (const pid_t pid : matching) {
    absl::StatusOr<ProcStat> stat = ReadStat(pid);
    if (!stat.ok() || HasEnded(*stat)) continue;
    if (matching.count(stat->parent) == 0) roots.push_back(*std::move(stat));
  }
  if (roots.empty()) {
    return absl::NotFoundError(absl::StrCat("no process ", Describe(attach),
                                            geteuid() == 0 ? "" : " (without root, only your own processes are seen)"));
  }
  if (roots.size() > 1) {
    std::vector<std::string> named;
    for (const ProcStat& root : roots) {
      named.push_back(absl::StrCat("pid ", root.id.pid, " (", CommandLine(root.id.pid), ")"));
      if (named.size() == 5) break;
    }
    return absl::FailedPreconditionError(absl::StrCat(roots.size(), " unrelated processes match what ", Describe(attach),
                                                      ": ", absl::StrJoin(named, ", "),
                                                      "; exactly one must: write attach: {pid: N}"));
  }
  if (IsOutOfReach(roots[0].id.pid)) {
    return absl::FailedPreconditionError(absl::StrCat("pid ", roots[0].id.pid, ", which ", Describe(attach), ", is ", kOurs));
  }
  return roots[0].id;
}

absl::Status CheckInReach(const ProcessId& root) {
  for (const ProcessId& process : WithDescendants({root})) {
    const absl::StatusOr<ProcStat> stat = ReadStat(process.pid);
    if (!stat.ok()) continue;
    std::string why;
    if (IsOutOfReach(process.pid)) {
      why = kOurs;
    } else if (stat->name == "squall" || stat->name == "squall-agent" || stat->name == "squall-front") {
      why = "squall itself: out of reach";
    } else if (stat->name == "sshd" || absl::StartsWith(stat->name, "sshd-")) {
      why = "sshd, through which somebody may be logged in: out of reach";
    }
    if (why.empty()) continue;
    return absl::FailedPreconditionError(absl::StrCat(
        process == root ? "" : absl::StrCat("below pid ", root.pid, ", "), "pid ", process.pid, " is ", why));
  }
  return absl::OkStatus();
}

}  // namespace squall
