#include "agent/faults/ballast.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <string>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "agent/process/limit_cgroup.h"
#include "base/fd.h"

namespace squall {

// Written by the process alone.
struct Ballast::Shared {
  std::atomic<int64_t> held = 0;
  std::atomic<int64_t> most_held = 0;
  std::atomic<int64_t> least_left = -1;
  std::atomic<bool> settled = false;
  std::atomic<int> error = 0;
};

// What the child needs, made before fork: after it only async-signal-safe calls are allowed.
struct Ballast::Prepared {
  int64_t leave = 0;
  int64_t most = 0;
  int cgroup_procs = -1;
  int report = -1;
  pid_t parent = 0;
};

namespace {

constexpr long kBetweenLooksNs = 50'000'000;

// The number of kB after "NAME:", in bytes.
std::optional<int64_t> FieldOf(const char* text, const char* name) {
  const char* at = strstr(text, name);
  if (at == nullptr) return std::nullopt;
  char* end = nullptr;
  const int64_t kilobytes = strtoll(at + strlen(name), &end, 10);
  if (end == at + strlen(name) || kilobytes < 0) return std::nullopt;
  return kilobytes * 1024;
}

std::optional<HostMemory> LookAt(int meminfo) {
  char text[8192];
  const ssize_t size = pread(meminfo, text, sizeof(text) - 1, 0);
  if (size <= 0) return std::nullopt;
  text[size] = '\0';
  return ParseHostMemory(text);
}

// Address space for all that it may ever hold. What is not held is not accessible and counts nowhere.
char* Reserve(int64_t bytes) {
  void* at = mmap(nullptr, static_cast<size_t>(bytes), PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  return at == MAP_FAILED ? nullptr : static_cast<char*>(at);
}

void Give(char* at, int64_t bytes) {
  (void)mmap(at, static_cast<size_t>(bytes), PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
}

// 0, or why not.
int Take(char* at, int64_t bytes, bool lock) {
  const size_t size = static_cast<size_t>(bytes);
  if (mmap(at, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == MAP_FAILED) return errno;
  if (lock && mlock(at, size) != 0) {
    const int error = errno;
    Give(at, bytes);
    return error;
  }
  const size_t page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  for (size_t i = 0; i < size; i += page) static_cast<volatile char*>(at)[i] = 1;
  return 0;
}

}  // namespace

std::optional<HostMemory> ParseHostMemory(const char* text) {
  const std::optional<int64_t> total = FieldOf(text, "MemTotal:"), available = FieldOf(text, "MemAvailable:");
  if (!total || !available) return std::nullopt;
  return HostMemory{*total, *available, FieldOf(text, "SwapTotal:").value_or(0)};
}

std::optional<HostMemory> ReadHostMemory() { return ParseHostMemory(Slurp("/proc/meminfo").c_str()); }

int64_t MemoryFloor(int64_t total) { return std::max<int64_t>(total / 20, int64_t{256} << 20); }

int64_t NextBallast(int64_t held, const HostMemory& host, int64_t leave) {
  const int64_t spare = host.available - std::max(leave, MemoryFloor(host.total));
  if (spare < 0) return std::max<int64_t>(0, held - (-spare + kBallastUnit - 1) / kBallastUnit * kBallastUnit);
  return held + std::min(spare, kBallastStep) / kBallastUnit * kBallastUnit;
}

void Ballast::RunChild(const Prepared& prepared, Shared& shared) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != prepared.parent) _exit(1);
  prctl(PR_SET_NAME, "squall-ballast");
  if (prepared.cgroup_procs >= 0) (void)!write(prepared.cgroup_procs, "0", 1);
  const int score = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
  const int error = score >= 0 && write(score, "1000", 4) == 4 ? 0 : errno;
  (void)!write(prepared.report, &error, sizeof(error));
  if (error != 0) _exit(1);
  // None of the agent's sockets may be kept open by it.
  close_range(0, ~0U, 0);

  const int meminfo = open("/proc/meminfo", O_RDONLY | O_CLOEXEC);
  char* const base = Reserve(prepared.most);
  if (base == nullptr) shared.error = errno;
  while (true) {
    const std::optional<HostMemory> host = LookAt(meminfo);
    const int64_t held = shared.held;
    // Who cannot see how much is available holds nothing.
    int64_t next = host ? std::min(NextBallast(held, *host, prepared.leave), prepared.most) : 0;
    if (host && (shared.least_left < 0 || host->available < shared.least_left)) shared.least_left = host->available;
    if (next < held) Give(base + next, held - next);
    if (next > held) {
      const int why_not = base == nullptr ? ENOMEM : Take(base + held, next - held, host->swap > 0);
      if (why_not != 0) {
        shared.error = why_not;
        next = held;
      }
    }
    shared.held = next;
    shared.most_held = std::max(shared.most_held.load(), next);
    if (next > held) continue;
    shared.settled = true;
    const timespec pause = {0, kBetweenLooksNs};
    nanosleep(&pause, nullptr);
  }
}

absl::Status Ballast::MayTake(const HostMemory& host) {
  rlimit locked = {};
  if (host.swap == 0 || geteuid() == 0) return absl::OkStatus();
  if (getrlimit(RLIMIT_MEMLOCK, &locked) == 0 && locked.rlim_cur >= static_cast<rlim_t>(host.total)) return absl::OkStatus();
  return absl::FailedPreconditionError(
      "this host has swap, so that what is taken has to be locked in memory, and this user may not lock so much; run squall as root");
}

absl::StatusOr<std::unique_ptr<Ballast>> Ballast::Start(int64_t leave) {
  const std::optional<HostMemory> host = ReadHostMemory();
  if (!host) return absl::NotFoundError("/proc/meminfo does not tell how much memory is available");
  void* const shared = mmap(nullptr, sizeof(Shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (shared == MAP_FAILED) return absl::ErrnoToStatus(errno, "cannot share memory with the ballast");
  std::unique_ptr<Ballast> ballast(new Ballast);
  ballast->shared_ = new (shared) Shared;

  Prepared prepared;
  prepared.leave = leave;
  prepared.most = host->total / kBallastUnit * kBallastUnit;
  prepared.parent = getpid();
  const absl::StatusOr<CgroupMount> mount = MountOf("memory");
  const Fd cgroup(mount.ok() ? open(absl::StrCat(mount->folder, "/cgroup.procs").c_str(), O_WRONLY | O_CLOEXEC) : -1);
  prepared.cgroup_procs = cgroup.get();
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) return absl::ErrnoToStatus(errno, "cannot make a pipe");
  const Fd read_end(ends[0]);
  Fd write_end(ends[1]);
  prepared.report = write_end.get();

  const pid_t pid = fork();
  if (pid < 0) return absl::ErrnoToStatus(errno, "cannot fork the ballast");
  if (pid == 0) RunChild(prepared, *ballast->shared_);
  ballast->pid_ = pid;  // the destructor ends it
  write_end.Reset();
  int error = 0;
  ssize_t size;
  while ((size = read(read_end.get(), &error, sizeof(error))) < 0 && errno == EINTR) {
  }
  if (size != static_cast<ssize_t>(sizeof(error))) return absl::InternalError("the ballast ended before it began");
  if (error != 0) return absl::ErrnoToStatus(error, "the ballast cannot make itself the first to be killed for want of memory");
  const absl::StatusOr<ProcStat> stat = ReadStat(pid);
  if (stat.ok()) ballast->process_ = stat->id;
  return ballast;
}

Ballast::~Ballast() {
  Stop().IgnoreError();
  if (shared_ != nullptr) munmap(shared_, sizeof(Shared));
}

Ballast::Seen Ballast::Look() {
  Seen seen;
  siginfo_t gone = {};
  seen.ended = pid_ < 0 || (waitid(P_PID, static_cast<id_t>(pid_), &gone, WEXITED | WNOHANG | WNOWAIT) == 0 && gone.si_pid == pid_);
  seen.held = seen.ended ? 0 : shared_->held.load();
  seen.most_held = shared_->most_held;
  seen.least_left = shared_->least_left;
  seen.settled = shared_->settled;
  seen.error = shared_->error;
  return seen;
}

absl::Status Ballast::Stop() {
  if (pid_ < 0) return absl::OkStatus();
  kill(pid_, SIGKILL);
  // Ours and not waited for yet, so that its number is nobody else's.
  pid_t gone;
  while ((gone = waitpid(pid_, nullptr, 0)) < 0 && errno == EINTR) {
  }
  const absl::Status status =
      gone == pid_ ? absl::OkStatus() : absl::ErrnoToStatus(errno, absl::StrCat("the ballast, pid ", pid_, ", cannot be waited for"));
  pid_ = -1;
  return status;
}

}  // namespace squall
