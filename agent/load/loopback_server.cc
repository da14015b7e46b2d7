#include "agent/load/loopback_server.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <map>
#include <tuple>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"

namespace squall {
namespace {

void DieUnless(bool condition, const char* what) {
  if (condition) return;
  perror(what);
  abort();
}

struct Connection {
  std::string input;
  int requests = 0;
};

void Watch(int epoll, int fd) {
  epoll_event event = {};
  event.events = EPOLLIN;
  event.data.fd = fd;
  DieUnless(epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) == 0, "epoll_ctl");
}

// A free port, with or without somebody who listens on it afterwards.
std::pair<int, int> BindLoopback(bool ipv6) {
  const int fd = socket(ipv6 ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  DieUnless(fd >= 0, "socket");
  sockaddr_in v4 = {};
  v4.sin_family = AF_INET;
  v4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  sockaddr_in6 v6 = {};
  v6.sin6_family = AF_INET6;
  v6.sin6_addr = in6addr_loopback;
  sockaddr* const address = ipv6 ? reinterpret_cast<sockaddr*>(&v6) : reinterpret_cast<sockaddr*>(&v4);
  socklen_t length = ipv6 ? sizeof v6 : sizeof v4;
  DieUnless(bind(fd, address, length) == 0, "bind");
  DieUnless(getsockname(fd, address, &length) == 0, "getsockname");
  return {fd, ntohs(ipv6 ? v6.sin6_port : v4.sin_port)};
}

// Bytes of the first request in `input`, with its body; 0 when it is not whole yet.
size_t RequestLength(absl::string_view input) {
  const size_t end = input.find("\r\n\r\n");
  if (end == input.npos) return 0;
  size_t body = 0;
  for (const absl::string_view line : absl::StrSplit(input.substr(0, end), "\r\n")) {
    constexpr absl::string_view kName = "content-length:";
    if (absl::StartsWithIgnoreCase(line, kName)) {
      DieUnless(absl::SimpleAtoi(line.substr(kName.size()), &body), "content-length");
    }
  }
  return end + 4 + body <= input.size() ? end + 4 + body : 0;
}

void Close(int fd, LoopbackServer::Then then) {
  if (then == LoopbackServer::Then::kReset) {
    const linger abort = {1, 0};
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &abort, sizeof abort);
  }
  close(fd);
}

}  // namespace

LoopbackServer::LoopbackServer(Script script, bool ipv6) : script_(std::move(script)), ipv6_(ipv6) {
  std::tie(listener_, port_) = BindLoopback(ipv6);
  DieUnless(listen(listener_, 4096) == 0, "listen");
  wake_ = eventfd(0, EFD_CLOEXEC);
  DieUnless(wake_ >= 0, "eventfd");
  thread_ = std::thread([this] { Run(); });
}

LoopbackServer::~LoopbackServer() {
  const uint64_t one = 1;
  DieUnless(write(wake_, &one, sizeof one) == sizeof one, "write");
  thread_.join();
  close(listener_);
  close(wake_);
}

std::string LoopbackServer::Url() const {
  return absl::StrCat("http://", ipv6_ ? "[::1]" : "127.0.0.1", ":", port_, "/order");
}

std::string LoopbackServer::Http(int status, absl::string_view body, absl::string_view headers) {
  return absl::StrCat("HTTP/1.1 ", status, " Status\r\nContent-Length: ", body.size(), "\r\n", headers,
                      "\r\n", body);
}

void LoopbackServer::Run() {
  const int epoll = epoll_create1(EPOLL_CLOEXEC);
  DieUnless(epoll >= 0, "epoll_create1");
  Watch(epoll, listener_);
  Watch(epoll, wake_);
  std::map<int, Connection> connections;

  // Reads what there is and replies to every whole request. False: the connection is closed.
  const auto serve = [&](int fd, Connection& connection) {
    char buffer[4096];
    const ssize_t got = recv(fd, buffer, sizeof buffer, 0);
    if (got <= 0) {
      ++left_;
      close(fd);
      return false;
    }
    connection.input.append(buffer, static_cast<size_t>(got));
    while (const size_t length = RequestLength(connection.input)) {
      const std::string request = connection.input.substr(0, length);
      connection.input.erase(0, length);
      ++requests_;
      const Reply reply = script_(request, ++connection.requests);
      send(fd, reply.bytes.data(), reply.bytes.size(), MSG_NOSIGNAL);
      if (reply.then != Then::kKeepOpen) {
        Close(fd, reply.then);
        return false;
      }
    }
    return true;
  };

  for (bool stop = false; !stop;) {
    std::array<epoll_event, 64> events;
    const int count = epoll_wait(epoll, events.data(), static_cast<int>(events.size()), -1);
    for (int i = 0; i < count; ++i) {
      const int fd = events[i].data.fd;
      if (fd == wake_) {
        stop = true;
      } else if (fd == listener_) {
        const int accepted = accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
        if (accepted < 0) continue;
        const int on = 1;
        setsockopt(accepted, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        connections[accepted];
        Watch(epoll, accepted);
      } else if (!serve(fd, connections.at(fd))) {
        connections.erase(fd);
      }
    }
  }
  for (const auto& [fd, connection] : connections) close(fd);
  close(epoll);
}

int UnusedPort() {
  const auto [fd, port] = BindLoopback(false);
  close(fd);
  return port;
}

}  // namespace squall
