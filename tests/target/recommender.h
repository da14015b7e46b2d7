// How orders gets its recommendations: through a few workers, within a deadline.
#pragma once

#include <atomic>
#include <condition_variable>
#include <deque>
#include <future>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "absl/time/time.h"
#include "tests/target/breaker.h"
#include "tests/target/flags.h"
#include "tests/target/upstream.h"

namespace squall::target {

// Each breaks one promise and keeps the others.
enum class Mutant {
  kNone,
  // Waits for the peer however long it takes. It has workers enough that nobody waits for a worker, so that
  // it is well again as soon as the peer is.
  kIgnoresDeadline,
  // Once a connection failed (a timeout is no failure), it never connects again.
  kNeverReconnects,
  // Carries out what has expired, without a timeout, and tries again what was answered too late, three times
  // in all. Whoever waits still gets a fallback at the deadline. Once most of the queue has expired, the work
  // for it is more than the workers can do at a load of more than a third of their capacity: it never drains
  // while the load lasts.
  kNeverDrains,
  // These break a promise of its circuit breaker alone (BreakerMutant).
  kBreakerNeverOpens,
  kBreakerNeverCloses,
  kBreakerWedgesHalfOpen,
  kBreakerFloodsWithProbes,
};

struct RecommenderOptions {
  HostPort address;
  // Where the address is a name: who is asked for it, "IP:PORT" (none: those of /etc/resolv.conf), and how soon again.
  std::vector<std::string> nameservers;
  absl::Duration ask_again_after = absl::Milliseconds(100);
  int workers = 4;
  absl::Duration deadline = absl::Milliseconds(300);
  absl::Duration breaker_open_time = absl::ZeroDuration();  // zero: no breaker
  Mutant mutant = Mutant::kNone;
};

// A queue of jobs and workers that each hold a connection. Jobs that expired in the queue are dropped, a call
// has no longer than what is left of its job's deadline, and connections are made anew after an error.
// Thread-safe.
class Recommender {
 public:
  explicit Recommender(const RecommenderOptions& options);
  ~Recommender();
  Recommender(const Recommender&) = delete;
  Recommender& operator=(const Recommender&) = delete;

  // A recommendation, or nothing when the deadline came first or the peer failed.
  std::optional<std::string> Ask();

  // In Prometheus' text format.
  std::string Metrics() const { return breaker_.Metrics(); }

  // Answers what waits, with nothing, and ends the workers. Idempotent.
  void Stop();

 private:
  struct Job {
    absl::Time deadline;
    std::promise<std::optional<std::string>> answer;
  };
  struct Worker {
    explicit Worker(const RecommenderOptions& options)
        : upstream(options.address, Names{options.nameservers, options.ask_again_after}) {}
    Upstream upstream;
    std::atomic<bool> ended{false};
    std::thread thread;
  };

  void Run(Worker& worker);
  std::shared_ptr<Job> NextJob();  // null: stopped
  std::optional<std::string> Work(Upstream& upstream, const Job& job);
  std::optional<std::string> Call(Upstream& upstream, absl::Duration timeout);

  const RecommenderOptions options_;
  Breaker breaker_;
  std::atomic<bool> connection_failed_{false};

  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::shared_ptr<Job>> queue_;  // guarded by mutex_
  bool stopping_ = false;                   // guarded by mutex_
  std::vector<std::unique_ptr<Worker>> workers_;
};

}  // namespace squall::target
