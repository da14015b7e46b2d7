// Requests that were turned away and told when to come again.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"

namespace squall {

// What the value of a Retry-After header says that is read at `now`: seconds or an HTTP date
// (https://www.rfc-editor.org/rfc/rfc9110#name-retry-after). Never negative. Empty: neither.
std::optional<absl::Duration> ParseRetryAfter(absl::string_view value, absl::Time now);

// The same as a column of the timeline holds it: milliseconds + 2, or 1 when it cannot be read.
uint32_t RetryAfterColumn(absl::string_view value, absl::Time now);
// And back, in nanoseconds. Empty: none, or one that cannot be read.
std::optional<int64_t> WaitOf(uint32_t column);

// Which of them are sent again, and when: while nothing is offered, so that it is fair; one at a time, and no closer
// than the limiter admits them, so that they do not compete with each other. Plain arithmetic; not thread-safe.
class Retries {
 public:
  struct Rules {
    int64_t every_ns;  // at least between two of them
    int64_t rest_ns;   // none so shortly before the load goes on
  };
  explicit Retries(Rules asked) : rules_(asked) {}

  // A request was rejected and may come again then. Of more than kKept the oldest are forgotten.
  void Add(int64_t due_ns);

  // When the next may be sent, in a quiet time between these instants. Empty: none in this one, or not before the one that is on
  // its way has ended.
  std::optional<int64_t> NextNs(int64_t quiet_from_ns, int64_t quiet_until_ns) const;

  // The next was sent. REQUIRES: NextNs() is not empty.
  void Sent(int64_t at_ns);
  // The one that was sent has ended.
  void Ended() { waiting_ = false; }

  static constexpr size_t kKept = 20;

 private:
  std::deque<int64_t>::const_iterator Soonest() const;

  const Rules rules_;
  std::deque<int64_t> due_ns_;
  bool waiting_ = false;
  int64_t last_sent_ns_ = INT64_MIN;
};

}  // namespace squall
