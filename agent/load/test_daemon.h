// Programs that tests talk to.
#pragma once

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <string>
#include <thread>
#include <vector>

namespace squall {

// A program that listens on a port of 127.0.0.1, until it is killed.
class TestDaemon {
 public:
  TestDaemon(std::vector<std::string> command, int port) : command_(std::move(command)), port_(port) { Start(); }
  ~TestDaemon() { Kill(); }
  TestDaemon(const TestDaemon&) = delete;
  TestDaemon& operator=(const TestDaemon&) = delete;

  // And waits until it listens.
  void Start() {
    pid_ = fork();
    if (pid_ == 0) {
      prctl(PR_SET_PDEATHSIG, SIGKILL);
      std::vector<char*> arguments;
      for (std::string& word : command_) arguments.push_back(word.data());
      arguments.push_back(nullptr);
      execvp(arguments[0], arguments.data());
      _exit(127);
    }
    for (int i = 0; i < 3000 && !Listens(); ++i) {
      ASSERT_EQ(waitpid(pid_, nullptr, WNOHANG), 0) << command_[0] << " ended: see bazel/packages.txt";
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    ASSERT_TRUE(Listens()) << command_[0];
  }
  void Kill() {
    if (pid_ <= 0) return;
    kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
    pid_ = 0;
  }
  int port() const { return port_; }
  pid_t pid() const { return pid_; }

 private:
  bool Listens() const {
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address = {};
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<uint16_t>(port_));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    const bool listens = connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0;
    close(fd);
    return listens;
  }

  std::vector<std::string> command_;
  const int port_;
  pid_t pid_ = 0;
};

}  // namespace squall
