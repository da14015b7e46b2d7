#include "agent/process/ready.h"

#include <poll.h>

#include <cerrno>
#include <string>

#include "absl/strings/str_cat.h"
#include "agent/net/address.h"

namespace squall {
namespace {

absl::Status LookTcp(const std::string& address_text, const HttpGetter::Where& where) {
  const absl::StatusOr<NetNamespace> ns = where();
  if (!ns.ok()) return ns.status();
  const absl::StatusOr<std::vector<Address>> addresses = ResolveAddress(address_text);
  if (!addresses.ok()) return addresses.status();
  const absl::StatusOr<Fd> fd = ns->Socket(addresses->front().Family(), SOCK_STREAM | SOCK_NONBLOCK);
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

absl::Status LookHttp(const std::string& url, const HttpGetter::Where& where) {
  HttpGetter getter(where, {.timeout = absl::Seconds(1), .most_bytes = 1 << 20, .cut = true});
  const absl::StatusOr<HttpGetter::Answer> answer = getter.Get(url);
  if (!answer.ok()) return answer.status();
  return answer->status < 400 ? absl::OkStatus() : absl::UnavailableError(absl::StrCat("GET ", url, " answered ", answer->status));
}

}  // namespace

absl::Status LookWhetherReady(const Ready& ready, const HttpGetter::Where& where) {
  switch (ready.check_case()) {
    case Ready::kHttp:
      return LookHttp(ready.http().url(), where);
    case Ready::kTcp:
      return LookTcp(ready.tcp(), where);
    case Ready::CHECK_NOT_SET:
      break;
  }
  return absl::InvalidArgumentError("no ready check");
}

}  // namespace squall
