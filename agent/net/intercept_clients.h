#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <functional>
#include <optional>
#include <string>

#include "agent/net/address.h"
#include "agent/net/netns.h"
#include "base/fd.h"

// Servers, clients and network namespaces as processes of their own, for tests of redirection.
namespace squall {

inline Address Parse(const std::string& text) { return ResolveAddress(text).value().front(); }

// What a client process saw.
struct Seen {
  int error = 0;             // errno of connect
  Address peer;              // getpeername
  char answer[16] = {};      // what the server sent
};

// In a child: its copies of the relay's sockets would keep listeners and connections open that the relay closes.
inline void CloseInheritedSockets() {
  for (int fd = 3; fd < 4096; ++fd) {
    struct stat is;
    if (fstat(fd, &is) == 0 && S_ISSOCK(is.st_mode)) close(fd);
  }
}

// A server that says "hi" to whoever connects, in a process of its own.
class Server {
 public:
  // On a port that is free.
  Server(const NetNamespace& ns, int family) : Server(ns, WithoutPort(Parse(family == AF_INET ? "127.0.0.1:1" : "[::1]:1"))) {}
  Server(const NetNamespace& ns, const Address& at, const char* answer = "hi") {
    Fd fd = ns.Socket(at.Family(), SOCK_STREAM).value();
    const int one = 1;
    setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    sockaddr_storage storage;
    socklen_t length = at.ToSockaddr(storage);
    EXPECT_EQ(bind(fd.get(), reinterpret_cast<sockaddr*>(&storage), length), 0) << strerror(errno);
    EXPECT_EQ(listen(fd.get(), 64), 0);
    length = sizeof(storage);
    getsockname(fd.get(), reinterpret_cast<sockaddr*>(&storage), &length);
    address = FromSockaddr(storage);
    int closed[2];
    EXPECT_EQ(pipe2(closed, O_CLOEXEC), 0);
    pid_ = fork();
    if (pid_ == 0) {
      prctl(PR_SET_PDEATHSIG, SIGKILL);
      // Copies of BPF links would keep them attached.
      close_range(3, static_cast<unsigned>(fd.get()) - 1, 0);
      close_range(static_cast<unsigned>(fd.get()) + 1, ~0u, 0);
      while (true) {
        const int client = accept(fd.get(), nullptr, nullptr);
        (void)!write(client, answer, strlen(answer));
        close(client);
      }
    }
    close(closed[1]);
    char byte;
    (void)!read(closed[0], &byte, 1);  // its end: the child's copy is closed with the others
    close(closed[0]);
  }
  ~Server() { Stop(); }
  void Stop() {
    if (pid_ <= 0) return;
    kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
    pid_ = 0;
  }
  Address address;

 private:
  static Address WithoutPort(Address address) {
    address.port = 0;
    return address;
  }
  pid_t pid_ = 0;
};

struct ClientOptions {
  std::string cgroup;       // enters it first
  std::string moves_to;     // enters this after it has made a socket in the other, and makes the one that counts there
  bool v4_mapped = false;   // an IPv6 socket for an IPv4 address
  const NetNamespace* ns = nullptr;
  std::function<void(pid_t)> before;  // called with the client's pid before it makes its socket
};

inline Seen RunClient(const Address& to, const ClientOptions& options) {
  int result[2], go[2];
  EXPECT_EQ(pipe2(result, O_CLOEXEC), 0);
  EXPECT_EQ(pipe2(go, O_CLOEXEC), 0);
  const std::string procs = options.cgroup + "/cgroup.procs";
  const pid_t pid = fork();
  if (pid == 0) {
    CloseInheritedSockets();
    Seen seen;
    char byte;
    (void)!read(go[0], &byte, 1);
    if (!options.cgroup.empty()) {
      const int fd = open(procs.c_str(), O_WRONLY);
      if (write(fd, "0", 1) != 1) _exit(1);
    }
    if (!options.moves_to.empty()) {
      socket(to.Family(), SOCK_STREAM, 0);
      const int procs_fd = open((options.moves_to + "/cgroup.procs").c_str(), O_WRONLY);
      if (write(procs_fd, "0", 1) != 1) _exit(1);
    }
    int fd = -1;
    const int family = options.v4_mapped ? AF_INET6 : to.Family();
    if (options.ns != nullptr) {
      fd = options.ns->Socket(family, SOCK_STREAM)->Release();
    } else {
      fd = socket(family, SOCK_STREAM, 0);
    }
    sockaddr_storage storage;
    socklen_t length = to.ToSockaddr(storage);
    if (options.v4_mapped) {
      auto* v6 = reinterpret_cast<sockaddr_in6*>(&storage);
      *v6 = {};
      v6->sin6_family = AF_INET6;
      v6->sin6_port = htons(to.port);
      v6->sin6_addr = to.ip;
      length = sizeof(sockaddr_in6);
    }
    if (connect(fd, reinterpret_cast<sockaddr*>(&storage), length) != 0) {
      seen.error = errno;
    } else {
      length = sizeof(storage);
      getpeername(fd, reinterpret_cast<sockaddr*>(&storage), &length);
      seen.peer = FromSockaddr(storage);
      (void)!read(fd, seen.answer, sizeof(seen.answer) - 1);
    }
    (void)!write(result[1], &seen, sizeof(seen));
    _exit(0);
  }
  close(result[1]);
  if (options.before) options.before(pid);
  (void)!write(go[1], "x", 1);
  Seen seen;
  EXPECT_EQ(read(result[0], &seen, sizeof(seen)), static_cast<ssize_t>(sizeof(seen)));
  waitpid(pid, nullptr, 0);
  for (const int fd : {result[0], go[0], go[1]}) close(fd);
  return seen;
}

// A network namespace of the test's own, with its loopback up, kept by a sleeping child.
class OwnNamespace {
 public:
  OwnNamespace() {
    int ready[2];
    EXPECT_EQ(pipe(ready), 0);
    pid_ = fork();
    if (pid_ == 0) {
      if (unshare(CLONE_NEWNET) != 0) _exit(1);
      const int fd = socket(AF_INET, SOCK_DGRAM, 0);
      ifreq request = {};
      strcpy(request.ifr_name, "lo");
      request.ifr_flags = IFF_UP;
      ioctl(fd, SIOCSIFFLAGS, &request);
      (void)!write(ready[1], "x", 1);
      pause();
    }
    char byte;
    EXPECT_EQ(read(ready[0], &byte, 1), 1);
    close(ready[0]);
    close(ready[1]);
    ns.emplace(NetNamespace::Of(pid_).value());
  }
  ~OwnNamespace() {
    kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
  }
  std::optional<NetNamespace> ns;

 private:
  pid_t pid_;
};

}  // namespace squall
