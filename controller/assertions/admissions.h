#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <vector>

// How many requests a limiter let pass in which time, seen from outside: it decided about a request at some moment between its sending
// and its answer. Pure functions.
namespace squall {

// The time in which a request was decided. `number` is the caller's own.
struct Decided {
  int64_t sent_ns = 0;
  int64_t end_ns = 0;
  uint32_t number = 0;
};

// An interval and the requests that were sent and answered inside it.
struct Busiest {
  int64_t begin_ns = 0;
  int64_t end_ns = 0;
  int64_t count = 0;
  uint32_t first = 0;  // number of the request with whose sending it begins
  uint32_t last = 0;   // number of the request with whose answer it ends
};

// The interval [a, b] in which count - per_second x (b - a) is greatest, and the first in time in which it is more than
// `limit`. Sorts `decided` by sending. O(n log n). Nothing: `decided` is empty. REQUIRES: per_second >= 0.
struct Worst {
  Busiest most;
  std::optional<Busiest> first_over;
};
std::optional<Worst> MostAbove(std::vector<Decided>& decided, double per_second, double limit);

// The interval of this length or shorter with the most requests, and the first with more than `limit`. As above, O(n log n).
std::optional<Worst> MostWithin(std::vector<Decided>& decided, int64_t length_ns, double limit);

// At least how many more requests a limiter must still have admitted at some time, if it has admitted no others than these.
// Requests are taken to be decided as late as possible. Made once, asked often: O(log n) each. Immutable; thread-safe.
class Room {
 public:
  // A bucket of `capacity` that is refilled at `per_second`, and empty at each of `emptied_ns` (in order). `sent_ns`, `end_ns`: of
  // all requests that may have taken a token, in any order.
  static Room Bucket(std::vector<int64_t> sent_ns, std::vector<int64_t> end_ns, double capacity, double per_second,
                     std::vector<int64_t> emptied_ns);
  // A window: at most `capacity` in any `window_ns`; nothing is known of the time before each of `emptied_ns`.
  static Room Window(std::vector<int64_t> sent_ns, std::vector<int64_t> end_ns, double capacity, int64_t window_ns,
                     std::vector<int64_t> emptied_ns);

  // For a decision that fell between these two moments. May be negative.
  double Left(int64_t sent_ns, int64_t end_ns) const;

 private:
  Room() = default;
  double capacity_ = 0;
  double per_second_ = 0;
  int64_t window_ns_ = 0;
  std::vector<int64_t> sent_ns_;     // sorted
  std::vector<int64_t> end_ns_;      // sorted
  std::vector<double> used_;         // of a bucket, right after each of end_ns_
  std::vector<int64_t> emptied_ns_;  // sorted
};

}  // namespace squall
