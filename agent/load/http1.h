// HTTP/1.1 on a connection of a load.
#pragma once

#include <http_parser.h>

#include <string>
#include <utility>
#include <vector>

#include "agent/load/exclusive.h"
#include "agent/load/http_request.h"

namespace squall {

// What the connections of a load share.
struct Http1Requests {
  struct Kind {
    std::string before;  // the traceparent
    std::string after;
    bool head = false;   // an answer has no body
    bool last = false;   // says that the connection is not used again
  };
  Http1Requests(const HttpRequests& requests, uint64_t prefix, Keep keep_of_answers);

  uint64_t trace_prefix;
  Keep keep;
  std::vector<Kind> kinds;
};

// `requests` outlive it.
class Http1Dialogue : public Dialogue {
 public:
  explicit Http1Dialogue(const Http1Requests& requests);

  absl::string_view Begin(Exchange& exchange) override;
  Turn Read(absl::string_view bytes) override;
  Turn ReadEnd() override { return Read(""); }
  bool MaySpeakUnasked() const override { return false; }
  std::string Why() const override;

 private:
  const Http1Requests::Kind& kind() const { return requests_.kinds[exchange_->request.kind]; }
  void HeaderDone();
  // http_parser's callbacks.
  static const http_parser_settings& Settings();
  static Http1Dialogue& Of(http_parser* parser) { return *static_cast<Http1Dialogue*>(parser->data); }
  int OnHeadersComplete();
  int OnMessageComplete();

  const Http1Requests& requests_;
  http_parser parser_;
  Exchange* exchange_ = nullptr;
  std::string out_;
  std::string name_, value_;  // of the header that is being read
  bool in_value_ = false;
  bool complete_ = false;
  bool keep_alive_ = false;
};

}  // namespace squall
