#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "agent/process/proc.h"
#include "base/fd.h"
#include "proto/undo.pb.h"

namespace squall {

// What has to be taken back on this host when the agent is no longer there to do it: a file that is written, and synced, before
// each change. The guardian reads it when the agent dies, and an agent that starts reads what earlier ones left. Thread-safe.
class Journal {
 public:
  // FOLDER/PID-START.journal of this process, locked for as long as it lives.
  static absl::StatusOr<std::unique_ptr<Journal>> Create(const std::string& folder);
  // Removes the file where nothing is pending.
  ~Journal();

  // To be called before the change; an error: do not make it. The number is for Done.
  absl::StatusOr<uint64_t> Pend(const Undo& undo);
  // It has been taken back, and that was looked at.
  void Done(uint64_t number);
  // Until when what is pending may stay: CLOCK_BOOTTIME in ns; 0: no longer than the agent lives. Others read it in the file, so that an
  // agent that hangs is known even to who has never spoken with it. Not synced: what another boot left is over anyway. Written when it
  // has moved by a tenth of a second.
  void SetExpiry(int64_t expires_ns);
  // What has been pending since, in the order in which it was written.
  std::vector<PendingUndo> Pending() const;

  const std::string& path() const { return path_; }

 private:
  Journal() = default;
  absl::Status Append(const JournalEntry& entry) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  std::string path_;
  Fd fd_;
  absl::Mutex expiry_mutex_;
  int64_t expires_ns_ ABSL_GUARDED_BY(expiry_mutex_) = 0;  // as in the file
  mutable absl::Mutex mutex_;
  int64_t size_ ABSL_GUARDED_BY(mutex_) = 0;
  int64_t empty_size_ ABSL_GUARDED_BY(mutex_) = 0;  // with nothing but whose it is
  uint64_t last_ ABSL_GUARDED_BY(mutex_) = 0;
  std::map<uint64_t, Undo> pending_ ABSL_GUARDED_BY(mutex_);
};

// /proc/sys/kernel/random/boot_id: another one after each boot.
std::string BootId();

// Where journals are: $SQUALL_STATE_DIR where it is set; /var/lib/squall for root, else ~/.local/state/squall. On a disk, since a file
// that fills one is still there after a reboot; for a user without a home LocalFolder() has to do. Made where it is missing.
absl::StatusOr<std::string> JournalFolder();

// What a journal says.
struct JournalContent {
  JournalOwner owner;
  int64_t expires_ns = 0;            // as SetExpiry was told
  std::vector<PendingUndo> pending;  // in the order in which it was written
  bool torn = false;                 // the end could not be read: a write that was cut off, or damage
};
// DATA_LOSS when it is no journal. Never crashes on any content.
absl::StatusOr<JournalContent> ParseJournal(absl::string_view bytes);
absl::StatusOr<JournalContent> ReadJournal(const std::string& path);

}  // namespace squall
