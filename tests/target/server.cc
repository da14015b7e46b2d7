#include "tests/target/server.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <thread>

namespace squall::target {
namespace {

// Idle connections are closed after this long; clients that keep them for less never meet the close.
constexpr int kIdleMillis = 60'000;
// A peer that stops in the middle of a request or does not take its answer.
constexpr int kTransferMillis = 10'000;
constexpr int kBacklog = 1024;

sigset_t StopSignals() {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  return signals;
}

bool WaitFor(int fd, short events, int millis) {
  pollfd wanted = {fd, events, 0};
  int ready;
  while ((ready = poll(&wanted, 1, millis)) < 0 && errno == EINTR) {
  }
  return ready > 0;
}

// A connection as httplib reads and writes it. httplib's own is not public.
class Connection : public httplib::Stream {
 public:
  explicit Connection(int fd) : fd_(fd) {}
  ~Connection() override { close(fd_); }

  // Whether a request begins. False when the peer has left, was idle for too long, or the server stops.
  bool AwaitRequest(int stop_event) {
    if (begin_ < end_) return true;
    std::array<pollfd, 2> wanted = {{{fd_, POLLIN, 0}, {stop_event, POLLIN, 0}}};
    while (poll(wanted.data(), wanted.size(), kIdleMillis) < 0) {
      if (errno != EINTR) return false;
    }
    return wanted[0].revents != 0 && Fill() > 0;
  }

  bool is_readable() const override { return begin_ < end_ || WaitFor(fd_, POLLIN, kTransferMillis); }
  bool is_writable() const override { return WaitFor(fd_, POLLOUT, kTransferMillis); }

  ssize_t read(char* out, size_t size) override {
    if (begin_ == end_) {
      if (!WaitFor(fd_, POLLIN, kTransferMillis)) return -1;
      if (const ssize_t got = Fill(); got <= 0) return got;
    }
    const size_t count = std::min(size, end_ - begin_);
    memcpy(out, buffer_.data() + begin_, count);
    begin_ += count;
    return static_cast<ssize_t>(count);
  }

  ssize_t write(const char* data, size_t size) override {
    return is_writable() ? send(fd_, data, size, MSG_NOSIGNAL) : -1;
  }

  void get_remote_ip_and_port(std::string& ip, int& port) const override { Numeric(&getpeername, ip, port); }
  void get_local_ip_and_port(std::string& ip, int& port) const override { Numeric(&getsockname, ip, port); }
  socket_t socket() const override { return fd_; }

 private:
  ssize_t Fill() {
    ssize_t got;
    while ((got = recv(fd_, buffer_.data(), buffer_.size(), 0)) < 0 && errno == EINTR) {
    }
    begin_ = 0;
    end_ = got > 0 ? static_cast<size_t>(got) : 0;
    return got;
  }

  void Numeric(int (*name)(int, sockaddr*, socklen_t*), std::string& ip, int& port) const {
    sockaddr_storage address = {};
    socklen_t length = sizeof address;
    std::array<char, NI_MAXHOST> host;
    std::array<char, NI_MAXSERV> service;
    if (name(fd_, reinterpret_cast<sockaddr*>(&address), &length) != 0 ||
        getnameinfo(reinterpret_cast<sockaddr*>(&address), length, host.data(), host.size(), service.data(),
                    service.size(), NI_NUMERICHOST | NI_NUMERICSERV) != 0) {
      return;
    }
    ip = host.data();
    port = atoi(service.data());
  }

  const int fd_;
  std::array<char, 4096> buffer_;
  size_t begin_ = 0, end_ = 0;
};

}  // namespace

Server::Server(size_t threads) : stop_event_(eventfd(0, EFD_CLOEXEC)) {
  new_task_queue = [threads] { return new httplib::ThreadPool(threads); };
  set_tcp_nodelay(true);
  // httplib's default adds SO_REUSEPORT, with which a second server on a taken port would quietly share it.
  set_socket_options([](socket_t sock) {
    const int on = 1;
    setsockopt(sock, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  });
}

Server::~Server() { close(stop_event_); }

bool Server::Serve(const std::string& host, int port, const std::function<void()>& on_stop) {
  errno = 0;
  if (!bind_to_port(host, port)) {
    const int error = errno;
    fprintf(stderr, "cannot listen on port %d of %s: %s\n", port, host.c_str(),
            error != 0 ? strerror(error) : "no such address here");
    return false;
  }
  // httplib listens with a queue of five, which a burst overflows: clients would wait a second for their next
  // SYN.
  ::listen(svr_sock_, kBacklog);

  std::atomic<bool> ended{false};
  std::thread stopper([&] {
    const sigset_t signals = StopSignals();
    int signal = 0;
    sigwait(&signals, &signal);
    const uint64_t one = 1;
    [[maybe_unused]] const ssize_t put = write(stop_event_, &one, sizeof one);
    on_stop();
    // stop() does nothing on a server that has not begun to run.
    while (!is_running() && !ended) std::this_thread::yield();
    stop();
  });
  const bool served = listen_after_bind();
  ended = true;
  // When listening ends by itself, the thread still waits for its signal.
  pthread_kill(stopper.native_handle(), SIGTERM);
  stopper.join();
  return served;
}

bool Server::process_and_close_socket(socket_t sock) {
  Connection connection(sock);
  bool closed = false;
  while (!closed && connection.AwaitRequest(stop_event_)) {
    if (!process_request(connection, /*close_connection=*/false, closed, nullptr)) break;
  }
  return true;
}

void BlockStopSignals() {
  const sigset_t signals = StopSignals();
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
}

}  // namespace squall::target
