#include "agent/load/load_generator.h"

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

absl::StatusOr<std::unique_ptr<LoadGenerator>> LoadGenerator::Start(const Load& load, const std::string& run_id, uint64_t seed,
                                                                    Sink sink, const std::string& folder) {
  if (load.max_in_flight() > 0) AllowDescriptors(static_cast<rlim_t>(load.max_in_flight()));
  absl::StatusOr<std::unique_ptr<LoadLoop>> loop = LoadLoop::Make(load, run_id, seed, folder, std::move(sink));
  if (!loop.ok()) return loop.status();
  return absl::WrapUnique(new LoadGenerator(*std::move(loop)));
}

LoadGenerator::LoadGenerator(std::unique_ptr<LoadLoop> loop) : loop_(std::move(loop)), thread_([this] {
                                                                 pthread_setname_np(pthread_self(), "load");
                                                                 RaiseThreadPriority();
                                                                 loop_->Run();
                                                               }) {}

LoadGenerator::~LoadGenerator() { Stop(absl::ZeroDuration()); }

void LoadGenerator::StartSteps(const std::optional<Retries::Rules>& retry) {
  loop_->StartSteps(BootNanos(), retry);
}

int LoadGenerator::StartSurge(double times) {
  const int id = loop_->offer().StartSurge(times);
  loop_->Wake();  // the next is due sooner
  return id;
}

absl::Status LoadGenerator::SetShare(double share) {
  const absl::Status status = loop_->offer().SetShare(share);
  loop_->Wake();
  return status;
}

void LoadGenerator::Stop(absl::Duration patience) {
  const int64_t now_ns = BootNanos();
  // An endless patience saturates; the load's own `give_up_after` ends it.
  const int64_t patience_ns = std::max<int64_t>(absl::ToInt64Nanoseconds(patience), 0);
  loop_->Stop(now_ns + std::min(patience_ns, INT64_MAX - now_ns));
  absl::MutexLock lock(&joining_);
  if (thread_.joinable()) thread_.join();
}

}  // namespace squall
