#include "tests/target/recommender.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "tests/target/now.h"

namespace squall::target {
namespace {

constexpr int kFailuresToTrip = 5;
constexpr int kAttempts = 3;
// For calls without a timeout: no test lasts that long, and it still fits where httplib keeps it.
constexpr absl::Duration kHoweverLong = absl::Hours(24);
// Covers calls of half a second at 200 requests/s, and more.
constexpr int kWorkersForEverybody = 160;

int WorkersOf(const RecommenderOptions& options) {
  if (options.mutant == Mutant::kIgnoresDeadline) return std::max(options.workers, kWorkersForEverybody);
  return options.workers;
}

BreakerMutant BreakerMutantOf(Mutant mutant) {
  switch (mutant) {
    case Mutant::kBreakerNeverOpens:
      return BreakerMutant::kNeverOpens;
    case Mutant::kBreakerNeverCloses:
      return BreakerMutant::kNeverCloses;
    case Mutant::kBreakerWedgesHalfOpen:
      return BreakerMutant::kWedgesHalfOpen;
    case Mutant::kBreakerFloodsWithProbes:
      return BreakerMutant::kFloodsWithProbes;
    default:
      return BreakerMutant::kNone;
  }
}

}  // namespace

Recommender::Recommender(const RecommenderOptions& options)
    : options_(options), breaker_(kFailuresToTrip, options.breaker_open_time, BreakerMutantOf(options.mutant)) {
  for (int i = 0; i < WorkersOf(options); ++i) workers_.push_back(std::make_unique<Worker>(options));
  for (const auto& worker : workers_)
    worker->thread = std::thread([this, &worker = *worker] { Run(worker); });
}

Recommender::~Recommender() { Stop(); }

std::optional<std::string> Recommender::Ask() {
  const absl::Time now = Now();
  if (breaker_.Refuses(now)) return std::nullopt;
  const auto job = std::make_shared<Job>();
  job->deadline = now + options_.deadline;
  std::future<std::optional<std::string>> answer = job->answer.get_future();
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (stopping_) return std::nullopt;
    queue_.push_back(job);
  }
  changed_.notify_one();
  if (options_.mutant == Mutant::kIgnoresDeadline) return answer.get();
  const auto left = absl::ToChronoNanoseconds(job->deadline - Now());
  return answer.wait_for(left) == std::future_status::ready ? answer.get() : std::nullopt;
}

void Recommender::Stop() {
  std::deque<std::shared_ptr<Job>> waiting;
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    stopping_ = true;
    waiting.swap(queue_);
  }
  changed_.notify_all();
  for (const auto& job : waiting) job->answer.set_value(std::nullopt);
  for (const auto& worker : workers_) {
    // Again and again, since an Abort while it connects is lost.
    while (!worker->ended) {
      worker->upstream.Abort();
      std::this_thread::sleep_for(std::chrono::milliseconds(2));
    }
    if (worker->thread.joinable()) worker->thread.join();
  }
}

void Recommender::Run(Worker& worker) {
  while (const std::shared_ptr<Job> job = NextJob()) job->answer.set_value(Work(worker.upstream, *job));
  worker.ended = true;
}

std::shared_ptr<Recommender::Job> Recommender::NextJob() {
  std::unique_lock<std::mutex> lock(mutex_);
  changed_.wait(lock, [this] { return stopping_ || !queue_.empty(); });
  if (stopping_) return nullptr;
  std::shared_ptr<Job> job = std::move(queue_.front());
  queue_.pop_front();
  return job;
}

std::optional<std::string> Recommender::Work(Upstream& upstream, const Job& job) {
  switch (options_.mutant) {
    case Mutant::kIgnoresDeadline:
      return Call(upstream, kHoweverLong);
    case Mutant::kNeverDrains:
      for (int attempt = 1;; ++attempt) {
        std::optional<std::string> answer = Call(upstream, kHoweverLong);
        const bool too_late = answer.has_value() && Now() >= job.deadline;
        if (!too_late || attempt == kAttempts) return answer;
      }
    default:
      break;
  }
  const absl::Duration left = job.deadline - Now();
  if (left <= absl::ZeroDuration()) return std::nullopt;
  return Call(upstream, left);
}

std::optional<std::string> Recommender::Call(Upstream& upstream, absl::Duration timeout) {
  const Breaker::Permit permit = breaker_.Ask(Now());
  if (!permit.allowed()) return std::nullopt;
  std::string body;
  Upstream::Result result = Upstream::Result::kConnectionFailed;
  if (options_.mutant != Mutant::kNeverReconnects || !connection_failed_)
    result = upstream.Get(timeout, body);
  if (result == Upstream::Result::kConnectionFailed) connection_failed_ = true;
  const bool answered = result == Upstream::Result::kAnswered;
  breaker_.Report(permit, answered, Now());
  return answered ? std::optional(std::move(body)) : std::nullopt;
}

}  // namespace squall::target
