// A process for tests that uses descriptors and disks as it is told.
#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <string>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/time/clock.h"
#include "agent/process/proc.h"
#include "base/fd.h"

namespace squall {

// It has 0 to 3 open, nothing else.
class Puppet {
 public:
  struct Answer {
    int64_t value = 0;
    int error = 0;  // errno of what ended it
  };

  Puppet() {
    int pair[2];
    EXPECT_EQ(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
    pid_ = fork();
    if (pid_ == 0) {
      prctl(PR_SET_PDEATHSIG, SIGKILL);
      const int null = open("/dev/null", O_RDWR);
      for (int fd = 0; fd < 3; ++fd) dup2(null, fd);
      dup2(pair[1], 3);
      close_range(4, ~0u, 0);
      Serve();
    }
    close(pair[1]);
    told_ = Fd(pair[0]);
    Ask('l');  // it serves
  }
  Puppet(const Puppet&) = delete;
  Puppet& operator=(const Puppet&) = delete;
  ~Puppet() { End(); }

  void End() {
    if (pid_ <= 0) return;
    kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
    pid_ = 0;
  }

  ProcessId id() const { return ReadStat(pid_).value().id; }
  pid_t pid() const { return pid_; }
  // Opens /dev/null until that fails: how often it did not.
  Answer OpenAll() { return Ask('o'); }
  // Makes `number` a copy of 0.
  Answer Open(int number) { return Ask('d', number); }
  Answer Close(int number) { return Ask('c', number); }
  // Whether the descriptor can be used.
  Answer Use(int number) { return Ask('u', number); }
  // A child that waits; whoever asks has to end it.
  pid_t Fork() { return static_cast<pid_t>(Ask('f').value); }
  // A child that opens /dev/null until that fails, and is gone.
  Answer OpenAllInAChild() { return Ask('O'); }
  rlim_t SoftLimit() { return static_cast<rlim_t>(Ask('l').value); }
  Answer SetSoftLimit(int64_t limit) { return Ask('L', limit); }
  // Appends `most` bytes to the file, or what is possible: how many.
  Answer Write(const std::string& path, int64_t most) { return Ask('w', most, path); }
  Answer Remove(const std::string& path) { return Ask('r', 0, path); }
  Answer BecomeUser(int64_t user) { return Ask('s', user); }

 private:
  struct Order {
    char verb;
    int64_t number;
    char path[256];
  };

  Answer Ask(char verb, int64_t number = 0, const std::string& path = "") {
    Order order = {verb, number, {}};
    snprintf(order.path, sizeof(order.path), "%s", path.c_str());
    Answer answer;
    EXPECT_EQ(send(told_.get(), &order, sizeof(order), MSG_NOSIGNAL), static_cast<ssize_t>(sizeof(order)));
    EXPECT_EQ(recv(told_.get(), &answer, sizeof(answer), 0), static_cast<ssize_t>(sizeof(answer))) << "the puppet is gone";
    return answer;
  }

  // After a fork of a process with threads: system calls only.
  [[noreturn]] static void Serve() {
    Order order;
    while (recv(3, &order, sizeof(order), 0) == static_cast<ssize_t>(sizeof(order))) {
      errno = 0;
      Answer answer;
      answer.value = Obey(order);
      answer.error = errno;
      send(3, &answer, sizeof(answer), MSG_NOSIGNAL);
    }
    _exit(0);
  }
  static int64_t OpenUntilRefused() {
    int64_t opened = 0;
    while (open("/dev/null", O_RDONLY) >= 0) ++opened;
    return opened;
  }
  static int64_t Obey(const Order& order) {
    const auto number = static_cast<int>(order.number);
    struct stat about;
    rlimit limit;
    switch (order.verb) {
      case 'o':
        return OpenUntilRefused();
      case 'O': {
        const pid_t child = fork();
        if (child == 0) _exit(static_cast<int>(OpenUntilRefused()));
        int status = 0;
        waitpid(child, &status, 0);
        return WEXITSTATUS(status);
      }
      case 'd':
        return dup2(0, number);
      case 'c':
        return close(number);
      case 'u':
        return fstat(number, &about);
      case 'f': {
        const pid_t child = fork();
        if (child == 0) {
          while (true) pause();
        }
        return child;
      }
      case 'l':
        getrlimit(RLIMIT_NOFILE, &limit);
        return static_cast<int64_t>(limit.rlim_cur);
      case 'L':
        getrlimit(RLIMIT_NOFILE, &limit);
        limit.rlim_cur = static_cast<rlim_t>(order.number);
        return setrlimit(RLIMIT_NOFILE, &limit);
      case 'w': {
        const int fd = open(order.path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
        if (fd < 0) return 0;
        static char bytes[64 << 10];
        int64_t written = 0;
        while (written < order.number) {
          const int64_t left = order.number - written;
          const ssize_t size = write(fd, bytes, static_cast<size_t>(left < static_cast<int64_t>(sizeof(bytes)) ? left : static_cast<int64_t>(sizeof(bytes))));
          if (size <= 0) break;
          written += size;
        }
        const int error = errno;
        close(fd);
        errno = error;
        return written;
      }
      case 'r':
        return unlink(order.path);
      case 's':
        return setuid(static_cast<uid_t>(order.number));
      default:
        return -1;
    }
  }

  pid_t pid_ = -1;
  Fd told_;
};

template <typename Condition>
bool Eventually(Condition condition) {
  for (int i = 0; i < 10000; ++i) {
    if (condition()) return true;
    absl::SleepFor(absl::Milliseconds(1));
  }
  return false;
}

}  // namespace squall
