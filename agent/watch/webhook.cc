#include "agent/watch/webhook.h"

#include <http_parser.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "agent/net/address.h"
#include "base/clock.h"

namespace squall {

struct WebhookReceiver::Connection {
  Fd fd;
  int64_t until_ns = 0;
  http_parser parser = {};
  std::string body;
  bool too_long = false;
  bool complete = false;
};

absl::StatusOr<Fd> WebhookReceiver::Listen(const std::string& address) {
  const absl::StatusOr<std::vector<Address>> addresses = ResolveAddress(address);
  if (!addresses.ok()) return addresses.status();
  Fd fd(socket(addresses->front().Family(), SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  const int on = 1;
  setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
  sockaddr_storage storage;
  const socklen_t length = addresses->front().ToSockaddr(storage);
  if (!fd || bind(fd.get(), reinterpret_cast<sockaddr*>(&storage), length) != 0 || listen(fd.get(), kMostConnections) != 0) {
    const bool taken = errno == EADDRINUSE;
    return absl::FailedPreconditionError(
        absl::StrCat("cannot listen at ", address, ": ", strerror(errno),
                     taken ? "; stop what listens there, or write another address here and in Alertmanager's webhook_configs" : ""));
  }
  return fd;
}

WebhookReceiver::WebhookReceiver(Fd listener, Handler handler)
    : listener_(std::move(listener)), handler_(std::move(handler)), stop_(eventfd(0, EFD_CLOEXEC)), thread_([this] { Run(); }) {}

WebhookReceiver::~WebhookReceiver() {
  const uint64_t one = 1;
  (void)!write(stop_.get(), &one, sizeof(one));
  thread_.join();
}

void WebhookReceiver::Run() {
  prctl(PR_SET_NAME, "webhook");
  while (true) {
    std::vector<pollfd> wanted = {{stop_.get(), POLLIN, 0}};
    int64_t until_ns = BootNanos() + absl::ToInt64Nanoseconds(kTimeout);
    for (const auto& [fd, connection] : connections_) {
      wanted.push_back({fd, POLLIN, 0});
      until_ns = std::min(until_ns, connection->until_ns);
    }
    // Others wait in the kernel's queue.
    if (connections_.size() < kMostConnections) wanted.push_back({listener_.get(), POLLIN, 0});
    poll(wanted.data(), wanted.size(), static_cast<int>(std::max<int64_t>(until_ns - BootNanos(), 0) / 1'000'000 + 1));
    if (wanted[0].revents != 0) return;
    for (size_t i = 1; i < wanted.size(); ++i) {
      if (wanted[i].fd == listener_.get()) {
        if (wanted[i].revents != 0) Accept();
        continue;
      }
      Connection& connection = *connections_.at(wanted[i].fd);
      const bool goes_on = wanted[i].revents == 0 || Serve(connection);
      if (!goes_on || BootNanos() >= connection.until_ns) connections_.erase(wanted[i].fd);
    }
  }
}

void WebhookReceiver::Accept() {
  Fd fd(accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
  if (!fd) {
    absl::SleepFor(absl::Milliseconds(10));  // descriptors are short: the queue stays readable
    return;
  }
  auto connection = std::make_unique<Connection>();
  connection->until_ns = BootNanos() + absl::ToInt64Nanoseconds(kTimeout);
  http_parser_init(&connection->parser, HTTP_REQUEST);
  connection->parser.data = connection.get();
  connection->fd = std::move(fd);
  const int number = connection->fd.get();
  connections_[number] = std::move(connection);
}

bool WebhookReceiver::Serve(Connection& connection) {
  static const http_parser_settings settings = [] {
    http_parser_settings s;
    http_parser_settings_init(&s);
    s.on_body = [](http_parser* parser, const char* data, size_t size) {
      Connection& self = *static_cast<Connection*>(parser->data);
      self.too_long = self.body.size() + size > kMostBytes;
      if (!self.too_long) self.body.append(data, size);
      return self.too_long ? 1 : 0;
    };
    s.on_message_complete = [](http_parser* parser) {
      static_cast<Connection*>(parser->data)->complete = true;
      http_parser_pause(parser, 1);
      return 0;
    };
    return s;
  }();
  char buffer[16 << 10];
  const ssize_t size = recv(connection.fd.get(), buffer, sizeof(buffer), 0);
  if (size <= 0) return size < 0 && (errno == EAGAIN || errno == EINTR);
  http_parser_execute(&connection.parser, &settings, buffer, static_cast<size_t>(size));
  const bool broken = HTTP_PARSER_ERRNO(&connection.parser) != HPE_OK;
  if (!connection.complete && !broken) return true;
  int status = 200;
  absl::Status handled;
  if (connection.too_long) {
    status = 413;
  } else if (!connection.complete) {
    status = 400;
  } else if (connection.parser.method != HTTP_POST) {
    status = 405;
  } else {
    handled = handler_(connection.body);
    if (!handled.ok()) status = 400;
  }
  const std::string reply =
      absl::StrCat("HTTP/1.1 ", status, status == 200 ? " OK" : " Refused", "\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\nContent-Length: ",
                   handled.message().size(), "\r\n\r\n", handled.message());
  (void)!send(connection.fd.get(), reply.data(), reply.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
  return false;
}

}  // namespace squall
