#include "agent/faults/burner.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <new>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "base/fd.h"

namespace squall {
namespace {

constexpr int64_t kMostOwedNs = kBurnPeriodNs / 10;

int64_t Nanos(clockid_t clock) {
  timespec now = {};
  clock_gettime(clock, &now);
  return int64_t{now.tv_sec} * 1'000'000'000 + now.tv_nsec;
}

// Some microseconds of work in user space: looking at the clock all the time would be work of the kernel instead.
void Work() {
  static volatile uint32_t number = 1;
  for (int i = 0; i < 4000; ++i) number = number * 1664525 + 1013904223;
}

[[noreturn]] void BurnForever(const std::atomic<double>& share) {
  BurnPeriod period = {Nanos(CLOCK_MONOTONIC), Nanos(CLOCK_THREAD_CPUTIME_ID)};
  for (;;) {
    period = NextBurnPeriod(share, period, Nanos(CLOCK_MONOTONIC), Nanos(CLOCK_THREAD_CPUTIME_ID));
    while (Nanos(CLOCK_THREAD_CPUTIME_ID) < period.until_cpu_ns && Nanos(CLOCK_MONOTONIC) < period.end_ns) Work();
    const timespec end = {static_cast<time_t>(period.end_ns / 1'000'000'000),
                          static_cast<long>(period.end_ns % 1'000'000'000)};
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &end, nullptr) == EINTR) {
    }
  }
}

enum Step { kDone, kEnterCgroup, kPin };
struct Report {
  int step;
  int error;
};

// What the child needs, made before fork: after it only async-signal-safe calls are allowed.
struct Prepared {
  const std::atomic<double>* share = nullptr;
  int cgroup_procs = -1;
  cpu_set_t* core = nullptr;
  size_t core_size = 0;
  int report = -1;
  pid_t parent = 0;
};

[[noreturn]] void RunChild(const Prepared& prepared) {
  const auto tell = [&](Step step) {
    const Report report = {step, step == kDone ? 0 : errno};
    (void)!write(prepared.report, &report, sizeof(report));
    if (step != kDone) _exit(1);
  };
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != prepared.parent) _exit(1);
  prctl(PR_SET_NAME, "squall-burner");
  prctl(PR_SET_TIMERSLACK, 1UL, 0, 0, 0);
  if (prepared.cgroup_procs >= 0 && write(prepared.cgroup_procs, "0", 1) != 1) tell(kEnterCgroup);
  if (sched_setaffinity(0, prepared.core_size, prepared.core) != 0) tell(kPin);
  tell(kDone);
  // None of the agent's sockets may be kept open by a burner.
  close_range(0, ~0U, 0);
  BurnForever(*prepared.share);
}

}  // namespace

BurnPeriod NextBurnPeriod(double share, const BurnPeriod& before, int64_t now_ns, int64_t cpu_ns) {
  const int64_t slept_through = std::max<int64_t>(0, now_ns - before.end_ns) / kBurnPeriodNs;
  const int64_t owed = std::clamp(before.until_cpu_ns - cpu_ns, -kMostOwedNs, kMostOwedNs);
  BurnPeriod next;
  next.end_ns = before.end_ns + (slept_through + 1) * kBurnPeriodNs;
  next.until_cpu_ns = cpu_ns + owed + std::llround(share * static_cast<double>(kBurnPeriodNs));
  return next;
}

absl::StatusOr<std::unique_ptr<Burners>> Burners::Start(const Options& options) {
  std::unique_ptr<Burners> burners(new Burners);
  const absl::Status shared = burners->ShareMemory();
  if (!shared.ok()) return shared;
  burners->SetPercent(options.percent);
  for (const int core : options.cores) {
    const absl::Status status = burners->Add(options, core);
    if (!status.ok()) return status;  // the destructor ends those before
  }
  return burners;
}

Burners::~Burners() {
  Stop().IgnoreError();
  if (share_ != nullptr) munmap(share_, sizeof(*share_));
}

absl::Status Burners::ShareMemory() {
  static_assert(std::atomic<double>::is_always_lock_free);
  void* memory = mmap(nullptr, sizeof(*share_), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) return absl::ErrnoToStatus(errno, "cannot share memory with a burner");
  share_ = new (memory) std::atomic<double>(0);
  return absl::OkStatus();
}

absl::Status Burners::Add(const Options& options, int core) {
  Prepared prepared;
  prepared.share = share_;
  prepared.parent = getpid();
  prepared.core_size = CPU_ALLOC_SIZE(core + 1);
  prepared.core = CPU_ALLOC(core + 1);
  const auto free = absl::MakeCleanup([&] { CPU_FREE(prepared.core); });
  CPU_ZERO_S(prepared.core_size, prepared.core);
  CPU_SET_S(core, prepared.core_size, prepared.core);
  Fd cgroup;
  if (!options.cgroup.empty()) {
    cgroup = Fd(open(absl::StrCat(options.cgroup, "/cgroup.procs").c_str(), O_WRONLY | O_CLOEXEC));
    if (!cgroup) return absl::ErrnoToStatus(errno, absl::StrCat("cannot open cgroup ", options.cgroup));
    prepared.cgroup_procs = cgroup.get();
  }
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) return absl::ErrnoToStatus(errno, "cannot make a pipe");
  const Fd read_end(ends[0]);
  Fd write_end(ends[1]);
  prepared.report = write_end.get();

  const pid_t pid = fork();
  if (pid < 0) return absl::ErrnoToStatus(errno, "cannot fork a burner");
  if (pid == 0) RunChild(prepared);
  write_end.Reset();
  Report report = {};
  ssize_t size;
  while ((size = read(read_end.get(), &report, sizeof(report))) < 0 && errno == EINTR) {
  }
  if (size != static_cast<ssize_t>(sizeof(report)) || report.step != kDone) {
    kill(pid, SIGKILL);
    waitpid(pid, nullptr, 0);
    if (size != static_cast<ssize_t>(sizeof(report))) return absl::InternalError("a burner ended before it began");
    return absl::ErrnoToStatus(report.error, report.step == kPin
                                                 ? absl::StrCat("a burner cannot run on core ", core)
                                                 : absl::StrCat("a burner cannot enter cgroup ", options.cgroup));
  }
  Burner burner;
  burner.pid = pid;
  burner.began_ns = Nanos(CLOCK_MONOTONIC);
  burner.used.core = core;
  clock_getcpuclockid(pid, &burner.clock);
  burners_.push_back(burner);
  const absl::StatusOr<ProcStat> stat = ReadStat(pid);
  if (stat.ok()) processes_.push_back(stat->id);
  return absl::OkStatus();
}

// The clock of a process that has ended says nothing: what was seen last stays.
void Burners::Look(Burner& burner) {
  if (burner.pid < 0) return;
  burner.used.wall_ns = Nanos(CLOCK_MONOTONIC) - burner.began_ns;
  burner.used.cpu_ns = std::max(burner.used.cpu_ns, Nanos(burner.clock));
}

std::vector<Burners::Used> Burners::Seen() {
  std::vector<Used> seen;
  for (Burner& burner : burners_) {
    Look(burner);
    seen.push_back(burner.used);
  }
  return seen;
}

absl::Status Burners::Stop() {
  for (Burner& burner : burners_) {
    Look(burner);
    if (burner.pid > 0) kill(burner.pid, SIGKILL);
  }
  absl::Status status;
  for (Burner& burner : burners_) {
    if (burner.pid < 0) continue;
    // Ours and not waited for yet, so that its number is nobody else's.
    pid_t gone;
    while ((gone = waitpid(burner.pid, nullptr, 0)) < 0 && errno == EINTR) {
    }
    if (gone != burner.pid) {
      status = absl::ErrnoToStatus(errno, absl::StrCat("burner ", burner.pid, " cannot be waited for"));
    }
    burner.pid = -1;
  }
  return status;
}

}  // namespace squall
