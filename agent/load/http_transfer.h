// One libcurl easy handle, which sends one request of a load after the other.
#pragma once

#include <curl/curl.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "agent/load/columns.h"
#include "agent/load/http_request.h"
#include "agent/load/outcome.h"

namespace squall {

// Not thread-safe. Used with one multi handle, from which it must be removed before it dies.
//
// A request is sent once. libcurl sends a request again, unasked, when a kept connection dies under it; a
// target that was killed would then look refused, or even healthy. Here it ends as Failure::kDied.
class HttpTransfer {
 public:
  // `request` and `*open_sockets`, which counts the sockets that are open, must outlive the multi handle.
  static absl::StatusOr<std::unique_ptr<HttpTransfer>> Make(const HttpRequest* request, uint64_t trace_prefix,
                                                            int64_t* open_sockets);
  ~HttpTransfer();
  HttpTransfer(const HttpTransfer&) = delete;
  HttpTransfer& operator=(const HttpTransfer&) = delete;

  // Makes ready for the next request. `fresh_connection`: does not look for a kept one. `retried`: it is sent because
  // an earlier one was rejected with a Retry-After.
  void Prepare(int64_t number, int64_t intended_ns, int64_t sent_ns, bool fresh_connection, bool retried);

  // What became of it, once libcurl says that it ended with `code`. `never_sent`: this host could not send
  // it.
  struct Ended {
    EndedRequest request;
    bool never_sent = false;
  };
  Ended End(CURLcode code, int64_t end_ns) const;
  // The same for a request that is given up.
  EndedRequest Abandon(int64_t end_ns) const;

  CURL* easy() const { return easy_; }
  int64_t number() const { return current_.number; }
  // The transfer to which an easy handle belongs.
  static HttpTransfer* Of(CURL* easy);

  int64_t sent_ns() const { return current_.sent_ns; }
  bool retried() const { return current_.retried; }

  // Its place in its owner's list.
  size_t slot = 0;
  // When its client hangs up, and by which fault, where that still acts then.
  std::vector<std::pair<int64_t, int>> hang_ups;

 private:
  HttpTransfer(const HttpRequest* request, uint64_t trace_prefix, int64_t* open_sockets);
  bool SetUp();
  bool SetUpRequest();

  // libcurl's callbacks.
  static size_t OnHeader(char* data, size_t size, size_t count, void* self);
  static size_t OnBody(char* data, size_t size, size_t count, void* self);
  static int OnConnected(void* self, char* peer, char* local, int peer_port, int local_port);
  static curl_socket_t OpenSocket(void* self, curlsocktype purpose, curl_sockaddr* address);
  static int CloseSocket(void* open_sockets, curl_socket_t socket);

  const HttpRequest& request_;
  const uint64_t trace_prefix_;
  int64_t* const open_sockets_;
  CURL* easy_ = nullptr;
  curl_slist* headers_ = nullptr;
  curl_slist* traceparent_ = nullptr;  // the last of headers_: rewritten in place for each request
  bool keep_headers_ = false;
  bool keep_body_ = false;
  bool fresh_connection_ = false;

  EndedRequest current_;
  Answer answer_;
  std::optional<std::string> retry_after_;
  bool handed_over_ = false;  // a connection was there, and the request went out on it
  bool died_ = false;         // and libcurl wanted to send it again
  int socket_error_ = 0;      // errno of socket()
};

}  // namespace squall
