#include "agent/leftovers.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "agent/journal.h"
#include "agent/process/cgroup.h"
#include "agent/process/hold.h"
#include "agent/undo.h"
#include "base/fd.h"

namespace squall {
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
