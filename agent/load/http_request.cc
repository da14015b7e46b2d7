#include "agent/load/http_request.h"

#include <curl/curl.h>

#include <algorithm>
#include <array>
#include <memory>

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"

namespace squall {
namespace {

constexpr std::array<absl::string_view, 7> kMethods = {"GET",    "HEAD",  "POST",   "PUT",
                                                       "DELETE", "PATCH", "OPTIONS"};
// Set by what sends the request.
constexpr std::array<absl::string_view, 4> kOwn = {"traceparent", "x-squall-run", "content-length", "transfer-encoding"};
// https://www.rfc-editor.org/rfc/rfc9113#name-connection-specific-header-
constexpr std::array<absl::string_view, 4> kNotOfHttp2 = {"connection", "keep-alive", "proxy-connection", "upgrade"};
constexpr int kMostKinds = 65'536;

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

template <size_t n>
bool IsOneOf(const std::array<absl::string_view, n>& names, absl::string_view name) {
  return std::any_of(names.begin(), names.end(), [&](absl::string_view one) { return absl::EqualsIgnoreCase(one, name); });
}

// curl takes an URL apart; it is not asked for more.
class Url {
 public:
  absl::Status Parse(const std::string& text, HttpRequests& requests, std::string& path, std::string& credentials) {
    const CURLUcode code = curl_url_set(url_.get(), CURLUPART_URL, text.c_str(), CURLU_NON_SUPPORT_SCHEME);
    if (code != CURLUE_OK) {
      return absl::InvalidArgumentError(absl::StrCat("the URL '", text, "' cannot be used: ", curl_url_strerror(code)));
    }
    const std::string scheme = Part(CURLUPART_SCHEME);
    if ((scheme != "http" && scheme != "https") || !absl::StrContains(text, "://")) {
      return absl::InvalidArgumentError(absl::StrCat("the URL '", text, "' must begin with http:// or https://"));
    }
    requests.https = scheme == "https";
    std::string host = Part(CURLUPART_HOST);
    const std::string port = Part(CURLUPART_PORT);
    requests.authority = port.empty() ? host : absl::StrCat(host, ":", port);
    if (!absl::SimpleAtoi(port, &requests.port)) requests.port = requests.https ? 443 : 80;
    if (absl::StartsWith(host, "[")) host = host.substr(1, host.size() - 2);
    requests.host = host;
    const std::string query = Part(CURLUPART_QUERY);
    path = absl::StrCat(Part(CURLUPART_PATH), query.empty() ? "" : "?", query);
    const std::string user = Part(CURLUPART_USER);
    if (!user.empty()) credentials = absl::Base64Escape(absl::StrCat(user, ":", Part(CURLUPART_PASSWORD)));
    return absl::OkStatus();
  }

 private:
  std::string Part(CURLUPart part) {
    char* text = nullptr;
    const unsigned flags = part == CURLUPART_USER || part == CURLUPART_PASSWORD ? CURLU_URLDECODE : CURLU_NO_DEFAULT_PORT;
    if (curl_url_get(url_.get(), part, &text, flags) != CURLUE_OK) return "";
    const std::unique_ptr<char, decltype(&curl_free)> owner(text, &curl_free);
    return text;
  }

  std::unique_ptr<CURLU, decltype(&curl_url_cleanup)> url_{curl_url(), &curl_url_cleanup};
};

absl::Status CheckPath(const std::string& path) {
  const bool good = absl::StartsWith(path, "/") && !absl::StrContains(path, ' ') && IsOneLine(path) && !absl::StrContains(path, '\t');
  if (good) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("the path '", absl::CEscape(path), "' must begin with / and have no spaces: write %20"));
}

absl::Status CheckHeader(const std::string& name, const std::string& value, bool http2) {
  if (!IsToken(name)) return absl::InvalidArgumentError(absl::StrCat("'", name, "' is no name of a header"));
  if (IsOneOf(kOwn, name)) return absl::InvalidArgumentError(absl::StrCat("the header ", name, " is set by squall itself"));
  if (http2 && (IsOneOf(kNotOfHttp2, name) || (absl::EqualsIgnoreCase(name, "te") && value != "trailers"))) {
    return absl::InvalidArgumentError(absl::StrCat("HTTP/2 has no header ", name));
  }
  // The value itself stays out of the message: it may be a secret.
  if (!IsOneLine(value)) return absl::InvalidArgumentError(absl::StrCat("the header ", name, " has more than one line"));
  return absl::OkStatus();
}

absl::Status CheckMethod(const HttpRequest& request) {
  if (std::find(kMethods.begin(), kMethods.end(), request.method) == kMethods.end()) {
    return absl::InvalidArgumentError(absl::StrCat("the method '", request.method,
                                                   "' is not known; GET, HEAD, POST, PUT, "
                                                   "DELETE, PATCH and OPTIONS are"));
  }
  if (request.method == "HEAD" && !request.body.empty()) {
    return absl::InvalidArgumentError("a HEAD request has no body");
  }
  return absl::OkStatus();
}

// Those of a kind of request replace those with the same name.
HeaderList Joined(const google::protobuf::Map<std::string, std::string>& base,
                  const google::protobuf::Map<std::string, std::string>& more) {
  HeaderList joined(more.begin(), more.end());
  for (const auto& [name, value] : base) {
    if (FindHeader(joined, name) == nullptr) joined.emplace_back(name, value);
  }
  // Maps have no order of their own.
  std::sort(joined.begin(), joined.end());
  return joined;
}

}  // namespace

const std::string* FindHeader(const HeaderList& headers, absl::string_view name) {
  for (const auto& header : headers) {
    if (absl::EqualsIgnoreCase(header.first, name)) return &header.second;
  }
  return nullptr;
}

absl::StatusOr<HeaderList> MakeHeaders(const HeaderList& mine, absl::string_view run_id, bool http2) {
  HeaderList headers;
  for (const auto& [name, value] : mine) {
    if (const absl::Status status = CheckHeader(name, value, http2); !status.ok()) return status;
    headers.emplace_back(name, std::string(absl::StripAsciiWhitespace(value)));
  }
  if (run_id.empty() || !IsOneLine(run_id))
    return absl::InvalidArgumentError("the run's id cannot be sent as a header");
  if (FindHeader(mine, "user-agent") == nullptr) headers.emplace_back("user-agent", "squall");
  headers.emplace_back("x-squall-run", run_id);
  return headers;
}

absl::StatusOr<HttpRequests> MakeHttpRequests(const Load& load, absl::string_view run_id) {
  if (!load.has_http())
    return absl::InvalidArgumentError(absl::StrCat("the load ", load.name(), " is not http"));
  const Http& http = load.http();
  HttpRequests requests;
  std::string path, credentials;
  if (absl::Status status = Url().Parse(http.url(), requests, path, credentials); !status.ok()) return status;
  if (http.requests_size() > kMostKinds) {
    return absl::InvalidArgumentError(absl::StrCat("the load ", load.name(), " has more than ", kMostKinds, " requests"));
  }
  std::vector<WeightedHttp> kinds(http.requests().begin(), http.requests().end());
  if (kinds.empty()) kinds.emplace_back();
  const std::string method = http.method().empty() ? "GET" : http.method();
  for (const WeightedHttp& kind : kinds) {
    HttpRequest request;
    request.method = kind.method().empty() ? method : kind.method();
    request.path = kind.path().empty() ? path : kind.path();
    request.body = kind.body().empty() ? http.body() : kind.body();
    if (absl::Status status = CheckMethod(request); !status.ok()) return status;
    if (absl::Status status = CheckPath(request.path); !status.ok()) return status;
    absl::StatusOr<HeaderList> headers =
        MakeHeaders(Joined(http.headers(), kind.headers()), run_id, http.version() == Http::VERSION_HTTP2);
    if (!headers.ok()) return headers.status();
    request.headers = *std::move(headers);
    if (FindHeader(request.headers, "accept") == nullptr) request.headers.emplace_back("accept", "*/*");
    if (!credentials.empty() && FindHeader(request.headers, "authorization") == nullptr) {
      request.headers.emplace_back("authorization", absl::StrCat("Basic ", credentials));
    }
    requests.kinds.push_back(std::move(request));
  }
  return requests;
}

std::pair<std::string, std::string> WriteHttp1(const HttpRequest& request, const std::string& authority) {
  std::string head = absl::StrCat(request.method, " ", request.path, " HTTP/1.1\r\n");
  if (FindHeader(request.headers, "host") == nullptr) absl::StrAppend(&head, "Host: ", authority, "\r\n");
  for (const auto& [name, value] : request.headers) absl::StrAppend(&head, name, ":", value.empty() ? "" : " ", value, "\r\n");
  const bool has_body = !request.body.empty() || request.method == "POST" || request.method == "PUT" || request.method == "PATCH";
  if (has_body) absl::StrAppend(&head, "Content-Length: ", request.body.size(), "\r\n");
  absl::StrAppend(&head, "traceparent: ");
  return {std::move(head), absl::StrCat("\r\n\r\n", request.body)};
}

}  // namespace squall
