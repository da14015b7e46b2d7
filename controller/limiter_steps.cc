#include "controller/limiter_steps.h"
#include "base/durations.h"

#include <algorithm>
#include <cmath>

namespace squall {
namespace {

// nginx reads its clock once in each turn of its event loop, and counts in milliseconds.
constexpr double kNginxClockSeconds = 0.005;

constexpr double kMostPerSecond = 100'000;  // that a load may offer
constexpr double kSafeBurst = 2'000;        // per second: as fast as one core sends on time
constexpr absl::Duration kShort = absl::Milliseconds(100);
constexpr absl::Duration kBurst = absl::Milliseconds(50);
constexpr absl::Duration kLong = absl::Seconds(10);
// Answers that are under way when a burst ends.
constexpr absl::Duration kEbb = absl::Milliseconds(250);
// Retry-After counts in whole seconds.
constexpr absl::Duration kWholeSecond = absl::Milliseconds(1200);
// Requests sent again in each of the three quiet times, so that there are more than 20.
constexpr double kRetries = 20;
constexpr double kLeastRetries = 7;

Step MakeStep(double rate, absl::Duration length) {
  Step step;
  step.set_rate(rate);
  const int64_t ns = absl::ToInt64Nanoseconds(length);
  step.mutable_for_()->set_seconds(ns / 1'000'000'000);
  step.mutable_for_()->set_nanos(static_cast<int32_t>(ns % 1'000'000'000));
  return step;
}

// As many requests as no limiter of this kind may admit at once, as fast as is safe.
Step BurstStep(const AdmissionLimit& limit) {
  const double offered = limit.at_once + limit.slack + std::clamp(limit.at_once, 20.0, 1000.0);
  const double fast = std::min(kSafeBurst, offered / absl::ToDoubleSeconds(kBurst));
  const double rate = std::min(std::max(fast, 4 * limit.rate), kMostPerSecond);
  // What is refilled meanwhile comes on top.
  const double gain = std::max(rate - limit.rate, 0.1 * rate);
  return MakeStep(rate, absl::Seconds(std::ceil(offered / gain * rate) / rate));
}

absl::Duration Quiet(const RateLimiter& spec, const AdmissionLimit& limit) {
  absl::Duration quiet = 1.02 * limit.refill + kEbb;
  if (!spec.retry_after()) return quiet;
  const double every = absl::ToDoubleSeconds(RetryEvery(spec));
  quiet += std::max(kWholeSecond, absl::Nanoseconds(limit.window_ns));
  return quiet + absl::Seconds(std::max(std::min(kRetries * every, 10.0), kLeastRetries * every));
}

}  // namespace

AdmissionLimit LimitOf(const RateLimiter& spec) {
  const double n = std::max(1, spec.instances());
  AdmissionLimit limit;
  limit.rate = n * spec.rate();
  limit.slack = n;
  switch (spec.model()) {
    case RateLimiter::MODEL_FIXED_WINDOW:
    case RateLimiter::MODEL_SLIDING_LOG:
      limit.aligned = spec.model() == RateLimiter::MODEL_FIXED_WINDOW;
      limit.window_ns = absl::ToInt64Nanoseconds(ToDuration(spec.period()));
      limit.per_window = n * std::floor(spec.rate() * absl::ToDoubleSeconds(ToDuration(spec.period())) + 1e-6);
      limit.burst = limit.per_window;
      limit.at_once = limit.aligned ? 2 * limit.per_window : limit.per_window;
      limit.refill = ToDuration(spec.period());
      return limit;
    case RateLimiter::MODEL_NGINX:
      limit.burst = n * (spec.burst() + 1);
      limit.at_once = limit.burst + limit.rate * kNginxClockSeconds;
      // Without `nodelay` the queue must drain first.
      limit.refill = absl::Seconds(2 * (spec.burst() + 1) / spec.rate());
      return limit;
    default:
      limit.burst = n * spec.burst();
      limit.at_once = limit.burst;
      limit.refill = absl::Seconds((spec.burst() + 1) / spec.rate());
      return limit;
  }
}

absl::Duration RetryEvery(const RateLimiter& spec) { return absl::Seconds(1 / spec.rate()); }

absl::Duration RetryRest(const RateLimiter& spec) { return 1.02 * LimitOf(spec).refill + kEbb; }

std::vector<Step> LimiterSteps(const RateLimiter& spec, absl::Duration first) {
  const AdmissionLimit limit = LimitOf(spec);
  const Step burst = BurstStep(limit);
  const Step quiet = MakeStep(0, Quiet(spec, limit));
  const absl::Duration windows = 3 * absl::Nanoseconds(limit.window_ns);
  const absl::Duration below = std::max(kLong, absl::Seconds(20 / (0.8 * limit.rate)));
  // At 2 R the burst lasts for burst / R: twice that, in case there is more of it than promised.
  const absl::Duration above =
      std::max({kLong, absl::Seconds(40 / limit.rate), windows}) + absl::Seconds(2 * limit.burst / limit.rate);
  return {MakeStep(0.5 * limit.rate, std::max(first, kShort)),
          quiet,
          burst,
          quiet,
          MakeStep(0.8 * limit.rate, below),
          MakeStep(std::min(2 * limit.rate, kMostPerSecond), above),
          quiet,
          burst,
          quiet,
          MakeStep(0.5 * limit.rate, kLong)};
}

bool HasPlannedSteps(const Load& load) { return load.rate() > 0 && !load.steps().empty(); }

}  // namespace squall
