#include "controller/process_faults.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "base/durations.h"
#include "base/text.h"

namespace squall {
namespace {

std::string Human(const google::protobuf::Duration& duration) { return HumanDuration(ToDuration(duration)); }

bool IsAttached(const Scenario& scenario, const std::string& name) {
  return std::any_of(scenario.services().begin(), scenario.services().end(),
                     [&](const Service& service) { return service.name() == name && service.has_attach(); });
}

std::string On(const Scenario& scenario, const std::string& name) {
  for (const Service& service : scenario.services()) {
    if (service.name() == name) return service.on();
  }
  return "";
}

// "no more descriptors", "5 more descriptors".
std::string More(int64_t number, absl::string_view one, absl::string_view several) {
  return number == 0 ? absl::StrCat("no more ", several) : absl::StrCat(number, " more ", number == 1 ? one : several);
}

std::string DescribeKill(const Kill& kill) {
  std::string what = absl::StrCat(kill.signal(), " to ");
  if (kill.count() > 0) {
    absl::StrAppend(&what, kill.count() == 1 ? "one process" : absl::StrCat(kill.count(), " processes"), " of ", kill.service(),
                    ", chosen at random");
  } else {
    absl::StrAppend(&what, kill.service());
  }
  if (kill.has_grace()) absl::StrAppend(&what, ", SIGKILL ", Human(kill.grace()), " later to what still runs");
  if (kill.has_restart_after()) absl::StrAppend(&what, ", started again after ", Human(kill.restart_after()));
  if (kill.has_supervisor_within()) absl::StrAppend(&what, ", back within ", Human(kill.supervisor_within()), " by its supervisor");
  return what;
}

std::string DescribePause(const Pause& pause) {
  const std::string what = absl::StrCat(pause.service(), " is stopped");
  if (!pause.has_each()) return what;
  return absl::StrCat(what, " for ", Human(pause.each()), " at a time, ", Human(pause.every()), " apart on average");
}

std::string DescribeMemory(const Memory& memory) {
  if (memory.how_case() == Memory::kLimit) return absl::StrCat("at most ", HumanBytes(memory.limit()), " for ", memory.service());
  return absl::StrCat("the memory of the host of ", memory.service(), " is taken until ", HumanBytes(memory.leave()), " are left");
}

std::string DescribeDisk(const Disk& disk) {
  return absl::StrCat("the filesystem of ", disk.path(), " is filled until ",
                      disk.leave() == 0 ? "nothing is left" : absl::StrCat(HumanBytes(disk.leave()), " are left"));
}

std::string DescribeCpu(const Cpu& cpu) {
  if (cpu.how_case() == Cpu::kQuota) {
    return absl::StrCat(cpu.service(), " gets ", HumanPercent(cpu.quota()), " of the processor time that it may use");
  }
  const std::string which = cpu.cores() == 0   ? absl::StrCat("every core that ", cpu.service(), " may run on")
                            : cpu.cores() == 1 ? absl::StrCat("one core that ", cpu.service(), " may run on")
                                               : absl::StrCat("each of ", cpu.cores(), " cores that ", cpu.service(),
                                                              " may run on");
  return absl::StrCat(HumanPercent(cpu.load()), " of ", which, " kept busy");
}

// A limit in a cgroup, on all processes of the service together.
Mechanism LimitMechanism(const std::string& service, bool attached, absl::string_view what, absl::string_view is) {
  return {absl::StrCat("process: all processes of ", service, " together, no other"),
          absl::StrCat(what, " in ",
                       attached ? "the service's cgroup where it is alone there, else in one made for it below that"
                                : "a cgroup of the service's own",
                       " (needs a cgroup that squall may write)"),
          attached ? absl::StrCat("the ", is, " is as before and the processes are where they were; the guardian does it when the "
                                  "agent dies")
                   : absl::StrCat("the ", is, " is lifted; the cgroup goes with the service, which dies with the agent")};
}

Mechanism KillMechanism(const Kill& kill) {
  Mechanism mechanism;
  mechanism.scope = kill.count() > 0 ? absl::StrCat("process: ", kill.count(), " of the processes of ", kill.service(),
                                                    ", drawn from the run's seed, no other")
                                     : absl::StrCat("process: every process of ", kill.service(), ", no other");
  mechanism.through = kill.count() > 0 ? "pidfd signal to these processes, each matched by pid and start time"
                                       : "pidfd signal to every process of the service, each matched by pid and start time";
  mechanism.undone_by =
      kill.has_restart_after()       ? absl::StrCat("started again after ", Human(kill.restart_after()))
      : kill.has_supervisor_within() ? absl::StrCat("its own supervisor; squall waits for up to ", Human(kill.supervisor_within()),
                                                    " until as many processes run as before")
      : kill.count() > 0             ? "nothing to undo: squall starts none of them again"
                                     : "nothing to undo: squall leaves it dead";
  return mechanism;
}

}  // namespace

std::string DescribeProcessFault(const Fault& fault) {
  switch (fault.kind_case()) {
    case Fault::kKill:
      return DescribeKill(fault.kill());
    case Fault::kPause:
      return DescribePause(fault.pause());
    case Fault::kCpu:
      return DescribeCpu(fault.cpu());
    case Fault::kMemory:
      return DescribeMemory(fault.memory());
    case Fault::kDisk:
      return DescribeDisk(fault.disk());
    case Fault::kFds:
      return absl::StrCat(fault.fds().service(), " may open ", More(fault.fds().leave(), "descriptor", "descriptors"));
    case Fault::kPids:
      return absl::StrCat(fault.pids().service(), " may start ", More(fault.pids().leave(), "process or thread", "processes or threads"));
    default:
      return "nothing";
  }
}

Mechanism ProcessMechanism(const Scenario& scenario, const Fault& fault) {
  const std::string service = ServiceOfFault(fault);
  const bool attached = IsAttached(scenario, service);
  switch (fault.kind_case()) {
    case Fault::kKill:
      return KillMechanism(fault.kill());
    case Fault::kPause:
      return {absl::StrCat("process: all processes of ", service, ", no other; connections stay open, and nothing answers"),
              attached ? "the freezer of the service's cgroup where it is alone there (cgroup.freeze of v2, or that of v1), else SIGSTOP to "
                         "each process"
                       : "the freezer of the service's cgroup (cgroup.freeze of v2), else SIGSTOP to each process",
              "thawed, or SIGCONT to what was not stopped before; the guardian does it when the agent dies"};
    case Fault::kCpu:
      if (fault.cpu().how_case() == Cpu::kLoad) {
        return {"host: all that runs on these cores feels it",
                absl::StrCat("a burner on each core that steers by the processor time it has used, in the cgroup of ", service,
                             " where that has one of its own"),
                "the burners are ended; they die with the agent"};
      }
      return LimitMechanism(service, attached, "cfs quota with a period of 100 ms", "quota");
    case Fault::kMemory:
      if (fault.memory().how_case() == Memory::kLeave) {
        return {"host: all that runs on it feels it",
                "a process that holds the memory; a floor always stays free, and what it holds is what the kernel kills first (needs "
                "root)",
                "the process is ended; it dies with the agent"};
      }
      return LimitMechanism(service, attached, "memory limit", "limit");
    case Fault::kDisk:
      return {absl::StrCat("host: all that write to the filesystem of ", fault.disk().path(), " feel it"),
              "one file made for that, allocated without being written; a floor stays free on the filesystems of /, of "
              "squall's journal and of temporary files",
              "the file is removed; it goes with the agent, or the guardian removes it"};
    case Fault::kFds:
      return {absl::StrCat("process: each process of ", service, ", no other; what is open stays open"),
              "the soft limit of descriptors (RLIMIT_NOFILE) of each process; the hard one stays",
              "the soft limit is as before; the guardian does it when the agent dies"};
    case Fault::kPids:
      return LimitMechanism(service, attached, "limit of tasks", "limit");
    default:
      return {};
  }
}

bool IsHostFault(const Fault& fault) {
  switch (fault.kind_case()) {
    case Fault::kCpu:
      return fault.cpu().how_case() == Cpu::kLoad;
    case Fault::kMemory:
      return fault.memory().how_case() == Memory::kLeave;
    case Fault::kDisk:
      return true;
    default:
      return false;
  }
}

std::string ServiceOfFault(const Fault& fault) {
  switch (fault.kind_case()) {
    case Fault::kKill:
      return fault.kill().service();
    case Fault::kPause:
      return fault.pause().service();
    case Fault::kCpu:
      return fault.cpu().service();
    case Fault::kMemory:
      return fault.memory().service();
    case Fault::kDisk:
      return fault.disk().service();
    case Fault::kFds:
      return fault.fds().service();
    case Fault::kPids:
      return fault.pids().service();
    case Fault::kDns:
      return fault.dns().service();
    case Fault::kPartition:
      return fault.partition().isolate();
    default:
      return "";
  }
}

std::string FightOverProcess(const Scenario& scenario, const Fault& a, const Fault& b) {
  const std::string service = ServiceOfFault(a);
  const std::string other = ServiceOfFault(b);
  if (service.empty() || other.empty()) return "";
  const bool same_host = On(scenario, service) == On(scenario, other);
  if (a.memory().how_case() == Memory::kLeave && b.memory().how_case() == Memory::kLeave && same_host) {
    return "take the memory of one host at the same time";
  }
  if (a.has_disk() && b.has_disk() && same_host && a.disk().path() == b.disk().path()) {
    return absl::StrCat("fill the filesystem of ", a.disk().path(), " at the same time");
  }
  if (service != other) return "";
  // What is stopped is neither killed nor started.
  const auto stopped_once = [](const Fault& fault) { return fault.has_pause() && !fault.pause().has_each(); };
  if ((a.has_kill() && stopped_once(b)) || (stopped_once(a) && b.has_kill())) {
    return absl::StrCat("act on ", service, " at the same time, and one of them has it stopped");
  }
  if (a.kind_case() != b.kind_case()) return "";
  if (a.has_pause()) return absl::StrCat("stop ", service, " at the same time, and the first to end lets it go on");
  if (a.has_fds()) return absl::StrCat("limit the descriptors of ", service, " at the same time");
  if (a.has_pids()) return absl::StrCat("limit the tasks of ", service, " at the same time");
  if (a.memory().how_case() == Memory::kLimit && b.memory().how_case() == Memory::kLimit) {
    return absl::StrCat("limit the memory of ", service, " at the same time");
  }
  // A quota and a load may act together: what is left to the service is less, and others want it too.
  if (a.has_cpu() && a.cpu().how_case() == b.cpu().how_case()) {
    return absl::StrCat(a.cpu().how_case() == Cpu::kQuota ? "set the quota of " : "load the cores of ", service, " at the same time");
  }
  return "";
}

bool DelaysByChance(const Fault& fault) {
  return fault.has_cpu() || fault.has_memory() || fault.has_fds() || fault.has_pids() || fault.has_surge() || fault.has_slice() ||
         fault.has_bandwidth();
}

bool EndsService(const Fault& fault) { return fault.has_kill() && fault.kill().count() == 0; }

bool LeavesDead(const Fault& fault) {
  return EndsService(fault) && !fault.kill().has_restart_after() && !fault.kill().has_supervisor_within();
}

}  // namespace squall
