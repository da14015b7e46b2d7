// Which request of a load is due when.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "absl/status/statusor.h"
#include "proto/scenario.pb.h"

namespace squall {

// Pure arithmetic over the load's rate or steps: no clock, no I/O. Request k is due when the integral of the
// rate reaches k, so that the first is due at the start, nothing drifts however long it runs, and a change of
// rate keeps the fraction of a request that was already earned. Times are nanoseconds of any one clock. Not
// thread-safe.
class Pacer {
 public:
  // Steps take precedence over the rate. Until StartSteps the rate of the first step holds. INVALID_ARGUMENT
  // for a load with neither, and for rates and lengths that are negative, endless or not numbers.
  static absl::StatusOr<Pacer> Make(const Load& load, int64_t start_ns);

  // The next request: its due time (never before that of the one before) and its number, from 0. Empty: none
  // will ever be due at the present rate.
  std::optional<int64_t> NextDueNs() const;
  int64_t NextNumber() const { return next_; }

  // The step of 0/s, if there is one, that lies between the last request and the next: from when until when nothing is
  // offered. Its end is INT64_MAX where nothing will ever be due again.
  struct Quiet {
    int64_t from_ns;
    int64_t until_ns;
  };
  std::optional<Quiet> QuietBeforeNext() const;

  // The next request is dealt with.
  // REQUIRES: NextDueNs() is not empty.
  void Advance();

  // Lets the steps begin at this instant, or at the last due time that was already dealt with if that is
  // later. Only the first call counts. Without steps nothing changes.
  void StartSteps(int64_t at_ns);

  // Multiplies the rate, that of steps to come too, from this instant on, or from the last due time that was already dealt
  // with if that is later. It replaces the factor before; 1: what the load says. What was due before stays due when it was.
  // At 0 nothing is due, which is no quiet time.
  // REQUIRES: times is finite and 0 or more.
  void SetTimes(double times, int64_t at_ns);

  // How many requests are due until this instant: the integral of the rate.
  double DueBy(int64_t at_ns) const;

 private:
  // A span of constant rate. `count` is the integral of the rate at its start.
  struct Segment {
    int64_t start_ns;
    double count;
    double base;  // per second, as the load says
    double times;

    double PerSecond() const { return base * times; }
    // REQUIRES: at_ns is not before its start.
    double CountAt(int64_t at_ns) const;
  };

  Pacer(std::vector<Step> steps, Segment first) : steps_(std::move(steps)), segments_{first} {}

  // The segment in which request `number` is due, of those from `first_` on.
  size_t SegmentOf(int64_t number) const;
  // Due time of request `number` in the segments from `first_` on.
  std::optional<int64_t> DueNs(int64_t number) const;
  // The last segment that has begun by then; the first when none has.
  size_t SegmentAt(int64_t at_ns) const;

  std::vector<Step> steps_;
  std::vector<Segment> segments_;
  size_t first_ = 0;  // segments before this one have no request left
  bool stepping_ = false;
  double times_ = 1;
  int64_t next_ = 0;
  int64_t last_due_ns_ = INT64_MIN;
};

}  // namespace squall
