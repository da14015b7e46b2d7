#include "agent/watch/file_tail.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <utility>

#include "base/clock.h"

namespace squall {
namespace {

constexpr size_t kMostAtOnce = 4 << 20;
constexpr int64_t kWritesOnNs = 10'000'000'000;

}  // namespace

FileTail::FileTail(std::string path) : path_(std::move(path)) {
  file_.fd = Open();
  struct stat about;
  if (file_.fd && fstat(file_.fd.get(), &about) == 0) file_.offset = about.st_size;
}

Fd FileTail::Open() const {
  // Not waiting for who writes into a pipe.
  Fd fd(open(path_.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
  struct stat about;
  if (fd && (fstat(fd.get(), &about) != 0 || !S_ISREG(about.st_mode))) fd.Reset();
  return fd;
}

bool FileTail::ReadOn(Opened& file, const LineSplitter::Each& each) {
  char buffer[64 << 10];
  for (size_t taken = 0; taken < kMostAtOnce;) {
    const ssize_t size = pread(file.fd.get(), buffer, sizeof(buffer), file.offset);
    if (size <= 0) return false;
    file.lines.Add(absl::string_view(buffer, static_cast<size_t>(size)), each);
    file.offset += size;
    taken += static_cast<size_t>(size);
  }
  return true;
}

bool FileTail::Read(const LineSplitter::Each& each) {
  bool more = false;
  if (before_.fd) {
    more = ReadOn(before_, each);
    if (!more && BootNanos() >= before_until_ns_) {
      before_.lines.End(each);
      before_ = {};
    }
  }
  if (!file_.fd) {
    file_.fd = Open();
    if (!file_.fd) return more;
  }
  struct stat opened = {}, named;
  if (fstat(file_.fd.get(), &opened) == 0 && opened.st_size < file_.offset) {
    file_.lines.End(each);
    file_.offset = 0;
  }
  more |= ReadOn(file_, each);
  if (stat(path_.c_str(), &named) == 0 && (named.st_ino != opened.st_ino || named.st_dev != opened.st_dev)) {
    while (before_.fd && ReadOn(before_, each)) {
    }
    before_.lines.End(each);
    before_ = std::exchange(file_, {});
    before_until_ns_ = BootNanos() + kWritesOnNs;
    file_.fd = Open();
    more = true;
  }
  return more;
}

void FileTail::End(const LineSplitter::Each& each) {
  before_.lines.End(each);
  file_.lines.End(each);
}

}  // namespace squall
