#include "agent/host_watch.h"

#include <unistd.h>

#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "base/clock.h"

namespace squall {
namespace {

constexpr int64_t kPatienceNs = 500'000'000;
constexpr absl::Duration kBetweenLooks = absl::Milliseconds(20);

}  // namespace

SquallFolders HostWatch::Folders() const {
  SquallFolders folders = UsualFolders();
  if (!journal_->path().empty()) folders.own.insert(journal_->path().substr(0, journal_->path().rfind('/')));
  folders.files = touched_.files;
  return folders;
}

void HostWatch::Begin() {
  const absl::StatusOr<ProcStat> self = ReadStat(getpid());
  if (self.ok()) touched_.agent = self->id;
  before_ = ReadHostState(Folders());
  begun_ = true;
}

void HostWatch::NoteUndos() {
  for (const PendingUndo& pending : journal_->Pending()) AddTo(touched_, pending.undo());
}

void HostWatch::NoteTargets(const std::vector<ProcessId>& processes) {
  touched_.processes.insert(processes.begin(), processes.end());
}

void HostWatch::End(FinishReply& reply) {
  if (!begun_) return;
  const int64_t deadline = BootNanos() + kPatienceNs;
  std::vector<HostChange> changes;
  while (true) {
    changes = Compare(before_, ReadHostState(Folders()), touched_);
    if (changes.empty() || !changes[0].by_squall() || BootNanos() >= deadline) break;
    absl::SleepFor(kBetweenLooks);
  }
  for (const auto& [kind, count] : before_.read) (*reply.mutable_digested()->mutable_compared())[kind] = count;
  for (const auto& [kind, count] : before_.unread) (*reply.mutable_digested()->mutable_not_seen())[kind] = count;
  for (HostChange& change : changes) {
    if (change.by_squall()) reply.add_not_healed(ToText(change));
    *reply.add_host_changes() = std::move(change);
  }
}

}  // namespace squall
