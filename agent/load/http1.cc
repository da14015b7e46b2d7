#include "agent/load/http1.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "agent/load/trace.h"

namespace squall {

Http1Requests::Http1Requests(const HttpRequests& requests, uint64_t prefix, Keep keep_of_answers)
    : trace_prefix(prefix), keep(keep_of_answers) {
  for (const HttpRequest& request : requests.kinds) {
    auto [before, after] = WriteHttp1(request, requests.authority);
    const std::string* const connection = FindHeader(request.headers, "connection");
    const bool last = connection != nullptr && absl::StrContains(absl::AsciiStrToLower(*connection), "close");
    kinds.push_back({std::move(before), std::move(after), request.method == "HEAD", last});
  }
}

Http1Dialogue::Http1Dialogue(const Http1Requests& requests) : requests_(requests) {
  http_parser_init(&parser_, HTTP_RESPONSE);
  parser_.data = this;
}

absl::string_view Http1Dialogue::Begin(Exchange& exchange) {
  exchange_ = &exchange;
  complete_ = in_value_ = false;
  name_.clear();
  value_.clear();
  http_parser_init(&parser_, HTTP_RESPONSE);
  out_ = absl::StrCat(kind().before, Traceparent(requests_.trace_prefix, exchange.request.number), kind().after);
  return out_;
}

Dialogue::Turn Http1Dialogue::Read(absl::string_view bytes) {
  const size_t parsed = http_parser_execute(&parser_, &Settings(), bytes.data(), bytes.size());
  // After its end the parser stops; more would be an answer to nothing.
  if (complete_) {
    const bool again = parsed == bytes.size() && !bytes.empty() && !kind().last && keep_alive_;
    return again ? Turn::kAnswered : Turn::kAnsweredLast;
  }
  const http_errno error = HTTP_PARSER_ERRNO(&parser_);
  if (error == HPE_OK || error == HPE_INVALID_EOF_STATE) return Turn::kMore;
  return Turn::kBroken;
}

std::string Http1Dialogue::Why() const {
  return absl::StrCat("the answer is no HTTP/1.1: ", http_errno_description(HTTP_PARSER_ERRNO(&parser_)));
}

void Http1Dialogue::HeaderDone() {
  in_value_ = false;
  if (absl::EqualsIgnoreCase(name_, "retry-after")) exchange_->retry_after = std::string(absl::StripAsciiWhitespace(value_));
  if (requests_.keep.headers) {
    exchange_->answer.headers.emplace_back(name_, std::string(absl::StripAsciiWhitespace(value_)));
  }
  name_.clear();
  value_.clear();
}

const http_parser_settings& Http1Dialogue::Settings() {
  static const http_parser_settings settings = [] {
    http_parser_settings made;
    http_parser_settings_init(&made);
    made.on_message_begin = [](http_parser* parser) {
      // Those before belonged to an interim answer (1xx).
      Of(parser).exchange_->answer.headers.clear();
      Of(parser).exchange_->retry_after.reset();
      return 0;
    };
    made.on_header_field = [](http_parser* parser, const char* data, size_t size) {
      Http1Dialogue& self = Of(parser);
      if (self.in_value_) self.HeaderDone();
      self.name_.append(data, size);
      return 0;
    };
    made.on_header_value = [](http_parser* parser, const char* data, size_t size) {
      Of(parser).in_value_ = true;
      Of(parser).value_.append(data, size);
      return 0;
    };
    made.on_headers_complete = [](http_parser* parser) { return Of(parser).OnHeadersComplete(); };
    made.on_body = [](http_parser* parser, const char* data, size_t size) {
      std::string& body = Of(parser).exchange_->answer.body;
      // The rest is read all the same: an answer ends where it ends.
      body.append(data, std::min(size, Of(parser).requests_.keep.body - body.size()));
      return 0;
    };
    made.on_message_complete = [](http_parser* parser) { return Of(parser).OnMessageComplete(); };
    return made;
  }();
  return settings;
}

int Http1Dialogue::OnHeadersComplete() {
  if (in_value_) HeaderDone();
  const bool interim = parser_.status_code / 100 == 1 && parser_.status_code != 101;
  if (!interim) exchange_->answer.status = parser_.status_code;
  // 1: there is no body, whatever the headers say. https://www.rfc-editor.org/rfc/rfc9112#name-message-body-length
  const bool never = parser_.status_code / 100 == 1 || parser_.status_code == 204 || parser_.status_code == 304;
  return kind().head || never ? 1 : 0;
}

int Http1Dialogue::OnMessageComplete() {
  if (parser_.status_code / 100 == 1 && parser_.status_code != 101) return 0;
  complete_ = true;
  keep_alive_ = http_should_keep_alive(&parser_) != 0 && parser_.upgrade == 0;
  http_parser_pause(&parser_, 1);
  return 0;
}

}  // namespace squall
