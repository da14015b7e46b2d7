#include "agent/callers.h"

#include <sys/stat.h>

#include "absl/strings/numbers.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"

namespace squall {
namespace {

// Of the file that is open as `fd`; 0: none is.
unsigned long Inode(int fd) {
  struct stat info;
  return fstat(fd, &info) == 0 ? info.st_ino : 0;
}

}  // namespace

bool Callers::Add(int fd, const Caller& caller, size_t most) {
  const absl::MutexLock lock(&mutex_);
  known_.erase(fd);
  if (known_.size() >= most) {
    std::erase_if(known_, [](const auto& entry) { return Inode(entry.first) != entry.second.inode; });
  }
  if (known_.size() >= most) return false;
  known_[fd] = {Inode(fd), caller};
  return true;
}

Caller Callers::Find(const std::string& peer) const {
  absl::string_view number = peer;
  int fd = -1;
  if (!absl::ConsumePrefix(&number, "fd:") || !absl::SimpleAtoi(number, &fd)) return {"", peer};
  const absl::MutexLock lock(&mutex_);
  const auto found = known_.find(fd);
  return found == known_.end() ? Caller{"", peer} : found->second.caller;
}

}  // namespace squall
