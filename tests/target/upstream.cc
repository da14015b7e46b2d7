#include "tests/target/upstream.h"

#include <arpa/inet.h>

#include <algorithm>

#include "tests/target/now.h"

namespace squall::target {
namespace {

// Connecting is bounded even where an answer is awaited for ever: it cannot be aborted.
constexpr absl::Duration kConnectAtMost = absl::Seconds(5);

bool IsAddress(const std::string& host) {
  in6_addr address;
  return inet_pton(AF_INET, host.c_str(), &address) == 1 || inet_pton(AF_INET6, host.c_str(), &address) == 1;
}

}  // namespace

Upstream::Upstream(const HostPort& address, const Names& names)
    : address_(address), client_(address.host, address.port) {
  if (!IsAddress(address.host)) lookup_.emplace(names);
  client_.set_keep_alive(true);
  client_.set_tcp_nodelay(true);
}

Upstream::Result Upstream::Get(absl::Duration timeout, std::string& body) {
  const absl::Time until = Now() + timeout;
  if (lookup_) {
    const NameLookup::Answer answer = lookup_->Ask(address_.host, std::min(timeout, kConnectAtMost));
    if (answer.address.empty()) return answer.timed_out ? Result::kTimedOut : Result::kNoAddress;
    if (answer.address != connected_to_) client_.stop();
    connected_to_ = answer.address;
    client_.set_hostname_addr_map({{address_.host, connected_to_}});
    timeout = until - Now();
    if (timeout <= absl::ZeroDuration()) return Result::kTimedOut;
  }
  // httplib waits in poll, which cuts off what is no whole millisecond: it would give up too early.
  const absl::Duration wait = absl::Ceil(timeout, absl::Milliseconds(1));
  client_.set_connection_timeout(absl::ToChronoMilliseconds(std::min(wait, kConnectAtMost)));
  client_.set_read_timeout(absl::ToChronoMilliseconds(wait));
  client_.set_write_timeout(absl::ToChronoMilliseconds(wait));
  const httplib::Result result = client_.Get("/recommend", [&](uint64_t, uint64_t) { return Now() < until; });
  if (result == nullptr) return Now() >= until ? Result::kTimedOut : Result::kConnectionFailed;
  if (result->status != 200) return Result::kBadAnswer;
  body = result->body;
  return Result::kAnswered;
}

}  // namespace squall::target
