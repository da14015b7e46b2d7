// An HTTP/2 server that does what a test tells it to.
#pragma once

#include <nghttp2/nghttp2.h>

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"

namespace squall {

// Listens on 127.0.0.1 without TLS. A thread for each connection.
class Http2Server {
 public:
  struct Request {
    int connection = 0;  // from 1
    int nth = 0;         // of its connection, from 1
    std::map<std::string, std::string> headers;
    std::string body;
  };
  struct Reply {
    enum Then { kAnswer, kNothing, kRst, kGoAway, kGoAwayAndAnswer, kCut };
    Then then = kAnswer;
    std::string status = "200";
    std::string body = "fine";
    uint32_t error = 0;  // of kRst
    std::vector<std::pair<std::string, std::string>> headers = {};
    std::vector<std::pair<std::string, std::string>> trailers = {};
  };
  // Called for every whole request, by any thread.
  using Script = std::function<Reply(const Request&)>;

  // `streams`: that it allows on a connection; 0: as many as there are.
  explicit Http2Server(Script script, uint32_t streams = 0);
  ~Http2Server();
  Http2Server(const Http2Server&) = delete;
  Http2Server& operator=(const Http2Server&) = delete;

  int port() const { return port_; }
  int requests() const { return requests_; }
  int connections() const { return connections_; }
  // Streams that the client ended with this code.
  int Resets(uint32_t error) const;
  int most_streams() const { return most_streams_; }  // open at a time on one connection

 private:
  struct Peer;
  void Run();
  void Serve(int fd, int connection);
  void Answer(Peer& peer, int32_t stream);
  static nghttp2_session_callbacks* MakeCallbacks();

  const Script script_;
  const uint32_t streams_;
  int listener_ = -1;
  int port_ = 0;
  std::atomic<int> requests_{0}, connections_{0}, most_streams_{0};
  mutable absl::Mutex mutex_;
  std::map<uint32_t, int> resets_ ABSL_GUARDED_BY(mutex_);
  std::vector<int> fds_ ABSL_GUARDED_BY(mutex_);
  std::vector<std::thread> serving_;
  std::thread accepting_;
};

}  // namespace squall
