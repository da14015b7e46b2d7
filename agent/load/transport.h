// What carries a load's requests.
#pragma once

#include <cstdint>
#include <list>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "agent/load/columns.h"
#include "agent/load/outcome.h"
#include "base/clock.h"

namespace squall {

// A request under way. Its owner is the loop.
struct Exchange {
  EndedRequest request;
  Answer answer;
  std::optional<std::string> retry_after;

  // The loop's: where it is, and when its client hangs up, and by which fault, where that still acts then.
  std::list<Exchange>::iterator place;
  std::vector<std::pair<int64_t, int>> hang_ups;

  // The transport's.
  uint64_t connection = 0;
  int32_t stream = 0;
  int tries = 0;  // connections that it waited for
  size_t sent_bytes = 0;
  size_t answer_bytes = 0;

  // Ready for another request. What strings have room for is kept.
  void Clear() {
    request = EndedRequest();
    answer.status = 0;
    answer.headers.clear();
    answer.body.clear();
    answer.grpc_status.reset();
    retry_after.reset();
    hang_ups.clear();
    connection = 0;
    stream = tries = 0;
    sent_bytes = answer_bytes = 0;
  }
};

// What is kept of answers.
struct Keep {
  bool headers = false;
  size_t body = 0;  // bytes
};

// A request that ended. `failure` is empty when it was answered to its end.
struct EndedExchange {
  Exchange* exchange = nullptr;
  std::optional<Failure> failure;
  std::string why;  // of a failure
  int64_t end_ns = 0;
};

// Sends each request once: one whose connection dies under it is never sent again. Nothing blocks: everything is an event of the
// loop's epoll, whose data is the id that the transport chose. Not thread-safe.
class Transport {
 public:
  virtual ~Transport() = default;

  // Sends a request that is not under way, or begins to. Exchanges outlive the transport or are abandoned.
  virtual void Send(Exchange& exchange) = 0;
  // Hangs up on one that is under way; it does not end. `out_of_patience`: since the target did not answer in time.
  virtual void Abandon(Exchange& exchange, bool out_of_patience) = 0;
  virtual void HandleEvent(uint64_t id, uint32_t events) = 0;
  // A lookup of the target has ended.
  virtual void HandleAddresses() = 0;
  // Closes what was not used for a while. To be called a few times a second.
  virtual void Tidy(int64_t now_ns) = 0;

  // What ended since the last call, in that order. They are no longer under way.
  std::vector<EndedExchange> TakeEnded() { return std::exchange(ended_, {}); }
  bool HasEnded() const { return !ended_.empty(); }

 protected:
  void Answered(Exchange& exchange) { ended_.push_back({&exchange, std::nullopt, "", BootNanos()}); }
  void Failed(Exchange& exchange, Failure failure, std::string why) {
    ended_.push_back({&exchange, failure, std::move(why), BootNanos()});
  }

 private:
  std::vector<EndedExchange> ended_;
};

// Connections that were idle for this long are not used again: most servers drop them after some seconds, and a request
// that crosses with the close would look like a failure of the target.
inline constexpr int64_t kIdleNs = 1'000'000'000;

// Ids below are the loop's and the target's own.
inline constexpr uint64_t kFirstConnection = 16;

}  // namespace squall
