#include "agent/faults/fill_file.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <random>
#include <vector>

#include "absl/strings/str_cat.h"
#include "agent/journal.h"
#include "agent/undo.h"

namespace squall {
namespace {

// At once, so that whoever wants to stop it does not wait long.
constexpr int64_t kMostAllocated = int64_t{1} << 30;
constexpr int64_t kMostWritten = 16 << 20;

// Unique over processes, and over reboots, which the file outlives.
std::string NameOf(int number) {
  const std::string boot = BootId().substr(0, 8);
  const absl::StatusOr<ProcStat> self = ReadStat(getpid());
  return absl::StrCat(".squall-", getpid(), "-", self.ok() ? self->id.start_ticks : 0, "-", boot, "-", number, ".fill");
}

int64_t BlocksOf(int fd) {
  struct stat about;
  return fstat(fd, &about) == 0 ? about.st_blocks : 0;
}

}  // namespace

absl::StatusOr<std::unique_ptr<FillFile>> FillFile::Make(const std::string& folder, Journal* journal, bool may_be_nameless) {
  std::unique_ptr<FillFile> file(new FillFile);
  file->path_ = absl::StrCat("a file in ", folder);
  if (may_be_nameless) {
    file->fd_ = Fd(open(folder.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600));
    if (file->fd_) return file;
    // The last two are what filesystems and kernels say that do not know it.
    if (errno != EOPNOTSUPP && errno != EISDIR && errno != EINVAL) return absl::ErrnoToStatus(errno, absl::StrCat("cannot make ", file->path_));
  }
  for (int number = 0; number < 100; ++number) {
    file->path_ = absl::StrCat(folder == "/" ? "" : folder, "/", NameOf(number));
    struct stat about;
    // What is there already is another fault's, and must not get into this one's journal.
    if (lstat(file->path_.c_str(), &about) == 0) continue;
    // Without its inode: that would have to be written after it was made, and with the number of its device, which can be
    // another one after a reboot. The name decides.
    file->undo_.mutable_file()->set_path(file->path_);
    const absl::StatusOr<uint64_t> pending = journal->Pend(file->undo_);
    if (!pending.ok()) return pending.status();
    file->fd_ = Fd(open(file->path_.c_str(), O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC | O_NOFOLLOW, 0600));
    if (!file->fd_) {
      const int error = errno;
      journal->Done(*pending);
      return absl::ErrnoToStatus(error, absl::StrCat("cannot make ", file->path_));
    }
    file->journal_ = journal;
    file->pending_ = *pending;
    return file;
  }
  return absl::ResourceExhaustedError(absl::StrCat("too many files of squall's in ", folder));
}

int FillFile::Allocate(int64_t bytes) {
  const int64_t before = BlocksOf(fd_.get());
  int error = 0;
  do {
    error = fallocate(fd_.get(), 0, size_, bytes) == 0 ? 0 : errno;
  } while (error == EINTR);
  // Some say yes and keep nothing back.
  if (error == 0 && BlocksOf(fd_.get()) == before) error = EOPNOTSUPP;
  if (error == 0) {
    size_ += bytes;
  } else {
    (void)!ftruncate(fd_.get(), size_);  // others keep a part, and say no
  }
  return error;
}

int FillFile::Write(int64_t bytes) {
  // What cannot be compressed.
  static const std::vector<uint64_t>* const noise = [] {
    std::mt19937_64 random(1);
    auto* words = new std::vector<uint64_t>((1 << 20) / sizeof(uint64_t));
    for (uint64_t& word : *words) word = random();
    return words;
  }();
  int error = 0;
  const int64_t end = size_ + bytes;
  while (error == 0 && size_ < end) {
    const ssize_t written = pwrite(fd_.get(), noise->data(), static_cast<size_t>(std::min<int64_t>(end - size_, 1 << 20)), size_);
    if (written > 0) size_ += written;
    if (written <= 0 && errno != EINTR) error = errno;
  }
  // So that the filesystem says what is free.
  fdatasync(fd_.get());
  return error;
}

absl::StatusOr<int64_t> FillFile::Grow(int64_t bytes) {
  const absl::StatusOr<struct statvfs> space = Space();
  if (!space.ok()) return space.status();
  // Whole blocks: less than one takes nothing.
  const auto block = static_cast<int64_t>(std::max<unsigned long>(space->f_frsize, 1));
  const int64_t before = size_;
  const auto to_block = [&](int64_t step) { return (before + step) / block * block - before; };
  rlimit most;  // beyond it the kernel sends a signal
  if (getrlimit(RLIMIT_FSIZE, &most) == 0 && most.rlim_cur != RLIM_INFINITY) {
    const int64_t left = static_cast<int64_t>(most.rlim_cur) - size_;
    if (bytes >= block && to_block(left) <= 0) return absl::ResourceExhaustedError("squall may make no larger file (ulimit -f)");
    bytes = std::min(bytes, left);
  }
  int64_t step = to_block(std::min(bytes, writes_ ? kMostWritten : kMostAllocated));
  while (step > 0) {
    const int error = writes_ ? Write(step) : Allocate(step);
    if (size_ > before) return size_ - before;
    if (error == EOPNOTSUPP && !writes_) {
      writes_ = true;
      step = std::min(step, to_block(kMostWritten));
    } else if (error == ENOSPC || error == EDQUOT) {
      step = to_block(step / 2);
    } else if (error != 0) {
      return absl::ErrnoToStatus(error, absl::StrCat("cannot take more than ", size_, " bytes with ", path_));
    }
  }
  return 0;
}

absl::Status FillFile::Shrink(int64_t bytes) {
  const int64_t size = std::max<int64_t>(size_ - bytes, 0);
  if (ftruncate(fd_.get(), size) != 0) return absl::ErrnoToStatus(errno, absl::StrCat("cannot shrink ", path_));
  size_ = size;
  return absl::OkStatus();
}

absl::StatusOr<struct statvfs> FillFile::Space() const {
  struct statvfs space;
  if (fstatvfs(fd_.get(), &space) != 0) return absl::ErrnoToStatus(errno, absl::StrCat("cannot tell the free space around ", path_));
  return space;
}

absl::Status FillFile::Remove() {
  // Before it is closed: a process that is just being started may still have it open.
  if (fd_) Shrink(size_).IgnoreError();
  fd_.Reset();
  if (pending_ == 0) return absl::OkStatus();
  const absl::Status status = TakeBack(undo_);
  if (!status.ok()) return status;
  journal_->Done(pending_);
  pending_ = 0;
  return absl::OkStatus();
}

}  // namespace squall
