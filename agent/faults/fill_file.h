#pragma once

#include <sys/statvfs.h>

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "agent/journal.h"
#include "base/fd.h"

namespace squall {

// A file whose only purpose is the space that it takes. Without a name where the filesystem can have such files (O_TMPFILE): the kernel
// frees it with the process that holds it, and the filesystem after a power cut. Elsewhere it has a name, which nobody else gives, and
// which is in the journal before the file is made. Not thread-safe.
class FillFile {
 public:
  // `may_be_nameless`: tests say no. `folder` is absolute, without symbolic links.
  static absl::StatusOr<std::unique_ptr<FillFile>> Make(const std::string& folder, Journal* journal, bool may_be_nameless = true);
  FillFile(const FillFile&) = delete;
  FillFile& operator=(const FillFile&) = delete;
  ~FillFile() { Remove().IgnoreError(); }

  // Takes up to so many bytes more, in whole blocks, and says how many it took: not all at once, and none when the filesystem has no more
  // for this user. An error when something else is in the way.
  absl::StatusOr<int64_t> Grow(int64_t bytes);
  absl::Status Shrink(int64_t bytes);
  int64_t size() const { return size_; }
  // Of its filesystem.
  absl::StatusOr<struct statvfs> Space() const;
  // Gives everything back. Idempotent.
  absl::Status Remove();

 private:
  FillFile() = default;
  int Allocate(int64_t bytes);
  int Write(int64_t bytes);

  std::string path_;  // for messages
  Fd fd_;
  int64_t size_ = 0;
  bool writes_ = false;  // this filesystem reserves nothing without content
  Journal* journal_ = nullptr;
  Undo undo_;
  uint64_t pending_ = 0;
};

}  // namespace squall
