// HTTP/2: requests share connections. gRPC rides on it.
#pragma once

#include <nghttp2/nghttp2.h>

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/container/flat_hash_set.h"
#include "absl/strings/string_view.h"
#include "agent/load/connection.h"
#include "agent/load/http_request.h"
#include "agent/load/target.h"
#include "agent/load/transport.h"

namespace squall {

// What the connections of a load share.
struct Http2Requests {
  std::string scheme, authority;
  uint64_t trace_prefix = 0;
  Keep keep;
  bool grpc = false;
  std::vector<HttpRequest> kinds;
};

// Fills a connection with as many streams as the server allows, and opens another when all are full. A request is sent once the
// server's SETTINGS are there: before, nobody knows how many it allows. With TLS the server must choose h2 (ALPN), without it must
// know beforehand. A stream that the server refused to process, by RST_STREAM(REFUSED_STREAM) or by GOAWAY, is kNotAccepted.
// Not thread-safe. Target, epoll and requests outlive it.
class Http2Transport : public Transport {
 public:
  Http2Transport(Target& target, int epoll, const Http2Requests& requests) : target_(target), epoll_(epoll), requests_(requests) {}
  ~Http2Transport() override;

  void Send(Exchange& exchange) override;
  void Abandon(Exchange& exchange, bool out_of_patience) override;
  void HandleEvent(uint64_t id, uint32_t events) override;
  void HandleAddresses() override;
  void Tidy(int64_t now_ns) override;

 private:
  struct SessionFree {
    void operator()(nghttp2_session* session) const { nghttp2_session_del(session); }
  };
  struct Line {
    Line(Http2Transport* transport, uint64_t line_id)
        : owner(transport), id(line_id), connection(transport->target_, transport->epoll_, line_id) {}
    // How many requests it may have.
    size_t Room() const;
    size_t used() const { return waiting.size() + streams.size(); }

    Http2Transport* const owner;
    const uint64_t id;
    Connection connection;
    std::unique_ptr<nghttp2_session, SessionFree> session;
    bool settled = false;   // the server's SETTINGS are there
    bool retired = false;   // takes no more requests
    bool answered = false;  // a request of it was answered
    std::deque<Exchange*> waiting;  // for the SETTINGS
    absl::flat_hash_set<Exchange*> streams;
    int64_t idle_since_ns = 0;
    int64_t last_read_ns = 0;
  };

  void Place(Exchange& exchange);
  Line& Open();
  Line* Find(uint64_t id);
  void Begin(Line& line);  // a session on a connection that is open now
  void Submit(Line& line, Exchange& exchange);
  // Passes on what the session has to say, and ends the line if it is over.
  void Flush(Line& line);
  void Fail(Exchange& exchange, Failure failure, const std::string& why);
  void FailAll(Line& line, Failure failure, const std::string& why);
  void Close(uint64_t id);
  // An exchange is no longer on its line.
  void Leave(Line& line, Exchange& exchange);
  void Complete(Line& line, Exchange& exchange);
  void CloseStream(Line& line, Exchange& exchange, uint32_t error);
  void TakeHeader(Exchange& exchange, absl::string_view name, absl::string_view value);
  void TakeData(Exchange& exchange, absl::string_view data);

  // nghttp2's callbacks; `line` is what they were registered with.
  static nghttp2_session_callbacks* MakeCallbacks();
  static Exchange* ExchangeOf(nghttp2_session* session, int32_t stream);
  static int OnFrame(nghttp2_session* session, const nghttp2_frame* frame, void* line);
  static ssize_t ReadBody(nghttp2_session* session, int32_t stream, uint8_t* to, size_t size, uint32_t* flags, nghttp2_data_source* line, void*);
  static int OnNotSent(nghttp2_session* session, const nghttp2_frame* frame, int error, void* line);

  Target& target_;
  const int epoll_;
  const Http2Requests& requests_;
  uint64_t next_id_ = kFirstConnection;
  std::vector<std::unique_ptr<Line>> lines_;  // by id
  size_t allowed_ = 100;  // requests that a connection takes before its server says how many it may
  std::string in_;
};

}  // namespace squall
