#include "agent/load/http_request.h"

#include <curl/curl.h>

#include <algorithm>
#include <array>
#include <memory>

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "agent/load/outcome.h"

namespace squall {
namespace {

constexpr std::array<absl::string_view, 7> kMethods = {"GET",    "HEAD",  "POST",   "PUT",
                                                       "DELETE", "PATCH", "OPTIONS"};

// The characters of a token, https://www.rfc-editor.org/rfc/rfc9110#name-tokens.
bool IsToken(absl::string_view text) {
  return !text.empty() && std::all_of(text.begin(), text.end(), [](unsigned char c) {
    return absl::ascii_isalnum(c) || absl::StrContains("!#$%&'*+-.^_`|~", static_cast<char>(c));
  });
}

// A control character would end the line, or the header.
bool IsOneLine(absl::string_view text) {
  return std::none_of(text.begin(), text.end(),
                      [](unsigned char c) { return (c < 0x20 && c != '\t') || c == 0x7f; });
}

absl::Status CheckUrl(const std::string& text) {
  const std::unique_ptr<CURLU, decltype(&curl_url_cleanup)> url(curl_url(), &curl_url_cleanup);
  const CURLUcode code = curl_url_set(url.get(), CURLUPART_URL, text.c_str(), 0);
  if (code != CURLUE_OK) {
    return absl::InvalidArgumentError(
        absl::StrCat("the URL '", text, "' cannot be used: ", curl_url_strerror(code)));
  }
  if (!absl::StartsWithIgnoreCase(text, "http://")) {
    return absl::InvalidArgumentError(absl::StrCat("the URL '", text, "' must begin with http://"));
  }
  return absl::OkStatus();
}

absl::StatusOr<std::string> HeaderLine(const std::string& name, const std::string& value) {
  if (!IsToken(name)) return absl::InvalidArgumentError(absl::StrCat("'", name, "' is no name of a header"));
  if (absl::EqualsIgnoreCase(name, "traceparent") || absl::EqualsIgnoreCase(name, "x-squall-run")) {
    return absl::InvalidArgumentError(absl::StrCat("the header ", name, " is set by squall itself"));
  }
  // The value itself stays out of the message: it may be a secret.
  if (!IsOneLine(value))
    return absl::InvalidArgumentError(absl::StrCat("the header ", name, " has more than one line"));
  if (absl::StripAsciiWhitespace(value).empty()) return absl::StrCat(name, ";");
  return absl::StrCat(name, ": ", value);
}

bool Has(const Http& http, absl::string_view name) {
  return std::any_of(http.headers().begin(), http.headers().end(),
                     [&](const auto& header) { return absl::EqualsIgnoreCase(header.first, name); });
}

}  // namespace

absl::StatusOr<HttpRequest> MakeHttpRequest(const Load& load, absl::string_view run_id) {
  if (!load.has_http())
    return absl::InvalidArgumentError(absl::StrCat("the load ", load.name(), " is not http"));
  const Http& http = load.http();
  HttpRequest request;
  request.url = http.url();
  if (absl::Status status = CheckUrl(request.url); !status.ok()) return status;
  request.method = http.method().empty() ? "GET" : http.method();
  if (std::find(kMethods.begin(), kMethods.end(), request.method) == kMethods.end()) {
    return absl::InvalidArgumentError(absl::StrCat("the method '", request.method,
                                                   "' is not known; GET, HEAD, POST, PUT, "
                                                   "DELETE, PATCH and OPTIONS are"));
  }
  request.body = http.body();
  if (request.method == "HEAD" && !request.body.empty()) {
    return absl::InvalidArgumentError("a HEAD request has no body");
  }
  for (const auto& [name, value] : http.headers()) {
    absl::StatusOr<std::string> line = HeaderLine(name, value);
    if (!line.ok()) return line.status();
    request.headers.push_back(*std::move(line));
  }
  // libcurl adds these two on its own: a form's type whatever the body is, and for large bodies a wait for
  // the target's leave. "Name:" takes them out.
  if (!Has(http, "content-type")) request.headers.push_back("content-type:");
  if (!Has(http, "expect")) request.headers.push_back("expect:");
  if (run_id.empty() || !IsOneLine(run_id))
    return absl::InvalidArgumentError("the run's id cannot be sent as a header");
  request.headers.push_back(absl::StrCat("x-squall-run: ", run_id));
  request.patience =
      absl::Seconds(load.give_up_after().seconds()) + absl::Nanoseconds(load.give_up_after().nanos());
  if (request.patience <= absl::ZeroDuration()) {
    return absl::InvalidArgumentError("give_up_after must be longer than no time");
  }
  request.rejected = RejectedWhen(load);
  request.degraded = load.degraded_when();
  return request;
}

}  // namespace squall
