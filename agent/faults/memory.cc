// memory: takes memory away.
//
// limit (scope: process)
// What and to whom: all processes of the service together may use so much: memory.limit_in_bytes on v1, memory.max on v2. What is
//   more is reclaimed from them, and where that does not help the kernel kills one of them. They get no swap beyond it
//   (memory.swap.max 0; memory.memsw.limit_in_bytes, but for 4 MiB): what is swapped out would load the host's disks and so everybody,
//   and what the limit does would depend on the host. A service that squall runs has a cgroup of its own from its start. One that runs already
//   is limited in its cgroup where nothing else is in that; otherwise its processes are moved into a cgroup made for them
//   below the one where they are (v1; v2 allows that at its root only, and elsewhere the fault is refused before anything is touched).
//   Memory is charged to the cgroup in which it was first touched: what was used before a move counts as the old one's, and the limit
//   holds what is taken from then on. A limit in place below what is used already is reached by reclaim; where that does not do, v2
//   kills; v1 refuses it, which is tried again for two seconds, and then the fault fails with nothing changed.
// Proof: how often the kernel had to reclaim, and how often it killed, as it counts it in that cgroup; the most that was used.
// Undo while the agent lives: the limits are as before, read back; what was moved, and what it has forked since, is put back, and
//   the cgroup is gone.
// Undo when the agent was killed: the kernel does nothing. The old limits and the cgroup to make are in the journal before either is
//   touched, and the guardian takes them back within a second; where it was killed too, the next agent or `squall-agent heal`.
//
// leave (scope: host)
// What and to whom: a ballast, a process of squall's own, takes memory until no more than so much is available to everybody on the host,
//   or the floor where that is more (see MemoryFloor). It gives back at once what others need, is the first that the kernel
//   would kill, and counts against no service's limit.
// Proof: what it held, and the least that was available then, as the kernel says.
// Undo while the agent lives: the ballast is killed and waited for, and its memory is gone with it.
// Undo when the agent was killed: the kernel kills the ballast (PR_SET_PDEATHSIG).

#include <unistd.h>

#include <algorithm>
#include <optional>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "agent/faults/ballast.h"
#include "agent/faults/fault.h"
#include "agent/faults/service_limit.h"
#include "base/clock.h"

namespace squall {
namespace {

// A host with much memory is filled for longer than that; the fault has begun all the same.
constexpr absl::Duration kPatience = absl::Seconds(5);

// For how long v1 is asked again: what a service uses comes and goes.
constexpr absl::Duration kRefusedFor = absl::Seconds(2);

// v1 limits memory and swap together. The kernel looks at that limit first, and counts in memory.failcnt only what meets the other one:
// higher by more than it charges at once, a huge page, it is never met first.
constexpr int64_t kSwap = int64_t{4} << 20;

absl::Status About(const std::string& service, const absl::Status& status) {
  return status.ok() ? status : absl::Status(status.code(), absl::StrCat("service ", service, ": ", status.message()));
}

class MemoryLimit : public ActiveFault {
 public:
  MemoryLimit(const Memory& memory, const FaultContext& context)
      : memory_(memory),
        context_(context),
        service_(*context.services->at(memory.service())),
        limit_("memory", &service_, context.journal) {}

  absl::Status Inject() override {
    const absl::Status status = TryInject();
    if (!status.ok()) limit_.TakeBack().IgnoreError();
    return About(memory_.service(), status);
  }

  absl::Status Heal(HealFor) override {
    Look();
    return About(memory_.service(), limit_.TakeBack());
  }

  Evidence Seen() override {
    Look();
    Evidence evidence;
    evidence.set_limit_bytes(limit_bytes_);
    evidence.set_used_bytes(used_bytes_);
    evidence.set_reclaims(reclaims_);
    evidence.set_oom_kills(oom_kills_);
    return evidence;
  }

 private:
  absl::Status TryInject() {
    const absl::Status entered = limit_.Enter();
    if (!entered.ok()) return entered;
    v1_ = limit_.cgroup().version == 1;
    // Nobody but squall knows the cgroup of a service that it runs: what it used before must not hide what it uses now.
    if (v1_ && service_.IsRun()) WriteCgroupFile(FileOf(limit_.cgroup(), "memory.max_usage_in_bytes"), "0").IgnoreError();
    peak_before_ = Peak();
    reclaims_before_ = Reclaims();
    oom_kills_before_ = OomKills();
    const int64_t page = sysconf(_SC_PAGESIZE);
    const int64_t bytes = memory_.limit() / page * page;
    const int64_t deadline = BootNanos() + absl::ToInt64Nanoseconds(kRefusedFor);
    const auto again = [&] {
      absl::SleepFor(absl::Milliseconds(5));
      return v1_ && BootNanos() < deadline && !*context_.cancelled;
    };
    const absl::Status lowered = limit_.Lower(v1_ ? "memory.limit_in_bytes" : "memory.max", bytes, again);
    const int64_t used = Usage();
    if (v1_ && !lowered.ok() && used > bytes) return TooMuch(lowered, used);
    if (!lowered.ok()) return lowered;
    // Not there where the kernel does not account for swap; then the limit alone has to do.
    const std::string swap = v1_ ? "memory.memsw.limit_in_bytes" : "memory.swap.max";
    const absl::StatusOr<int64_t> may_swap = ReadLimitNumber(FileOf(limit_.cgroup(), swap));
    const int64_t swap_limit = v1_ ? bytes + kSwap : 0;
    if (may_swap.ok() && *may_swap > swap_limit) {
      const absl::Status no_swap = limit_.Lower(swap, swap_limit, again);
      if (!no_swap.ok()) return v1_ ? TooMuch(no_swap, used) : no_swap;
    }
    limit_bytes_ = bytes;
    Look();
    return absl::OkStatus();
  }

  absl::Status TooMuch(const absl::Status& status, int64_t used) const {
    return absl::FailedPreconditionError(
        absl::StrCat("it uses ", used, " bytes, and the kernel cannot reclaim what is more than ", memory_.limit(), ", tried for ",
                     absl::FormatDuration(kRefusedFor), " (", status.message(), "); choose a limit above what it needs at rest"));
  }

  std::string File(const char* v1, const char* v2) const { return FileOf(limit_.cgroup(), v1_ ? v1 : v2); }
  int64_t Usage() const { return ReadCgroupNumber(File("memory.usage_in_bytes", "memory.current")).value_or(0); }
  int64_t Peak() const { return ReadCgroupNumber(File("memory.max_usage_in_bytes", "memory.peak")).value_or(0); }
  int64_t Reclaims() const {
    return v1_ ? ReadCgroupNumber(FileOf(limit_.cgroup(), "memory.failcnt")).value_or(0)
               : ReadCgroupKey(FileOf(limit_.cgroup(), "memory.events"), "max").value_or(0);
  }
  // v2 tells of those below too.
  int64_t OomKills() const {
    return v1_ ? SumBelow(limit_.cgroup(), "memory.oom_control", "oom_kill")
               : ReadCgroupKey(FileOf(limit_.cgroup(), "memory.events"), "oom_kill").value_or(0);
  }

  // What was seen last stays once the cgroup is gone, or the service is healed.
  void Look() {
    if (limit_bytes_ == 0 || !limit_.IsPending()) return;
    used_bytes_ = std::max(used_bytes_, Usage());
    if (const int64_t peak = Peak(); peak > peak_before_) used_bytes_ = std::max(used_bytes_, peak);
    reclaims_ = std::max(reclaims_, Reclaims() - reclaims_before_);
    oom_kills_ = std::max(oom_kills_, OomKills() - oom_kills_before_);
  }

  const Memory memory_;
  const FaultContext context_;
  const RunningService& service_;
  ServiceLimit limit_;
  bool v1_ = false;
  int64_t peak_before_ = 0, reclaims_before_ = 0, oom_kills_before_ = 0;
  int64_t limit_bytes_ = 0;  // 0: it is not set
  int64_t used_bytes_ = 0, reclaims_ = 0, oom_kills_ = 0;
};

class MemoryLeave : public ActiveFault {
 public:
  MemoryLeave(const Memory& memory, const FaultContext& context) : memory_(memory), context_(context) {}

  absl::Status Inject() override {
    absl::StatusOr<std::unique_ptr<Ballast>> ballast = absl::CancelledError("the agent is stopping");
    context_.main_thread->Run([&] { ballast = Ballast::Start(memory_.leave()); });
    if (!ballast.ok()) return ballast.status();
    ballast_ = *std::move(ballast);
    const int64_t deadline = BootNanos() + absl::ToInt64Nanoseconds(kPatience);
    Ballast::Seen seen = ballast_->Look();
    while (!seen.settled && !seen.ended && !*context_.cancelled && BootNanos() < deadline) {
      absl::SleepFor(absl::Milliseconds(5));
      seen = ballast_->Look();
    }
    absl::Status status;
    if (seen.ended) status = absl::ResourceExhaustedError("something has killed the ballast while it took memory: the kernel, for want of it?");
    if (seen.error != 0 && seen.most_held == 0) {
      status = absl::ErrnoToStatus(seen.error, "the ballast cannot take memory");
    }
    if (!status.ok()) Heal(HealFor::kFaultOver).IgnoreError();
    return status;
  }

  absl::Status Heal(HealFor) override { return ballast_ == nullptr ? absl::OkStatus() : ballast_->Stop(); }

  Evidence Seen() override {
    Evidence evidence;
    evidence.set_requested_left_bytes(memory_.leave());
    if (ballast_ == nullptr) return evidence;
    const Ballast::Seen seen = ballast_->Look();
    evidence.set_held_bytes(seen.most_held);
    if (seen.least_left >= 0) evidence.set_achieved_left_bytes(seen.least_left);
    return evidence;
  }

 private:
  const Memory memory_;
  const FaultContext context_;
  std::unique_ptr<Ballast> ballast_;
};

absl::Status CheckLeave(const Memory& memory, const Service& service) {
  const std::optional<HostMemory> host = ReadHostMemory();
  if (!host) return absl::FailedPreconditionError("/proc/meminfo does not tell how much memory is available");
  if (memory.leave() >= host->total) {
    return absl::FailedPreconditionError(absl::StrCat("the host of ", service.name(), " has ", host->total, " bytes of memory in all; leave less"));
  }
  return Ballast::MayTake(*host);
}

}  // namespace

absl::Status CheckMemory(const Memory& memory, const Service& service) {
  if (memory.how_case() == Memory::kLeave) return CheckLeave(memory, service);
  return CheckLimit("a memory limit", "memory", service);
}

std::unique_ptr<ActiveFault> MakeMemory(const Memory& memory, const FaultContext& context) {
  if (memory.how_case() == Memory::kLeave) return std::make_unique<MemoryLeave>(memory, context);
  return std::make_unique<MemoryLimit>(memory, context);
}

}  // namespace squall
