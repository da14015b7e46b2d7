// What an HTTP load sends, checked and spelled out.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "proto/scenario.pb.h"

namespace squall {

using HeaderList = std::vector<std::pair<std::string, std::string>>;

// The same whenever it is sent, but for its traceparent.
struct HttpRequest {
  std::string method;
  std::string path;  // with the query
  HeaderList headers;  // all but the length of the body
  std::string body;
};

struct HttpRequests {
  bool https = false;
  std::string host;  // IPv6 without brackets
  int port = 0;
  std::string authority;  // as in the URL, without a port that goes without saying
  std::vector<HttpRequest> kinds;
};

// Pure function. INVALID_ARGUMENT for what cannot be sent: an URL that is neither http:// nor https://, an unknown method, a header
// that would break out of its line or that squall sets itself, or that HTTP/2 does not have.
absl::StatusOr<HttpRequests> MakeHttpRequests(const Load& load, absl::string_view run_id);

// Headers of every request, checked like those above: `mine` and what squall adds. Those of a gRPC call too.
absl::StatusOr<HeaderList> MakeHeaders(const HeaderList& mine, absl::string_view run_id, bool http2);

const std::string* FindHeader(const HeaderList& headers, absl::string_view name);

// The requests as HTTP/1.1 writes them, around the traceparent: before it, and after it.
std::pair<std::string, std::string> WriteHttp1(const HttpRequest& request, const std::string& authority);

}  // namespace squall
