#include "agent/process/ready.h"

#include <curl/curl.h>
#include <poll.h>

#include <cerrno>
#include <memory>
#include <string>

#include "absl/strings/str_cat.h"
#include "agent/net/address.h"

namespace squall {
namespace {

absl::Status LookTcp(const std::string& address_text, const NetNamespace& ns) {
  const absl::StatusOr<std::vector<Address>> addresses = ResolveAddress(address_text);
  if (!addresses.ok()) return addresses.status();
  const absl::StatusOr<Fd> fd = ns.Socket(addresses->front().Family(), SOCK_STREAM | SOCK_NONBLOCK);
  if (!fd.ok()) return fd.status();
  sockaddr_storage storage;
  const socklen_t length = addresses->front().ToSockaddr(storage);
  int error = 0;
  if (connect(fd->get(), reinterpret_cast<sockaddr*>(&storage), length) != 0) {
    error = errno;
    pollfd ready = {fd->get(), POLLOUT, 0};
    if (error == EINPROGRESS && poll(&ready, 1, 1000) == 1) {
      socklen_t size = sizeof(error);
      getsockopt(fd->get(), SOL_SOCKET, SO_ERROR, &error, &size);
    }
  }
  return error == 0 ? absl::OkStatus() : absl::ErrnoToStatus(error, absl::StrCat("connect to ", address_text));
}

curl_socket_t OpenInside(void* ns, curlsocktype, curl_sockaddr* address) {
  absl::StatusOr<Fd> fd = static_cast<const NetNamespace*>(ns)->Socket(address->family, address->socktype, address->protocol);
  return fd.ok() ? fd->Release() : CURL_SOCKET_BAD;
}

size_t Discard(char*, size_t size, size_t count, void*) { return size * count; }

absl::Status LookHttp(const std::string& url, const NetNamespace& ns) {
  const std::unique_ptr<CURL, decltype(&curl_easy_cleanup)> curl(curl_easy_init(), &curl_easy_cleanup);
  curl_easy_setopt(curl.get(), CURLOPT_URL, url.c_str());
  curl_easy_setopt(curl.get(), CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(curl.get(), CURLOPT_PROXY, "");
  curl_easy_setopt(curl.get(), CURLOPT_TIMEOUT_MS, 1000L);
  curl_easy_setopt(curl.get(), CURLOPT_WRITEFUNCTION, &Discard);
  curl_easy_setopt(curl.get(), CURLOPT_OPENSOCKETFUNCTION, &OpenInside);
  curl_easy_setopt(curl.get(), CURLOPT_OPENSOCKETDATA, &ns);
  const CURLcode code = curl_easy_perform(curl.get());
  if (code != CURLE_OK) return absl::UnavailableError(absl::StrCat("GET ", url, ": ", curl_easy_strerror(code)));
  long status = 0;
  curl_easy_getinfo(curl.get(), CURLINFO_RESPONSE_CODE, &status);
  return status < 400 ? absl::OkStatus() : absl::UnavailableError(absl::StrCat("GET ", url, " answered ", status));
}

}  // namespace

absl::Status LookWhetherReady(const Ready& ready, const NetNamespace& ns) {
  switch (ready.check_case()) {
    case Ready::kHttp:
      return LookHttp(ready.http().url(), ns);
    case Ready::kTcp:
      return LookTcp(ready.tcp(), ns);
    case Ready::CHECK_NOT_SET:
      break;
  }
  return absl::InvalidArgumentError("no ready check");
}

}  // namespace squall
