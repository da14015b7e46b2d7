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

}  // namespace

bool EndAgent(const ProcessId& agent) {
  const Fd pidfd(static_cast<int>(syscall(SYS_pidfd_open, agent.pid, 0)));
  const absl::StatusOr<ProcStat> stat = ReadStat(agent.pid);
  if (!pidfd || !stat.ok() || stat->id != agent || !absl::StartsWith(stat->name, "squall-agent")) return false;
  if (syscall(SYS_pidfd_send_signal, pidfd.get(), SIGKILL, nullptr, 0) != 0) return false;
  pollfd ended = {pidfd.get(), POLLIN, 0};
  poll(&ended, 1, kEndsWithinMs);
  // Its main thread may have ended before others, which still hold its files.
  const int64_t deadline = BootNanos() + int64_t{kEndsWithinMs} * 1'000'000;
  while (IsAlive(agent) && BootNanos() < deadline) absl::SleepFor(absl::Milliseconds(1));
  return true;
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
      recovered.left.push_back({absl::StrCat("journal ", path), std::string(content.status().message()), absl::StrCat("rm ", path)});
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
  std::vector<std::string> journals;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(folder, error)) {
    if (absl::EndsWith(entry.path().string(), ".journal")) journals.push_back(entry.path());
  }
  std::sort(journals.begin(), journals.end());
  for (const std::string& journal : journals) {
    const absl::StatusOr<JournalContent> content = ReadJournal(journal);
    if (content.ok() && Hangs(*content) && EndAgent(FromProto(content->owner.agent()))) ++all.ended_agents;
    Recovered one = TakeBackJournal(journal);
    all.taken_back += one.taken_back;
    std::move(one.left.begin(), one.left.end(), std::back_inserter(all.left));
  }
  SweepCgroups();
  SweepHolds();
  return all;
}

std::string ToText(const Leftover& leftover) {
  return absl::StrCat("NOT HEALED: ", leftover.what, ": ", leftover.why, "; run: ", leftover.command);
}

}  // namespace squall
