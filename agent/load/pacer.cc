#include "agent/load/pacer.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

namespace squall {
namespace {

constexpr double kNanosPerSecond = 1e9;

absl::Status CheckRate(double rate, const char* of) {
  if (std::isfinite(rate) && rate >= 0) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("the rate of ", of, " is ", rate, "/s; it must be 0/s or more"));
}

int64_t LengthNs(const Step& step) {
  // The range that Duration allows, 10,000 years, does not fit; 100 years do, and are endless for a run.
  constexpr int64_t kMost = int64_t{100} * 365 * 86400;
  return std::min(step.for_().seconds(), kMost) * 1'000'000'000 + step.for_().nanos();
}

// Sums of rate times length are off by rounding; a request that is due exactly when the rate changes must not
// depend on it.
double Snap(double count) {
  const double whole = std::round(count);
  return std::abs(count - whole) < 1e-6 ? whole : count;
}

}  // namespace

double Pacer::Segment::CountAt(int64_t at_ns) const {
  return Snap(count + static_cast<double>(at_ns - start_ns) / kNanosPerSecond * PerSecond());
}

absl::StatusOr<Pacer> Pacer::Make(const Load& load, int64_t start_ns) {
  if (load.steps().empty()) {
    if (absl::Status status = CheckRate(load.rate(), "the load"); !status.ok()) return status;
    if (load.rate() == 0) return absl::InvalidArgumentError("the load has neither a rate nor steps");
    return Pacer({}, Segment{start_ns, 0, load.rate(), 1});
  }
  for (const Step& step : load.steps()) {
    if (absl::Status status = CheckRate(step.rate(), "a step"); !status.ok()) return status;
    if (step.for_().seconds() < 0 || step.for_().nanos() < 0) {
      return absl::InvalidArgumentError("a step lasts less than no time");
    }
  }
  return Pacer({load.steps().begin(), load.steps().end()}, Segment{start_ns, 0, load.steps(0).rate(), 1});
}

size_t Pacer::SegmentOf(int64_t number) const {
  size_t i = first_;
  // The end of a segment belongs to the next one.
  while (i + 1 < segments_.size() && static_cast<double>(number) >= segments_[i + 1].count) ++i;
  return i;
}

std::optional<int64_t> Pacer::DueNs(int64_t number) const {
  const Segment& segment = segments_[SegmentOf(number)];
  if (segment.PerSecond() == 0) return std::nullopt;
  const double ns = (static_cast<double>(number) - segment.count) / segment.PerSecond() * kNanosPerSecond;
  if (ns >= static_cast<double>(INT64_MAX - std::max<int64_t>(segment.start_ns, 0))) return std::nullopt;
  return std::max(segment.start_ns + static_cast<int64_t>(std::llround(std::max(ns, 0.0))), last_due_ns_);
}

std::optional<Pacer::Quiet> Pacer::QuietBeforeNext() const {
  const size_t i = SegmentOf(next_);
  // A change of the factor may have cut it.
  size_t first = i;
  while (first > 0 && segments_[first - 1].base == 0) --first;
  if (segments_[i].base == 0) return Quiet{segments_[first].start_ns, INT64_MAX};
  if (first == i || last_due_ns_ >= segments_[i].start_ns) return std::nullopt;
  return Quiet{segments_[first].start_ns, segments_[i].start_ns};
}

std::optional<int64_t> Pacer::NextDueNs() const { return DueNs(next_); }

void Pacer::Advance() {
  const std::optional<int64_t> due = NextDueNs();
  if (!due.has_value()) return;
  last_due_ns_ = *due;
  ++next_;
  while (first_ + 1 < segments_.size() && static_cast<double>(next_) >= segments_[first_ + 1].count) ++first_;
}

void Pacer::StartSteps(int64_t at_ns) {
  if (steps_.empty() || stepping_) return;
  stepping_ = true;
  int64_t start_ns = std::max({at_ns, last_due_ns_, segments_.back().start_ns});
  for (const Step& step : steps_) {
    segments_.push_back({start_ns, segments_.back().CountAt(start_ns), step.rate(), times_});
    const int64_t length_ns = LengthNs(step);
    if (start_ns > INT64_MAX - length_ns) break;  // never ends: what follows is never reached
    start_ns += length_ns;
  }
}

size_t Pacer::SegmentAt(int64_t at_ns) const {
  size_t i = segments_.size() - 1;
  while (i > 0 && segments_[i].start_ns > at_ns) --i;
  return i;
}

void Pacer::SetTimes(double times, int64_t at_ns) {
  times_ = times;
  const int64_t from_ns = std::max({at_ns, last_due_ns_, segments_.front().start_ns});
  const size_t now = SegmentAt(from_ns);
  const Segment& before = segments_[now];
  segments_.insert(segments_.begin() + static_cast<std::ptrdiff_t>(now) + 1,
                   Segment{from_ns, before.CountAt(from_ns), before.base, times});
  for (size_t i = now + 2; i < segments_.size(); ++i) {
    segments_[i].times = times;
    segments_[i].count = segments_[i - 1].CountAt(segments_[i].start_ns);
  }
  // The segment may have had no request left before, and now it has.
  first_ = std::min(first_, now);
}

double Pacer::DueBy(int64_t at_ns) const {
  const Segment& segment = segments_[SegmentAt(at_ns)];
  return at_ns < segment.start_ns ? 0 : segment.CountAt(at_ns);
}

}  // namespace squall
