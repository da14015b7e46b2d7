// Real sockets in real processes for tests: a child that does what it is told, and an echo server.
#pragma once

#include <arpa/inet.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include <atomic>
#include <cerrno>
#include <cstring>
#include <map>
#include <string>
#include <thread>
#include <vector>

#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "agent/net/address.h"
#include "agent/process/proc.h"
#include "base/fd.h"

namespace squall {

inline Address LoopbackOf(int family, uint16_t port = 0) {
  Address address = ParseAddress(family == AF_INET ? "127.0.0.1:1" : "[::1]:1").value();
  address.port = port;
  return address;
}

// For a socket of `family`, which may be AF_INET6 for an IPv4 address.
inline socklen_t ToSockaddr(const Address& address, int family, sockaddr_storage& out) {
  if (family == AF_INET) return address.ToSockaddr(out);
  auto& v6 = reinterpret_cast<sockaddr_in6&>(out = {});
  v6.sin6_family = AF_INET6;
  v6.sin6_port = htons(address.port);
  v6.sin6_addr = address.ip;
  return sizeof(v6);
}

inline Address LocalOf(int fd) {
  sockaddr_storage storage;
  socklen_t length = sizeof(storage);
  getsockname(fd, reinterpret_cast<sockaddr*>(&storage), &length);
  return FromSockaddr(storage);
}

// A process that makes, uses and keeps sockets as it is told. What it does not get in time is EAGAIN.
class Child {
 public:
  explicit Child(const std::string& cgroup = "") {
    int pair[2];
    EXPECT_EQ(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
    pid_ = fork();
    if (pid_ == 0) {
      prctl(PR_SET_PDEATHSIG, SIGKILL);
      if (!cgroup.empty()) {
        const int fd = open((cgroup + "/cgroup.procs").c_str(), O_WRONLY);
        if (write(fd, "0", 1) != 1) _exit(1);
      }
      // Sockets of the test are not the child's.
      const int channel = dup2(pair[1], 3);
      close_range(4, ~0u, 0);
      Serve(channel);
      _exit(0);
    }
    close(pair[1]);
    channel_ = Fd(pair[0]);
  }
  ~Child() {
    kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
  }
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;

  ProcessId id() const { return ReadStat(pid_)->id; }
  pid_t pid() const { return pid_; }

  // A descriptor of the child.
  int Socket(int family, int type) { return Ask({.op = 's', .a = family, .b = type}).result; }
  // 0 or an errno; EAGAIN when nothing is decided after `wait`.
  int Connect(int fd, const Address& to, absl::Duration wait = absl::Seconds(5)) {
    return -Ask({.op = 'c', .a = fd, .wait = Millis(wait), .to = to}).result;
  }
  int Listen(int fd, const Address& at) { return -Ask({.op = 'l', .a = fd, .to = at}).result; }
  int Accept(int fd, absl::Duration wait = absl::Seconds(5)) { return Ask({.op = 'a', .a = fd, .wait = Millis(wait)}).result; }
  int Set(int fd, int level, int name, int value) { return Ask({.op = 'o', .a = fd, .b = level, .c = name, .wait = value}).result; }
  // The number of bytes, or -errno. `to` for sockets that are not connected.
  int Send(int fd, const std::string& text, const Address& to = {}) {
    Request request = {.op = 'w', .a = fd, .to = to};
    memcpy(request.text, text.data(), text.size());
    request.b = static_cast<int>(text.size());
    return Ask(request).result;
  }
  // Empty: nothing came in time, or an error.
  std::string Receive(int fd, absl::Duration wait = absl::Seconds(5)) {
    const Reply reply = Ask({.op = 'r', .a = fd, .wait = Millis(wait)});
    return reply.result <= 0 ? "" : std::string(reply.text, static_cast<size_t>(reply.result));
  }
  // Sends `text` and waits for the echo.
  bool Echoes(int fd, const std::string& text, absl::Duration wait = absl::Seconds(5), const Address& to = {}) {
    return Send(fd, text, to) == static_cast<int>(text.size()) && Receive(fd, wait) == text;
  }
  // Datagrams that carry the numbers 0..count-1 in four bytes. How many could not be sent.
  int SendNumbers(int fd, int count, const Address& to = {}) { return Ask({.op = 'n', .a = fd, .b = count, .to = to}).result; }
  void Close(int fd) { Ask({.op = 'x', .a = fd}); }
  // Into a network namespace of its own.
  int LeaveNamespace() { return -Ask({.op = 'u'}).result; }
  Address Local(int fd) { return Ask({.op = 'g', .a = fd}).address; }

 private:
  struct Request {
    char op;
    int a = 0, b = 0, c = 0, wait = 0;
    Address to = {};
    char text[256] = {};
  };
  struct Reply {
    int result = 0;
    Address address = {};
    char text[256] = {};
  };

  static int Millis(absl::Duration wait) { return static_cast<int>(absl::ToInt64Milliseconds(wait)); }

  Reply Ask(const Request& request) {
    Reply reply;
    EXPECT_EQ(write(channel_.get(), &request, sizeof(request)), static_cast<ssize_t>(sizeof(request)));
    EXPECT_EQ(read(channel_.get(), &reply, sizeof(reply)), static_cast<ssize_t>(sizeof(reply)));
    return reply;
  }

  static int FamilyOf(int fd) {
    int family = 0;
    socklen_t length = sizeof(family);
    getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &family, &length);
    return family;
  }

  static void Serve(int channel) {
    Request request;
    while (read(channel, &request, sizeof(request)) == sizeof(request)) {
      Reply reply;
      Do(request, reply);
      if (write(channel, &reply, sizeof(reply)) != sizeof(reply)) return;
    }
  }

  static int Ready(int fd, short events, int wait) {
    pollfd poller = {fd, events, 0};
    return poll(&poller, 1, wait);
  }

  static void Do(const Request& request, Reply& reply) {
    const int fd = request.a;
    sockaddr_storage to;
    const socklen_t length = request.op == 's' || request.op == 'x' || request.op == 'u' ? 0 : ToSockaddr(request.to, FamilyOf(fd), to);
    auto* address = reinterpret_cast<sockaddr*>(&to);
    const auto failed = [&](int result) { reply.result = result < 0 ? -errno : result; };
    switch (request.op) {
      case 's':
        return failed(socket(request.a, request.b, 0));
      case 'c': {
        fcntl(fd, F_SETFL, O_NONBLOCK);
        int result = connect(fd, address, length);
        if (result != 0 && errno == EINPROGRESS) {
          if (Ready(fd, POLLOUT, request.wait) == 0) {
            reply.result = -EAGAIN;
            return;
          }
          int error = 0;
          socklen_t size = sizeof(error);
          getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size);
          reply.result = -error;
        } else {
          failed(result);
        }
        fcntl(fd, F_SETFL, 0);
        return;
      }
      case 'l': {
        if (bind(fd, address, length) != 0) return failed(-1);
        return failed(listen(fd, 64) == 0 || errno == EOPNOTSUPP ? 0 : -1);
      }
      case 'a':
        reply.result = -EAGAIN;
        return Ready(fd, POLLIN, request.wait) > 0 ? failed(accept(fd, nullptr, nullptr)) : void();
      case 'o':
        return failed(setsockopt(fd, request.b, request.c, &request.wait, sizeof(request.wait)));
      case 'w':
        return failed(static_cast<int>(sendto(fd, request.text, static_cast<size_t>(request.b), MSG_NOSIGNAL | MSG_DONTWAIT,
                                              request.to.port == 0 ? nullptr : address, request.to.port == 0 ? 0 : length)));
      case 'r':
        reply.result = -EAGAIN;
        return Ready(fd, POLLIN, request.wait) > 0 ? failed(static_cast<int>(recv(fd, reply.text, sizeof(reply.text), MSG_DONTWAIT)))
                                                   : void();
      case 'n':
        for (int number = 0; number < request.b; ++number) {
          if (sendto(fd, &number, sizeof(number), 0, request.to.port == 0 ? nullptr : address,
                     request.to.port == 0 ? 0 : length) != sizeof(number)) {
            ++reply.result;
          }
        }
        return;
      case 'g':
        reply.address = LocalOf(fd);
        return;
      case 'u':
        return failed(unshare(CLONE_NEWNET));
      case 'x':
        close(fd);
        return;
    }
  }

  pid_t pid_ = 0;
  Fd channel_;
};

// Sends back what it gets, over TCP and UDP on one port of the loopback, and remembers the datagrams' numbers.
class EchoServer {
 public:
  explicit EchoServer(int family, bool echo = true) : echo_(echo) {
    for (int attempt = 0; attempt < 50 && !udp_; ++attempt) {
      tcp_ = Fd(socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0));
      Fd udp(socket(family, SOCK_DGRAM | SOCK_CLOEXEC, 0));
      sockaddr_storage storage;
      socklen_t length = ToSockaddr(LoopbackOf(family), family, storage);
      EXPECT_EQ(bind(tcp_.get(), reinterpret_cast<sockaddr*>(&storage), length), 0);
      address = LocalOf(tcp_.get());
      length = ToSockaddr(address, family, storage);
      if (bind(udp.get(), reinterpret_cast<sockaddr*>(&storage), length) == 0) udp_ = std::move(udp);
    }
    EXPECT_EQ(listen(tcp_.get(), 128), 0);
    const int room = 256 << 20;  // nothing gets lost for lack of it
    EXPECT_EQ(setsockopt(udp_.get(), SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof(room)), 0);
    thread_ = std::thread([this] { Serve(); });
  }
  ~EchoServer() {
    stop_ = true;
    thread_.join();
  }

  // The numbers that came, in order, once nothing has come for 100 ms and nothing waits.
  std::vector<int> Numbers() {
    size_t before = 0;
    while (true) {
      poll(nullptr, 0, 100);
      pollfd waiting = {udp_.get(), POLLIN, 0};
      absl::MutexLock lock(&mutex_);
      if (numbers_.size() == before && poll(&waiting, 1, 0) == 0) return std::exchange(numbers_, {});
      before = numbers_.size();
    }
  }

  Address address;

 private:
  void Serve() {
    std::vector<Fd> clients;
    char text[65536];
    while (!stop_) {
      std::vector<pollfd> pollers = {{tcp_.get(), POLLIN, 0}, {udp_.get(), POLLIN, 0}};
      for (const Fd& client : clients) pollers.push_back({client.get(), POLLIN, 0});
      poll(pollers.data(), pollers.size(), 5);
      for (size_t i = 0; i < clients.size(); ++i) {
        if (pollers[i + 2].revents == 0) continue;
        const ssize_t size = recv(clients[i].get(), text, sizeof(text), MSG_DONTWAIT);
        if (size <= 0) {
          clients[i].Reset();
        } else {
          (void)!send(clients[i].get(), text, static_cast<size_t>(size), MSG_NOSIGNAL);
        }
      }
      std::erase_if(clients, [](const Fd& client) { return !client; });
      if (pollers[0].revents != 0) clients.emplace_back(accept4(tcp_.get(), nullptr, nullptr, SOCK_CLOEXEC));
      if (pollers[1].revents != 0) Datagrams(text, sizeof(text));
    }
  }

  void Datagrams(char* text, size_t room) {
    while (true) {
      sockaddr_storage from;
      socklen_t length = sizeof(from);
      const ssize_t size = recvfrom(udp_.get(), text, room, MSG_DONTWAIT, reinterpret_cast<sockaddr*>(&from), &length);
      if (size < 0) return;
      if (size == sizeof(int)) {
        int number;
        memcpy(&number, text, sizeof(number));
        absl::MutexLock lock(&mutex_);
        numbers_.push_back(number);
      }
      if (echo_) (void)!sendto(udp_.get(), text, static_cast<size_t>(size), 0, reinterpret_cast<sockaddr*>(&from), length);
    }
  }

  const bool echo_;
  Fd tcp_, udp_;
  std::atomic<bool> stop_ = false;
  std::thread thread_;
  absl::Mutex mutex_;
  std::vector<int> numbers_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace squall
