#include "agent/process/hold.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "absl/strings/str_cat.h"

namespace squall {
namespace {

// A folder that every user may write: runs of different users must see each other.
std::string LockFolder() { return access("/run/lock", W_OK) == 0 ? "/run/lock" : "/tmp"; }

}  // namespace

absl::StatusOr<Hold> Hold::Take(const ProcessId& process, const std::string& holder) {
  Hold hold;
  hold.path_ = absl::StrCat(LockFolder(), "/squall-", process.pid, "-", process.start_ticks, ".lock");
  for (int i = 0; i < 10; ++i) {
    // Another user's file in a sticky folder may be opened for reading only; that is enough to lock it.
    hold.fd_ = Fd(open(hold.path_.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
    if (!hold.fd_ && errno == ENOENT) {
      hold.fd_ = Fd(open(hold.path_.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0644));
      if (!hold.fd_ && errno == EEXIST) continue;
    }
    if (!hold.fd_) return absl::ErrnoToStatus(errno, absl::StrCat("cannot open ", hold.path_));
    if (flock(hold.fd_.get(), LOCK_EX | LOCK_NB) != 0) {
      const std::string who = Slurp(hold.path_);
      hold.path_.clear();  // not ours to remove
      return absl::AlreadyExistsError(
          absl::StrCat("pid ", process.pid, " is held by ", who.empty() ? "another run" : who));
    }
    // Its last holder may have removed the file between our open and lock.
    struct stat locked, named;
    if (fstat(hold.fd_.get(), &locked) != 0 || stat(hold.path_.c_str(), &named) != 0 || locked.st_ino != named.st_ino) {
      continue;
    }
    const Fd write_fd(open(hold.path_.c_str(), O_WRONLY | O_TRUNC | O_CLOEXEC | O_NOFOLLOW));
    if (write_fd) (void)!write(write_fd.get(), holder.data(), holder.size());
    return hold;
  }
  return absl::AbortedError(absl::StrCat("cannot lock ", hold.path_));
}

Hold& Hold::operator=(Hold&& other) noexcept {
  if (this != &other) {
    if (fd_) unlink(path_.c_str());
    fd_ = std::move(other.fd_);
    path_ = std::move(other.path_);
  }
  return *this;
}

Hold::~Hold() {
  if (fd_ && !path_.empty()) unlink(path_.c_str());
}

}  // namespace squall
