// A server on loopback that answers, or fails to answer, exactly as a test wants.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <string>
#include <thread>

#include "absl/strings/string_view.h"

namespace squall {

// One epoll thread. Requests may have a body of a Content-Length, not a chunked one.
class LoopbackServer {
 public:
  enum class Then { kKeepOpen, kClose, kReset };
  struct Reply {
    std::string bytes;  // none with kKeepOpen: accepts and says nothing
    Then then = Then::kKeepOpen;
  };
  // What to reply to the nth request (from 1) of a connection, given as it came. Called from the server's
  // thread.
  using Script = std::function<Reply(absl::string_view request, int nth)>;

  // Listens on a free port of 127.0.0.1 or ::1. Dies when it cannot.
  explicit LoopbackServer(Script script, bool ipv6 = false);
  ~LoopbackServer();
  LoopbackServer(const LoopbackServer&) = delete;
  LoopbackServer& operator=(const LoopbackServer&) = delete;

  int port() const { return port_; }
  // "http://127.0.0.1:PORT/order"
  std::string Url() const;
  // Requests that came in.
  int64_t requests() const { return requests_; }
  // Connections that clients have closed.
  int64_t left() const { return left_; }

  // "HTTP/1.1 STATUS ..." with a body and, in front of it, further lines of header, each ending in "\r\n".
  static std::string Http(int status, absl::string_view body, absl::string_view headers = "");

 private:
  void Run();

  const Script script_;
  const bool ipv6_;
  int listener_ = -1;
  int wake_ = -1;
  int port_ = 0;
  std::atomic<int64_t> requests_{0};
  std::atomic<int64_t> left_{0};
  std::thread thread_;
};

// A port of 127.0.0.1 on which nobody listens.
int UnusedPort();

}  // namespace squall
