#include "agent/net/netns.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <cerrno>
#include <string>
#include <thread>

#include "absl/strings/str_cat.h"

namespace squall {
namespace {

constexpr char kOwn[] = "/proc/thread-self/ns/net";

}  // namespace

absl::StatusOr<NetNamespace> NetNamespace::Open(const char* path) {
  NetNamespace ns;
  ns.fd_ = Fd(open(path, O_RDONLY | O_CLOEXEC));
  struct stat here, own;
  if (!ns.fd_ || fstat(ns.fd_.get(), &here) != 0 || stat(kOwn, &own) != 0) {
    return absl::ErrnoToStatus(errno, absl::StrCat("cannot open network namespace ", path));
  }
  ns.inode_ = here.st_ino;
  ns.is_own_ = here.st_ino == own.st_ino && here.st_dev == own.st_dev;
  return ns;
}

absl::StatusOr<NetNamespace> NetNamespace::Own() { return Open(kOwn); }

absl::StatusOr<NetNamespace> NetNamespace::Of(pid_t pid) {
  return Open(absl::StrCat("/proc/", pid, "/ns/net").c_str());
}

absl::Status NetNamespace::Inside(const std::function<absl::Status()>& open) const {
  if (is_own_) return open();
  absl::Status status;
  // A thread of its own: it ends inside, so nothing has to be switched back.
  std::thread([&] {
    if (setns(fd_.get(), CLONE_NEWNET) != 0) {
      status = absl::ErrnoToStatus(errno, "cannot enter the target's network namespace (needs root)");
      return;
    }
    status = open();
  }).join();
  return status;
}

absl::StatusOr<Fd> NetNamespace::Socket(int family, int type, int protocol) const {
  Fd fd;
  const absl::Status status = Inside([&] {
    fd = Fd(socket(family, type | SOCK_CLOEXEC, protocol));
    return fd ? absl::OkStatus() : absl::ErrnoToStatus(errno, "cannot open a socket");
  });
  if (!status.ok()) return status;
  return fd;
}

absl::StatusOr<uint64_t> NetNamespace::Cookie() const {
  const absl::StatusOr<Fd> fd = Socket(AF_INET, SOCK_STREAM);
  if (!fd.ok()) return fd.status();
  uint64_t cookie = 0;
  socklen_t length = sizeof(cookie);
  if (getsockopt(fd->get(), SOL_SOCKET, SO_NETNS_COOKIE, &cookie, &length) != 0) {
    return absl::UnimplementedError("cannot read the network namespace's cookie (Linux 5.14 or newer)");
  }
  return cookie;
}

}  // namespace squall
