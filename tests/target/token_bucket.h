// How orders limits what it takes: a bucket of tokens for each route.
#pragma once

#include <httplib.h>

#include <map>
#include <mutex>
#include <string>

#include "absl/time/time.h"

namespace squall::target {

// `capacity` tokens, refilled at `per_second`; full at first. Not thread-safe.
class TokenBucket {
 public:
  TokenBucket(double per_second, double capacity) : per_second_(per_second), capacity_(capacity), tokens_(capacity) {}

  // Takes a token if there is one. `now` never goes back.
  bool Take(absl::Time now);
  // Until there is a token.
  absl::Duration Wait() const;

 private:
  const double per_second_;
  const double capacity_;
  double tokens_;
  absl::Time at_ = absl::InfinitePast();
};

// Ways to break a limiter's promises, each one of them.
enum class LimiterMutant {
  kNone,
  kTwiceItsRate,
  kOffByTheBurst,  // holds twice the burst
  kTooStrict,      // refills at 0.6 of its rate
  kRejectsSlowly,  // takes 200 ms to say no
};

struct LimiterOptions {
  double per_second = 0;  // 0: no limit
  int burst = 1;
  LimiterMutant mutant = LimiterMutant::kNone;
};

// A bucket for each path that is asked for. Thread-safe.
class Limiter {
 public:
  explicit Limiter(const LimiterOptions& options) : options_(options) {}

  // True: the request may go on. False: it is answered, with 429 and a Retry-After in whole seconds.
  bool Admit(const std::string& path, httplib::Response& response);

 private:
  TokenBucket MakeBucket() const;

  const LimiterOptions options_;
  std::mutex mutex_;
  std::map<std::string, TokenBucket> buckets_;  // guarded by mutex_
};

}  // namespace squall::target
