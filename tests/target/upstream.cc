#include "tests/target/upstream.h"

#include <algorithm>

#include "tests/target/now.h"

namespace squall::target {
namespace {

// Connecting is bounded even where an answer is awaited for ever: it cannot be aborted.
constexpr absl::Duration kConnectAtMost = absl::Seconds(5);

}  // namespace

Upstream::Upstream(const HostPort& address) : client_(address.host, address.port) {
  client_.set_keep_alive(true);
  client_.set_tcp_nodelay(true);
}

Upstream::Result Upstream::Get(absl::Duration timeout, std::string& body) {
  const absl::Time until = Now() + timeout;
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
