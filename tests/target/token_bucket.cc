#include "tests/target/token_bucket.h"

#include <algorithm>
#include <chrono>
#include <thread>

#include "absl/strings/str_cat.h"
#include "tests/target/now.h"

namespace squall::target {

bool TokenBucket::Take(absl::Time now) {
  if (at_ != absl::InfinitePast()) {
    tokens_ = std::min(capacity_, tokens_ + per_second_ * absl::ToDoubleSeconds(now - at_));
  }
  at_ = now;
  if (tokens_ < 1) return false;
  tokens_ -= 1;
  return true;
}

absl::Duration TokenBucket::Wait() const { return absl::Seconds(std::max(0.0, 1 - tokens_) / per_second_); }

TokenBucket Limiter::MakeBucket() const {
  const double rate = options_.mutant == LimiterMutant::kTwiceItsRate ? 2.0 : options_.mutant == LimiterMutant::kTooStrict ? 0.6 : 1.0;
  const double burst = options_.mutant == LimiterMutant::kOffByTheBurst ? 2.0 : 1.0;
  return TokenBucket(rate * options_.per_second, burst * options_.burst);
}

bool Limiter::Admit(const std::string& path, httplib::Response& response) {
  if (options_.per_second <= 0) return true;
  absl::Duration wait;
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    TokenBucket& bucket = buckets_.try_emplace(path, MakeBucket()).first->second;
    // The clock is read under the lock, so that it never goes back.
    if (bucket.Take(Now())) return true;
    wait = bucket.Wait();
  }
  if (options_.mutant == LimiterMutant::kRejectsSlowly) std::this_thread::sleep_for(std::chrono::milliseconds(200));
  response.status = 429;
  response.set_header("retry-after", absl::StrCat(absl::ToInt64Seconds(absl::Ceil(wait, absl::Seconds(1)))));
  response.set_content("too many orders\n", "text/plain");
  return false;
}

}  // namespace squall::target
