#include "agent/leftovers.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/file.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <filesystem>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "agent/journal.h"
#include "agent/process/cgroup.h"
#include "agent/process/hold.h"
#include "agent/undo.h"
#include "base/clock.h"
#include "base/fd.h"

namespace squall {
namespace {

constexpr int kEndsWithinMs = 2'000;
// Beyond kGuardianGraceNs: what its guardian does it has done by then.
constexpr int64_t kUnguardedNs = 3'000'000'000;

// Whether the agent that holds the journal is past its expiry, and nobody but us is there to see it.
bool Hangs(const JournalContent& journal) {
  return journal.expires_ns != 0 && journal.owner.boot_id() == BootId() && BootNanos() - journal.expires_ns > kUnguardedNs;
}

std::vector<std::string> JournalsIn(const std::string& folder) {
  std::vector<std::string> journals;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(folder, error)) {
    if (absl::EndsWith(entry.path().string(), ".journal")) journals.push_back(entry.path());
  }
  std::sort(journals.begin(), journals.end());
  return journals;
}

void TellHeld(const JournalContent& journal, std::vector<Leftover>& left) {
  for (const PendingUndo& pending : journal.pending) {
    const int pid = journal.owner.agent().pid();
    left.push_back({WhatIsChanged(pending.undo()), absl::StrCat("the agent, pid ", pid, ", lives and has not undone it"),
                    absl::StrCat("kill -KILL ", pid, "; squall-agent heal")});
  }
}

}  // namespace

void AwaitEnd(const ProcessId& agent, int pidfd) {
  pollfd ended = {pidfd, POLLIN, 0};
  poll(&ended, 1, kEndsWithinMs);
  const int64_t deadline = BootNanos() + int64_t{kEndsWithinMs} * 1'000'000;
  while (IsAlive(agent) && BootNanos() < deadline) absl::SleepFor(absl::Milliseconds(1));
}

bool EndAgent(const ProcessId& agent) {
  const Fd pidfd(static_cast<int>(syscall(SYS_pidfd_open, agent.pid, 0)));
  const absl::StatusOr<ProcStat> stat = ReadStat(agent.pid);
  if (!pidfd || !stat.ok() || stat->id != agent || HasEnded(*stat) || !absl::StartsWith(stat->name, "squall-agent")) return false;
  if (syscall(SYS_pidfd_send_signal, pidfd.get(), SIGKILL, nullptr, 0) != 0) return false;
  AwaitEnd(agent, pidfd.get());
  return !IsAlive(agent);
}

Recovered TakeBackJournal(const std::string& path, bool owner_is_dead) {
  Recovered recovered;
  const Fd fd(open(path.c_str(), O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
  if (!fd) return recovered;
  if (!owner_is_dead && flock(fd.get(), LOCK_EX | LOCK_NB) != 0) return recovered;
  const absl::StatusOr<JournalContent> content = ReadJournal(path);
  if (!content.ok()) {
    // Cut off before it said anything: nothing was done either. Damage is for somebody to look at.
    if (Slurp(path).size() < 64) {
      unlink(path.c_str());
    } else {
      recovered.left.push_back({absl::StrCat("journal ", path), std::string(content.status().message()),
                                absl::IsUnimplemented(content.status()) ? "squall-agent heal, of the squall that wrote it" : absl::StrCat("rm ", path)});
    }
    return recovered;
  }
  const bool rebooted = content->owner.boot_id() != BootId();
  for (auto pending = content->pending.rbegin(); pending != content->pending.rend(); ++pending) {
    if (rebooted && !OutlivesBoot(pending->undo())) continue;
    const absl::Status status = TakeBack(pending->undo());
    if (status.ok()) {
      ++recovered.taken_back;
    } else {
      recovered.left.push_back({WhatIsChanged(pending->undo()), std::string(status.message()), CommandFor(pending->undo())});
    }
  }
  if (recovered.left.empty()) unlink(path.c_str());
  return recovered;
}

Recovered TakeBackLeftovers(const std::string& folder) {
  Recovered all;
  for (const std::string& journal : JournalsIn(folder)) {
    if (const absl::StatusOr<JournalContent> content = ReadJournal(journal); content.ok() && Hangs(*content)) {
      const ProcessId agent = FromProto(content->owner.agent());
      if (EndAgent(agent)) {
        ++all.ended_agents;
      } else if (IsAlive(agent)) {
        TellHeld(*content, all.left);
      }
    }
    Recovered one = TakeBackJournal(journal);
    all.taken_back += one.taken_back;
    std::move(one.left.begin(), one.left.end(), std::back_inserter(all.left));
  }
  SweepCgroups();
  SweepHolds();
  return all;
}

std::vector<Leftover> HeldByTheLiving(const std::string& folder) {
  std::vector<Leftover> left;
  for (const std::string& journal : JournalsIn(folder)) {
    const Fd fd(open(journal.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
    if (!fd || flock(fd.get(), LOCK_SH | LOCK_NB) == 0) continue;
    const absl::StatusOr<JournalContent> content = ReadJournal(journal);
    if (content.ok() && !Hangs(*content)) TellHeld(*content, left);
  }
  return left;
}

std::string ToText(const Leftover& leftover) {
  return absl::StrCat("NOT HEALED: ", leftover.what, ": ", leftover.why, "; run: ", leftover.command);
}

}  // namespace squall
