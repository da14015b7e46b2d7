#include "agent/net/http_get.h"

#include <curl/curl.h>

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"

namespace squall {
namespace {

constexpr int kLooksEveryMillis = 50;

curl_socket_t OpenInside(void* ns, curlsocktype, curl_sockaddr* address) {
  absl::StatusOr<Fd> fd = static_cast<const NetNamespace*>(ns)->Socket(address->family, address->socktype, address->protocol);
  return fd.ok() ? fd->Release() : CURL_SOCKET_BAD;
}

}  // namespace

struct HttpGetter::Curl {
  CURLM* multi = curl_multi_init();
  CURL* easy = curl_easy_init();
  size_t most_bytes = 0;
  bool too_long = false;
  std::string body;

  ~Curl() {
    curl_easy_cleanup(easy);
    curl_multi_cleanup(multi);
  }

  // Another size than was offered makes curl give up.
  static size_t TakeBody(char* data, size_t size, size_t count, void* self) {
    Curl& curl = *static_cast<Curl*>(self);
    const size_t room = curl.most_bytes - curl.body.size();
    curl.too_long = size * count > room;
    curl.body.append(data, std::min(size * count, room));
    return curl.too_long ? 0 : size * count;
  }
};

HttpGetter::HttpGetter(Where where, Bounds bounds)
    : where_(std::move(where)), bounds_(std::move(bounds)), curl_(std::make_unique<Curl>()) {
  curl_->most_bytes = bounds_.most_bytes;
  CURL* const easy = curl_->easy;
  curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(easy, CURLOPT_QUICK_EXIT, 1L);  // nor waits for who looks a name up
  curl_easy_setopt(easy, CURLOPT_PROXY, "");
  curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
  curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, static_cast<long>(absl::ToInt64Milliseconds(bounds_.timeout)));
  curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, &Curl::TakeBody);
  curl_easy_setopt(easy, CURLOPT_WRITEDATA, curl_.get());
  curl_easy_setopt(easy, CURLOPT_OPENSOCKETFUNCTION, &OpenInside);
}

HttpGetter::~HttpGetter() = default;

absl::StatusOr<HttpGetter::Answer> HttpGetter::Get(const std::string& url) {
  absl::StatusOr<NetNamespace> ns = where_();
  if (ns.ok()) ns_ = *std::move(ns);
  if (!ns_) return ns.status();
  curl_->too_long = false;
  curl_->body.clear();
  curl_easy_setopt(curl_->easy, CURLOPT_URL, url.c_str());
  curl_easy_setopt(curl_->easy, CURLOPT_OPENSOCKETDATA, &*ns_);
  curl_multi_add_handle(curl_->multi, curl_->easy);
  int running = 1;
  bool stopped = false;
  while (true) {
    if (curl_multi_perform(curl_->multi, &running) != CURLM_OK || running == 0) break;
    stopped = bounds_.stopped();
    if (stopped) break;
    curl_multi_poll(curl_->multi, nullptr, 0, kLooksEveryMillis, nullptr);
  }
  CURLcode code = CURLE_FAILED_INIT;
  int left = 0;
  while (const CURLMsg* message = curl_multi_info_read(curl_->multi, &left)) {
    if (message->msg == CURLMSG_DONE) code = message->data.result;
  }
  long status = 0;
  curl_easy_getinfo(curl_->easy, CURLINFO_RESPONSE_CODE, &status);
  curl_multi_remove_handle(curl_->multi, curl_->easy);
  if (stopped) return absl::CancelledError(absl::StrCat("GET ", url, ": the run is over"));
  if (curl_->too_long && !bounds_.cut) {
    return absl::ResourceExhaustedError(absl::StrCat("GET ", url, ": the answer is longer than ", bounds_.most_bytes, " bytes"));
  }
  if (code != CURLE_OK && !curl_->too_long) {
    return absl::UnavailableError(absl::StrCat("GET ", url, ": ", curl_easy_strerror(code)));
  }
  return Answer{static_cast<int>(status), std::move(curl_->body), curl_->too_long};
}

}  // namespace squall
