#pragma once

#include <http_parser.h>

#include <cstdint>
#include <deque>
#include <functional>

#include "absl/strings/string_view.h"
#include "agent/net/seen_call.h"

namespace squall {

// Listens to both directions of one connection and tells its calls apart: HTTP/1.1 requests, pipelined or not. Bytes that
// are no HTTP make the whole connection one call. It only listens: bytes pass whatever it makes of them. Its memory is
// bounded by kMaxOpenCalls. Not thread-safe.
class HttpTap {
 public:
  using Observer = std::function<void(const SeenCall&)>;
  static constexpr int kMaxOpenCalls = 1024;

  // With `parse` false every connection is one call.
  HttpTap(bool parse, int64_t opened_ns, Observer observer);
  HttpTap(const HttpTap&) = delete;
  HttpTap& operator=(const HttpTap&) = delete;

  // Bytes from the service, as they are read.
  void OnRequestBytes(absl::string_view bytes, int64_t now_ns);
  // Bytes for the service, as they are passed on.
  void OnResponseBytes(absl::string_view bytes, int64_t now_ns);
  // The connection is over: calls that are still open end with `result`.
  void OnClose(CallResult result, int64_t now_ns);

  int OpenCalls() const { return static_cast<int>(open_.size()); }
  int64_t Requests() const { return requests_; }
  // No call is open and none has begun: closing now breaks nothing. Never true for what is no HTTP.
  bool Idle() const { return parsing_ && open_.empty() && !in_request_; }

 private:
  struct Open {
    int64_t start_ns;
    bool head;
  };
  static int OnRequestBegin(http_parser* parser);
  static int OnRequestHeaders(http_parser* parser);
  static int OnRequestComplete(http_parser* parser);
  static int OnResponseHeaders(http_parser* parser);
  static int OnResponseComplete(http_parser* parser);
  void BecomeOpaque();

  Observer observer_;
  http_parser request_;
  http_parser response_;
  std::deque<Open> open_;
  bool parsing_;
  bool in_request_ = false;
  bool closed_ = false;
  int64_t opened_ns_;
  int64_t begin_ns_ = 0;
  int64_t now_ns_ = 0;
  int64_t requests_ = 0;
};

}  // namespace squall
