#include "agent/process/hold.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"

namespace squall {
namespace {

// A folder that every user may write: runs of different users must see each other.
std::string LockFolder() { return access("/run/lock", W_OK) == 0 ? "/run/lock" : "/tmp"; }

constexpr char kPrefix[] = "squall-";
constexpr char kSuffix[] = ".lock";

// The file that is locked is the one that the path names, and not one that its last holder has removed.
bool IsNamed(const Fd& fd, const std::string& path) {
  struct stat locked, named;
  return fstat(fd.get(), &locked) == 0 && stat(path.c_str(), &named) == 0 && locked.st_ino == named.st_ino;
}

}  // namespace

absl::StatusOr<Hold> Hold::Take(const ProcessId& process, const std::string& holder) {
  Hold hold;
  hold.path_ = absl::StrCat(LockFolder(), "/", kPrefix, process.pid, "-", process.start_ticks, kSuffix);
  for (int i = 0; i < 10; ++i) {
    // Another user's file in a sticky folder may be opened for reading only; that is enough to lock it.
    hold.fd_ = Fd(open(hold.path_.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
    if (!hold.fd_ && errno == ENOENT) {
      hold.fd_ = Fd(open(hold.path_.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0644));
      if (!hold.fd_ && errno == EEXIST) continue;
    }
    if (!hold.fd_) return absl::ErrnoToStatus(errno, absl::StrCat("cannot open ", hold.path_));
    if (flock(hold.fd_.get(), LOCK_EX | LOCK_NB) != 0) {
      // An agent that starts and sweeps has the lock for a moment.
      if (i < 3) {
        absl::SleepFor(absl::Milliseconds(2));
        continue;
      }
      const std::string who = Slurp(hold.path_);
      hold.path_.clear();  // not ours to remove
      return absl::AlreadyExistsError(
          absl::StrCat("pid ", process.pid, " is held by ", who.empty() ? "another run" : who));
    }
    // Its last holder may have removed the file between our open and lock.
    if (!IsNamed(hold.fd_, hold.path_)) continue;
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

void SweepHolds() {
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(LockFolder(), error)) {
    const std::string path = entry.path();
    const std::string name = entry.path().filename();
    if (!absl::StartsWith(name, kPrefix) || !absl::EndsWith(name, kSuffix)) continue;
    const Fd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
    // Whoever comes to lock it meanwhile finds that the path names another file, and starts again.
    if (fd && flock(fd.get(), LOCK_EX | LOCK_NB) == 0 && IsNamed(fd, path)) unlink(path.c_str());
  }
}

}  // namespace squall
