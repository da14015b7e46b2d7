#include "agent/load/http_transfer.h"

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>

#include "absl/memory/memory.h"
#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/time/clock.h"
#include "agent/load/retries.h"
#include "agent/load/trace.h"

namespace squall {
namespace {

// Connections that were idle for this long are not used again: most servers drop them after some seconds, and
// a request that crosses with the close would look like a failure of the target.
constexpr long kIdleSeconds = 1;

// libcurl rounds to milliseconds; patience is never cut short.
long CeilMillis(absl::Duration duration) {
  return static_cast<long>(absl::ToInt64Milliseconds(absl::Ceil(duration, absl::Milliseconds(1))));
}

constexpr absl::string_view kTraceparentName = "traceparent: ";
constexpr absl::string_view kRetryAfterName = "retry-after:";

}  // namespace

absl::StatusOr<std::unique_ptr<HttpTransfer>> HttpTransfer::Make(const HttpRequest* request,
                                                                 uint64_t trace_prefix,
                                                                 int64_t* open_sockets) {
  std::unique_ptr<HttpTransfer> transfer =
      absl::WrapUnique(new HttpTransfer(request, trace_prefix, open_sockets));
  if (transfer->easy_ == nullptr || !transfer->SetUp() || !transfer->SetUpRequest()) {
    return absl::ResourceExhaustedError("libcurl could not make a request ready");
  }
  return transfer;
}

HttpTransfer::HttpTransfer(const HttpRequest* request, uint64_t trace_prefix, int64_t* open_sockets)
    : request_(*request), trace_prefix_(trace_prefix), open_sockets_(open_sockets), easy_(curl_easy_init()) {
  keep_headers_ = !request_.rejected.headers().empty() || !request_.degraded.headers().empty();
  keep_body_ = !request_.rejected.body().empty() || !request_.degraded.body().empty();
}

HttpTransfer::~HttpTransfer() {
  if (easy_ != nullptr) curl_easy_cleanup(easy_);
  curl_slist_free_all(headers_);
}

// How it behaves.
bool HttpTransfer::SetUp() {
  const long patience_ms = CeilMillis(request_.patience);
  const auto set = [this](CURLoption option, auto value) {
    return curl_easy_setopt(easy_, option, value) == CURLE_OK;
  };
  return set(CURLOPT_PRIVATE, this) && set(CURLOPT_NOSIGNAL, 1L) && set(CURLOPT_PROTOCOLS_STR, "http") &&
         set(CURLOPT_HTTP_VERSION, static_cast<long>(CURL_HTTP_VERSION_1_1)) &&
         // An empty proxy switches off those of the environment.
         set(CURLOPT_PROXY, "") && set(CURLOPT_FOLLOWLOCATION, 0L) &&
         // The sooner of the two ends it, and connecting is no other promise than answering.
         set(CURLOPT_TIMEOUT_MS, patience_ms) && set(CURLOPT_CONNECTTIMEOUT_MS, patience_ms) &&
         set(CURLOPT_MAXAGE_CONN, kIdleSeconds) && set(CURLOPT_HEADERFUNCTION, &OnHeader) &&
         set(CURLOPT_HEADERDATA, this) && set(CURLOPT_WRITEFUNCTION, &OnBody) &&
         set(CURLOPT_WRITEDATA, this) && set(CURLOPT_PREREQFUNCTION, &OnConnected) &&
         set(CURLOPT_PREREQDATA, this) && set(CURLOPT_OPENSOCKETFUNCTION, &OpenSocket) &&
         set(CURLOPT_OPENSOCKETDATA, this) &&
         // A connection outlives the transfer that opened it.
         set(CURLOPT_CLOSESOCKETFUNCTION, &CloseSocket) && set(CURLOPT_CLOSESOCKETDATA, open_sockets_);
}

// What it sends.
bool HttpTransfer::SetUpRequest() {
  const auto set = [this](CURLoption option, auto value) {
    return curl_easy_setopt(easy_, option, value) == CURLE_OK;
  };
  if (!set(CURLOPT_URL, request_.url.c_str()) || !set(CURLOPT_USERAGENT, "squall")) return false;
  const bool has_body = !request_.body.empty() || request_.method == "POST" || request_.method == "PUT" ||
                        request_.method == "PATCH";
  if (request_.method == "HEAD") {
    if (!set(CURLOPT_NOBODY, 1L)) return false;
  } else if (has_body) {
    if (!set(CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(request_.body.size())) ||
        !set(CURLOPT_POSTFIELDS, request_.body.c_str()) ||
        !set(CURLOPT_CUSTOMREQUEST, request_.method.c_str())) {
      return false;
    }
  } else if (request_.method != "GET" && !set(CURLOPT_CUSTOMREQUEST, request_.method.c_str())) {
    return false;
  }
  std::vector<std::string> lines = request_.headers;
  lines.push_back(absl::StrCat(kTraceparentName, Traceparent(trace_prefix_, 0)));
  for (const std::string& line : lines) {
    curl_slist* longer = curl_slist_append(headers_, line.c_str());
    if (longer == nullptr) return false;
    headers_ = longer;
  }
  traceparent_ = headers_;
  while (traceparent_->next != nullptr) traceparent_ = traceparent_->next;
  return set(CURLOPT_HTTPHEADER, headers_);
}

void HttpTransfer::Prepare(int64_t number, int64_t intended_ns, int64_t sent_ns, bool fresh_connection,
                           bool retried) {
  current_ = EndedRequest{number, intended_ns, sent_ns, 0, 0, OUTCOME_UNSPECIFIED};
  current_.retried = retried;
  retry_after_.reset();
  answer_.status = 0;
  answer_.headers.clear();
  answer_.body.clear();
  handed_over_ = false;
  died_ = false;
  socket_error_ = 0;
  hang_ups.clear();
  const std::string parent = Traceparent(trace_prefix_, number);
  std::copy(parent.begin(), parent.end(), traceparent_->data + kTraceparentName.size());
  if (fresh_connection != fresh_connection_) {
    fresh_connection_ = fresh_connection;
    curl_easy_setopt(easy_, CURLOPT_FRESH_CONNECT, fresh_connection ? 1L : 0L);
  }
}

HttpTransfer::Ended HttpTransfer::End(CURLcode code, int64_t end_ns) const {
  Ended ended;
  ended.request = current_;
  ended.request.end_ns = end_ns;
  Answer answer = answer_;
  long status = 0;
  curl_easy_getinfo(easy_, CURLINFO_RESPONSE_CODE, &status);
  answer.status = ended.request.status = static_cast<int32_t>(status);
  if (code == CURLE_OK) {
    ended.request.outcome = ClassifyAnswer(request_.rejected, request_.degraded, answer);
    if (ended.request.outcome == REJECTED && retry_after_) {
      ended.request.retry_after_ms = RetryAfterColumn(*retry_after_, absl::Now());
    }
    return ended;
  }
  long connect_errno = 0;
  curl_easy_getinfo(easy_, CURLINFO_OS_ERRNO, &connect_errno);
  const int error = socket_error_ != 0 ? socket_error_ : static_cast<int>(connect_errno);
  const Failure failure = died_ ? Failure::kDied : ClassifyFailure(code, error);
  ended.request.outcome = ToOutcome(failure);
  ended.never_sent = failure == Failure::kNeverSent;
  return ended;
}

EndedRequest HttpTransfer::Abandon(int64_t end_ns) const {
  EndedRequest request = current_;
  request.end_ns = end_ns;
  request.outcome = ABANDONED;
  return request;
}

HttpTransfer* HttpTransfer::Of(CURL* easy) {
  char* self = nullptr;
  curl_easy_getinfo(easy, CURLINFO_PRIVATE, &self);
  return reinterpret_cast<HttpTransfer*>(self);
}

size_t HttpTransfer::OnHeader(char* data, size_t size, size_t count, void* self) {
  HttpTransfer& transfer = *static_cast<HttpTransfer*>(self);
  const absl::string_view line(data, size * count);
  if (absl::StartsWith(line, "HTTP/")) {
    transfer.answer_.headers.clear();  // those before belonged to an interim answer (1xx)
    transfer.retry_after_.reset();
  } else if (absl::StartsWithIgnoreCase(line, kRetryAfterName)) {
    transfer.retry_after_ = std::string(absl::StripAsciiWhitespace(line.substr(kRetryAfterName.size())));
  }
  if (!transfer.keep_headers_ || absl::StartsWith(line, "HTTP/")) return line.size();
  if (const size_t colon = line.find(':'); colon != line.npos) {
    transfer.answer_.headers.emplace_back(std::string(line.substr(0, colon)),
                                          std::string(absl::StripAsciiWhitespace(line.substr(colon + 1))));
  }
  return line.size();
}

size_t HttpTransfer::OnBody(char* data, size_t size, size_t count, void* self) {
  HttpTransfer& transfer = *static_cast<HttpTransfer*>(self);
  const size_t length = size * count;
  // The rest is read all the same: an answer ends where it ends.
  if (transfer.keep_body_) {
    std::string& body = transfer.answer_.body;
    body.append(data, std::min(length, kMatchedBody - body.size()));
  }
  return length;
}

int HttpTransfer::OnConnected(void* self, char*, char*, int, int) {
  HttpTransfer& transfer = *static_cast<HttpTransfer*>(self);
  if (transfer.handed_over_) {
    transfer.died_ = true;
    return CURL_PREREQFUNC_ABORT;
  }
  transfer.handed_over_ = true;
  return CURL_PREREQFUNC_OK;
}

curl_socket_t HttpTransfer::OpenSocket(void* self, curlsocktype, curl_sockaddr* address) {
  HttpTransfer& transfer = *static_cast<HttpTransfer*>(self);
  if (transfer.handed_over_) {
    transfer.died_ = true;
    return CURL_SOCKET_BAD;
  }
  // Services that are started meanwhile must not inherit it.
  const int fd = socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
  if (fd < 0) {
    transfer.socket_error_ = errno;
    return CURL_SOCKET_BAD;
  }
  ++*transfer.open_sockets_;
  return fd;
}

int HttpTransfer::CloseSocket(void* open_sockets, curl_socket_t socket) {
  --*static_cast<int64_t*>(open_sockets);
  return close(socket);
}

}  // namespace squall
