#include "controller/assertions/process_evidence.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "base/durations.h"
#include "base/text.h"
#include "controller/assertions/words.h"

namespace squall {
namespace {

// What had less than this share of what it was asked to have has not acted as asked.
constexpr double kLeastAchieved = 0.5;
// From here on it is as asked.
constexpr double kAsAsked = 0.95;
// A filesystem is as full as asked when no more than this is free beyond it: others write and remove meanwhile.
constexpr int64_t kDiskSlackBytes = 16 << 20;
constexpr double kDiskSlack = 0.1;

std::string KillSeen(const Kill& kill, const Evidence& evidence) {
  std::string seen = absl::StrCat(Grouped(evidence.gone()), " of ", Grouped(evidence.signalled()),
                                  evidence.signalled() == 1 ? " process gone" : " processes gone");
  if (evidence.ended_by_grace() > 0) absl::StrAppend(&seen, ", ", Grouped(evidence.ended_by_grace()), " of them by SIGKILL after the grace");
  if (kill.has_supervisor_within()) {
    return absl::StrCat(seen, evidence.restarts() > 0 ? ", brought back by its supervisor" : ", not seen back yet");
  }
  if (evidence.restarts() == 1) seen += ", started again once";
  if (evidence.restarts() > 1)
    absl::StrAppend(&seen, ", started again ", Grouped(evidence.restarts()), " times");
  return seen;
}

std::optional<Obstacle> KillGate(const Fault& fault, const Evidence& evidence) {
  if (evidence.signalled() > 0 && evidence.gone() == evidence.signalled()) return std::nullopt;
  if (evidence.signalled() == 0) {
    return Obstacle{absl::StrCat("fault ", fault.name(), " touched nothing: no process of ", fault.kill().service(),
                                 " was there to be killed"),
                    "check that the service still runs when the fault begins"};
  }
  return Obstacle{absl::StrCat("fault ", fault.name(), ": only ", evidence.gone(), " of ", evidence.signalled(),
                               " signalled processes went away"),
                  "use `signal: SIGKILL`, write `grace` to have that sent later, or let the service end on this signal"};
}

// For how long it was to be stopped; 0: as it happened to be drawn.
int64_t StopAsked(const Fault& fault, const Evidence& evidence) {
  if (evidence.requested_ns() > 0 || fault.pause().has_each()) return evidence.requested_ns();
  return absl::ToInt64Nanoseconds(ToDuration(fault.for_()));
}

std::string PauseSeen(const Fault& fault, const Evidence& evidence) {
  if (evidence.pauses() == 0) return "never seen stopped";
  std::string seen = absl::StrCat("stopped ", evidence.pauses() == 1 ? "once" : Counted(evidence.pauses(), "time"), ", for ",
                                  Tenths(evidence.paused_ns()), " in all");
  if (StopAsked(fault, evidence) > 0) absl::StrAppend(&seen, " of ", Tenths(StopAsked(fault, evidence)), " asked");
  return seen;
}

std::optional<Obstacle> PauseGate(const Fault& fault, const Evidence& evidence) {
  const std::string& service = fault.pause().service();
  if (evidence.pauses() == 0) {
    return Obstacle{absl::StrCat("fault ", fault.name(), " was not observed: the processes of ", service, " were never all seen stopped"),
                    fault.pause().has_each() ? "raise `for`, or lower `every`, so that a stop falls into it for certain"
                                             : "check that the service runs when the fault begins, and that nobody else continues it"};
  }
  const int64_t asked_ns = StopAsked(fault, evidence);
  if (static_cast<double>(evidence.paused_ns()) >= kLeastAchieved * static_cast<double>(asked_ns)) return std::nullopt;
  return Obstacle{absl::StrCat("fault ", fault.name(), " did not act as asked: ", service, " was stopped for ",
                               Tenths(evidence.paused_ns()), " in all instead of ", Tenths(asked_ns)),
                  "check that nobody else continues its processes (a supervisor, a shell), and run where less else wants the cores"};
}

std::string CpuSeen(const Cpu& cpu, const Evidence& evidence) {
  const std::string asked = HumanPercent(evidence.requested_percent());
  const std::string achieved = HumanPercent(evidence.achieved_percent());
  if (cpu.how_case() == Cpu::kQuota) {
    return absl::StrCat(evidence.throttled_ns() > 0 ? absl::StrCat("throttled for ", Tenths(evidence.throttled_ns()), " in all")
                                                    : "never throttled",
                        "; used ", achieved, " of what it might, ", asked, " was left");
  }
  return absl::StrCat(Tenths(evidence.burned_ns()), " of processor time burned; achieved ", achieved, " of ", asked,
                      " asked");
}

// What the burners were asked for at least, over the time for which it is said what they achieved. A ramp may have grown meanwhile.
double LoadAsked(const Fault& fault, const Evidence& evidence) {
  if (fault.ramp().load_size() != 2) return evidence.requested_percent();
  return std::min(evidence.requested_percent(), (fault.ramp().load(0) + evidence.requested_percent()) / 2);
}

// A quota that was never used up held nothing back. Burners that had less than half of what they wanted loaded nothing.
std::optional<Obstacle> CpuGate(const Fault& fault, const Evidence& evidence) {
  const std::string& service = fault.cpu().service();
  if (fault.cpu().how_case() == Cpu::kQuota) {
    if (evidence.throttled_ns() > 0) return std::nullopt;
    return Obstacle{absl::StrCat("fault ", fault.name(), " held nothing back: ", service, " was never throttled, and used ",
                                 HumanPercent(evidence.achieved_percent()), " of what it might of the ",
                                 HumanPercent(evidence.requested_percent()), " that it was left"),
                    "lower `quota`, or raise `rate`, so that the service wants more than it is left"};
  }
  if (evidence.burned_ns() > 0 && evidence.achieved_percent() >= kLeastAchieved * LoadAsked(fault, evidence)) return std::nullopt;
  return Obstacle{absl::StrCat("fault ", fault.name(), " did not act as asked: its burners used ",
                               HumanPercent(evidence.achieved_percent()), " of their cores, and ",
                               HumanPercent(evidence.requested_percent()), " was asked for"),
                  absl::StrCat("lower `load`, or run where less else wants the cores; in a cgroup with a quota, ", service,
                               " and the burners share it")};
}

// "1 process", "3 processes".
std::string Processes(int64_t number) { return absl::StrCat(Grouped(number), number == 1 ? " process" : " processes"); }

// Of what had to be taken so that no more than asked was left, this was: 1 is all.
double ShareTaken(const Evidence& evidence) {
  const int64_t missing = std::max<int64_t>(0, evidence.achieved_left_bytes() - evidence.requested_left_bytes());
  const int64_t needed = evidence.held_bytes() + missing;
  return needed <= 0 ? 0 : static_cast<double>(evidence.held_bytes()) / static_cast<double>(needed);
}

std::string HeldSeen(const Evidence& evidence) {
  if (evidence.held_bytes() <= 0) return "held nothing";
  return absl::StrCat("held ", HumanBytes(evidence.held_bytes()), "; left ", HumanBytes(evidence.achieved_left_bytes()), ", ",
                      HumanBytes(evidence.requested_left_bytes()), " asked");
}

std::string MemorySeen(const Memory& memory, const Evidence& evidence) {
  if (memory.how_case() == Memory::kLeave) return HeldSeen(evidence);
  std::string seen = evidence.reclaims() == 0 ? "limit never reached" : absl::StrCat("limit reached ", Counted(evidence.reclaims(), "time"));
  absl::StrAppend(&seen, "; used ", HumanBytes(evidence.used_bytes()), " at most of ", HumanBytes(evidence.limit_bytes()));
  if (evidence.oom_kills() > 0) absl::StrAppend(&seen, "; ", Processes(evidence.oom_kills()), " killed for want of memory");
  return seen;
}

std::optional<Obstacle> MemoryGate(const Fault& fault, const Evidence& evidence) {
  const std::string& service = fault.memory().service();
  if (fault.memory().how_case() == Memory::kLimit) {
    if (evidence.reclaims() > 0 || evidence.oom_kills() > 0) return std::nullopt;
    return Obstacle{absl::StrCat("fault ", fault.name(), " held nothing back: ", service, " never reached the limit, and used ",
                                 HumanBytes(evidence.used_bytes()), " at most of ", HumanBytes(evidence.limit_bytes())),
                    "lower `limit`, or raise `rate`, so that the service wants more than it is left; on cgroup v1 what an attached "
                    "service used before is not counted"};
  }
  if (evidence.held_bytes() > 0 && ShareTaken(evidence) >= kLeastAchieved) return std::nullopt;
  if (evidence.held_bytes() <= 0) {
    return Obstacle{absl::StrCat("fault ", fault.name(), " took no memory: the host had ", HumanBytes(evidence.achieved_left_bytes()),
                                 " left, and ", HumanBytes(evidence.requested_left_bytes()), " were to be left"),
                    "lower `leave`; a floor always stays free"};
  }
  return Obstacle{absl::StrCat("fault ", fault.name(), " did not act as asked: the host had ", HumanBytes(evidence.achieved_left_bytes()),
                               " left, and ", HumanBytes(evidence.requested_left_bytes()), " were to be left"),
                  "raise `leave` above the floor that always stays free, or run it when others do not give so much memory back; the "
                  "kernel kills what squall holds first when memory runs out"};
}

std::string DiskSeen(const Evidence& evidence) {
  std::string seen = HeldSeen(evidence);
  if (evidence.refusals_seen()) {
    absl::StrAppend(&seen, "; ", evidence.refusals() == 0 ? "no write" : Counted(evidence.refusals(), "write"),
                    " of the service refused (ENOSPC)");
  }
  return seen;
}

std::optional<Obstacle> DiskGate(const Fault& fault, const Evidence& evidence) {
  const std::string& path = fault.disk().path();
  if (evidence.held_bytes() <= 0) {
    return Obstacle{absl::StrCat("fault ", fault.name(), " filled nothing of the filesystem of ", path, ": ",
                                 HumanBytes(evidence.achieved_left_bytes()), " were left, and ", HumanBytes(evidence.requested_left_bytes()),
                                 " were to be left"),
                    "lower `leave`, or name a folder of a filesystem with more room"};
  }
  if (evidence.refusals_seen() && evidence.refusals() > 0) return std::nullopt;
  const int64_t slack = std::max(kDiskSlackBytes, static_cast<int64_t>(kDiskSlack * static_cast<double>(evidence.requested_left_bytes())));
  if (ShareTaken(evidence) < 1 - kDiskSlack || evidence.achieved_left_bytes() > evidence.requested_left_bytes() + slack) {
    return Obstacle{absl::StrCat("fault ", fault.name(), " did not act as asked: ", HumanBytes(evidence.achieved_left_bytes()),
                                 " were left on the filesystem of ", path, ", and ", HumanBytes(evidence.requested_left_bytes()),
                                 " were to be left"),
                    "name a folder of another filesystem, or raise `leave`: those of /, of squall's journal and of temporary files keep 512 MiB, or "
                    "a twentieth where that is less; or run it when others do not remove so much there"};
  }
  // With something left the service may well notice without that a write fails.
  if (evidence.refusals_seen() && fault.disk().leave() == 0) {
    return Obstacle{absl::StrCat("fault ", fault.name(), " was not observed: the filesystem of ", path, " was full, and ",
                                 fault.disk().service(), " was refused nothing (ENOSPC)"),
                    "let the service write there during the fault, raise `rate` or `for`, and check `path`; root may use what is kept "
                    "for it when others may not"};
  }
  return std::nullopt;
}

// Of descriptors and tasks. `error`: what the service gets.
std::string LeftSeen(const Evidence& evidence, absl::string_view noun, absl::string_view error) {
  std::string seen = absl::StrCat(Counted(evidence.requested_left(), noun), " left at the beginning, ", Grouped(evidence.fewest_left()),
                                  " at the fewest");
  if (!evidence.refusals_seen()) return absl::StrCat(seen, "; whether any was refused cannot be seen here");
  return absl::StrCat(seen, "; ", evidence.refusals() == 0 ? "none" : Grouped(evidence.refusals()), " refused (", error, ")");
}

// That none is left proves nothing where none was left from the beginning.
std::optional<Obstacle> LeftGate(const Fault& fault, const std::string& service, absl::string_view nouns, absl::string_view error,
                                 const Evidence& evidence) {
  if (evidence.refusals() > 0) return std::nullopt;
  if (!evidence.refusals_seen() && evidence.requested_left() > 0 && evidence.fewest_left() <= 0) return std::nullopt;
  if (!evidence.refusals_seen() && evidence.requested_left() <= 0) {
    return Obstacle{absl::StrCat("fault ", fault.name(), " was not observed: whether ", service, " was refused any ", nouns,
                                 " cannot be seen on this host"),
                    "write `leave: 1` or more, so that it can be seen whether they are used up, or run the agent as root"};
  }
  return Obstacle{absl::StrCat("fault ", fault.name(), " held nothing back: ", service, " was refused none (", error, "), and ",
                               Grouped(evidence.fewest_left()), " of the ", Grouped(evidence.requested_left()), " ", nouns,
                               " that it was left were left at the fewest"),
                  absl::StrCat("lower `leave`, or raise `rate`, so that the service wants more than it is left; what it opened or started "
                               "before, in pools, it keeps")};
}

}  // namespace

std::string ProcessSeen(const Fault& fault, const Evidence& evidence) {
  switch (fault.kind_case()) {
    case Fault::kKill:
      return KillSeen(fault.kill(), evidence);
    case Fault::kPause:
      return PauseSeen(fault, evidence);
    case Fault::kCpu:
      return CpuSeen(fault.cpu(), evidence);
    case Fault::kMemory:
      return MemorySeen(fault.memory(), evidence);
    case Fault::kDisk:
      return DiskSeen(evidence);
    case Fault::kFds:
      return LeftSeen(evidence, "descriptor", "EMFILE");
    case Fault::kPids:
      return LeftSeen(evidence, "task", "EAGAIN");
    default:
      return "";
  }
}

std::optional<Obstacle> ProcessGate(const Fault& fault, const Evidence& evidence) {
  switch (fault.kind_case()) {
    case Fault::kKill:
      return KillGate(fault, evidence);
    case Fault::kPause:
      return PauseGate(fault, evidence);
    case Fault::kCpu:
      return CpuGate(fault, evidence);
    case Fault::kMemory:
      return MemoryGate(fault, evidence);
    case Fault::kDisk:
      return DiskGate(fault, evidence);
    case Fault::kFds:
      return LeftGate(fault, fault.fds().service(), "descriptors", "EMFILE", evidence);
    case Fault::kPids:
      return LeftGate(fault, fault.pids().service(), "tasks", "EAGAIN", evidence);
    default:
      return Obstacle{absl::StrCat("fault ", fault.name(), " is none of a process"), ""};
  }
}

std::string ProcessNote(const Fault& fault, const Evidence& evidence) {
  if (fault.cpu().how_case() == Cpu::kLoad && evidence.burned_ns() > 0 &&
      evidence.achieved_percent() < kAsAsked * LoadAsked(fault, evidence)) {
    return absl::StrCat("fault ", fault.name(), ": its burners used ", HumanPercent(evidence.achieved_percent()),
                        " of their cores instead of ", HumanPercent(evidence.requested_percent()),
                        ", because others wanted them too");
  }
  if (fault.has_pause() && evidence.pauses() > 0 &&
      static_cast<double>(evidence.paused_ns()) < kAsAsked * static_cast<double>(StopAsked(fault, evidence))) {
    return absl::StrCat("fault ", fault.name(), ": ", fault.pause().service(), " was seen stopped for ", Tenths(evidence.paused_ns()),
                        " in all instead of ", Tenths(StopAsked(fault, evidence)));
  }
  if (fault.memory().how_case() == Memory::kLeave && evidence.held_bytes() > 0 && ShareTaken(evidence) < kAsAsked) {
    return absl::StrCat("fault ", fault.name(), ": the host had ", HumanBytes(evidence.achieved_left_bytes()), " left instead of ",
                        HumanBytes(evidence.requested_left_bytes()));
  }
  if (fault.has_disk() && evidence.held_bytes() > 0 && !evidence.refusals_seen()) {
    return absl::StrCat("fault ", fault.name(), ": whether ", fault.disk().service(),
                        " was refused a write cannot be seen on this host; that the filesystem was as full as asked can");
  }
  return "";
}

}  // namespace squall
