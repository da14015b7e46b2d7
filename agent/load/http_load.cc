#include "agent/load/http_load.h"

#include <curl/curl.h>
#include <pthread.h>
#include <sys/resource.h>

#include <algorithm>
#include <utility>

#include "absl/memory/memory.h"
#include "absl/status/status.h"
#include "agent/process/thread_priority.h"
#include "base/clock.h"

namespace squall {
namespace {

// Time for the thread to start, so that the first request is not the latest.
constexpr int64_t kHeadStartNs = 5'000'000;
// Descriptors for everything else that the process does.
constexpr rlim_t kOtherDescriptors = 512;

// Best effort: what is short in the end counts as not sent.
void AllowDescriptors(rlim_t in_flight) {
  rlimit limit;
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  const rlim_t needed = std::min(in_flight + kOtherDescriptors, limit.rlim_max);
  if (limit.rlim_cur >= needed) return;
  limit.rlim_cur = needed;
  setrlimit(RLIMIT_NOFILE, &limit);
}

}  // namespace

absl::StatusOr<std::unique_ptr<HttpLoad>> HttpLoad::Start(const Load& load, absl::string_view run_id,
                                                          uint64_t seed, Sink sink) {
  static const CURLcode ready = curl_global_init(CURL_GLOBAL_DEFAULT);
  if (ready != CURLE_OK) return absl::ResourceExhaustedError("libcurl could not be made ready");
  if (load.max_in_flight() > 0) AllowDescriptors(static_cast<rlim_t>(load.max_in_flight()));
  const int64_t start_ns = BootNanos() + kHeadStartNs;
  absl::StatusOr<std::unique_ptr<HttpLoop>> loop =
      HttpLoop::Make(load, run_id, seed, start_ns, std::move(sink));
  if (!loop.ok()) return loop.status();
  return absl::WrapUnique(new HttpLoad(*std::move(loop), start_ns));
}

HttpLoad::HttpLoad(std::unique_ptr<HttpLoop> loop, int64_t started_ns)
    : loop_(std::move(loop)), started_ns_(started_ns), thread_([this] {
        pthread_setname_np(pthread_self(), "http-load");
        RaiseThreadPriority();
        loop_->Run();
      }) {}

HttpLoad::~HttpLoad() { Stop(absl::ZeroDuration()); }

void HttpLoad::StartSteps(const std::optional<Retries::Rules>& retry) {
  loop_->StartSteps(BootNanos(), retry);
}

void HttpLoad::Stop(absl::Duration patience) {
  const int64_t now_ns = BootNanos();
  // An endless patience saturates; the load's own `give_up_after` ends it.
  const int64_t patience_ns = std::max<int64_t>(absl::ToInt64Nanoseconds(patience), 0);
  loop_->Stop(now_ns + std::min(patience_ns, INT64_MAX - now_ns));
  absl::MutexLock lock(&joining_);
  if (thread_.joinable()) thread_.join();
}

}  // namespace squall
