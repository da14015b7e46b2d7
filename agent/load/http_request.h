// What a load sends, checked and spelled out.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "proto/scenario.pb.h"

namespace squall {

// The same for every request of a load, but for its traceparent.
struct HttpRequest {
  std::string url;
  std::string method;
  std::string body;
  std::vector<std::string> headers;  // as libcurl takes them: "Name: value", "Name;" for an empty value
  absl::Duration patience;
  Match rejected;
  Match degraded;
};

// Pure function. INVALID_ARGUMENT for what cannot be sent: an URL that is not http://, an unknown method, a
// header that would break out of its line or that squall sets itself.
absl::StatusOr<HttpRequest> MakeHttpRequest(const Load& load, absl::string_view run_id);

}  // namespace squall
