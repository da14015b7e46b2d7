#include "agent/net/http_tap.h"

#include <utility>

namespace squall {
namespace {

HttpTap* Self(http_parser* parser) { return static_cast<HttpTap*>(parser->data); }

}  // namespace

HttpTap::HttpTap(bool parse, int64_t opened_ns, Observer observer)
    : observer_(std::move(observer)), parsing_(parse), opened_ns_(opened_ns) {
  http_parser_init(&request_, HTTP_REQUEST);
  http_parser_init(&response_, HTTP_RESPONSE);
  request_.data = this;
  response_.data = this;
}

void HttpTap::OnRequestBytes(absl::string_view bytes, int64_t now_ns) {
  if (!parsing_ || closed_) return;
  static const http_parser_settings settings = [] {
    http_parser_settings s;
    http_parser_settings_init(&s);
    s.on_message_begin = &HttpTap::OnRequestBegin;
    s.on_headers_complete = &HttpTap::OnRequestHeaders;
    s.on_message_complete = &HttpTap::OnRequestComplete;
    return s;
  }();
  now_ns_ = now_ns;
  const size_t parsed = http_parser_execute(&request_, &settings, bytes.data(), bytes.size());
  if (parsed != bytes.size() && !request_.upgrade) BecomeOpaque();
}

void HttpTap::OnResponseBytes(absl::string_view bytes, int64_t now_ns) {
  if (!parsing_ || closed_) return;
  static const http_parser_settings settings = [] {
    http_parser_settings s;
    http_parser_settings_init(&s);
    s.on_headers_complete = &HttpTap::OnResponseHeaders;
    s.on_message_complete = &HttpTap::OnResponseComplete;
    return s;
  }();
  now_ns_ = now_ns;
  const size_t parsed = http_parser_execute(&response_, &settings, bytes.data(), bytes.size());
  if (parsed != bytes.size()) BecomeOpaque();
}

void HttpTap::OnClose(CallResult result, int64_t now_ns) {
  if (closed_) return;
  closed_ = true;
  now_ns_ = now_ns;
  if (!parsing_ || (requests_ == 0 && open_.empty() && result == CONNECT_REFUSED)) {
    observer_({opened_ns_, now_ns, 0, result == CONNECT_REFUSED ? CONNECT_REFUSED : CONNECTION});
    return;
  }
  // An answer without a length ends with the connection.
  if (!open_.empty() && result == PEER_LEFT) {
    static const http_parser_settings settings = [] {
      http_parser_settings s;
      http_parser_settings_init(&s);
      s.on_message_complete = &HttpTap::OnResponseComplete;
      return s;
    }();
    http_parser_execute(&response_, &settings, nullptr, 0);
  }
  for (const Open& call : open_) observer_({call.start_ns, now_ns, 0, result});
  open_.clear();
}

int HttpTap::OnRequestBegin(http_parser* parser) {
  Self(parser)->in_request_ = true;
  Self(parser)->begin_ns_ = Self(parser)->now_ns_;
  return 0;
}

int HttpTap::OnRequestHeaders(http_parser* parser) {
  HttpTap* self = Self(parser);
  ++self->requests_;
  self->open_.push_back({self->begin_ns_, parser->method == HTTP_HEAD});
  return self->open_.size() > kMaxOpenCalls ? -1 : 0;  // nobody pipelines so many: stop listening
}

int HttpTap::OnRequestComplete(http_parser* parser) {
  Self(parser)->in_request_ = false;
  return 0;
}

int HttpTap::OnResponseHeaders(http_parser* parser) {
  HttpTap* self = Self(parser);
  return !self->open_.empty() && self->open_.front().head ? 1 : 0;  // an answer to HEAD has no body
}

int HttpTap::OnResponseComplete(http_parser* parser) {
  HttpTap* self = Self(parser);
  const int status = static_cast<int>(parser->status_code);
  if (status < 200 && status != 101) return 0;  // interim
  if (self->open_.empty()) return 0;
  const Open call = self->open_.front();
  self->open_.pop_front();
  self->observer_({call.start_ns, self->now_ns_, status, status >= 500 ? FAILED : ANSWERED});
  return 0;
}

void HttpTap::BecomeOpaque() {
  parsing_ = false;
  // What had begun as HTTP is not known to have ended.
  for (const Open& call : open_) observer_({call.start_ns, now_ns_, 0, STILL_OPEN});
  open_.clear();
}

}  // namespace squall
