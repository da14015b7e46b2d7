#include "agent/process/starvation.h"

#include <dirent.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "base/clock.h"

namespace squall {
namespace {

constexpr int64_t kFeltNs = 500'000;

int64_t Nanos(const timeval& time) { return time.tv_sec * 1'000'000'000LL + time.tv_usec * 1'000LL; }

}  // namespace

bool IsStarved(const CoreUse& use) {
  if (use.wall_ns <= 0 || use.cores <= 0) return false;
  const bool waited = use.waited_ns > use.ran_ns && use.waited_ns > 3 * use.wall_ns / 10;
  const bool felt = use.waited_ns > use.slices * kFeltNs;
  return waited && felt && use.others_ns > use.wall_ns * use.cores / 5;
}

StarvationWatch::Host StarvationWatch::ReadHost() {
  Host host;
  const int64_t tick_ns = 1'000'000'000 / sysconf(_SC_CLK_TCK);
  const std::string stat = Slurp("/proc/stat");
  for (const absl::string_view line : absl::StrSplit(stat, '\n')) {
    if (line.substr(0, 3) != "cpu") break;
    // proc(5): cpu user nice system idle iowait irq softirq steal. The first line is the sum of the others.
    const std::vector<absl::string_view> fields = absl::StrSplit(line, ' ', absl::SkipEmpty());
    if (fields[0] != "cpu") {
      ++host.cores;
      continue;
    }
    for (size_t i = 1; i < fields.size() && i <= 8; ++i) {
      int64_t ticks = 0;
      if (i != 4 && i != 5 && absl::SimpleAtoi(fields[i], &ticks)) host.busy_ns += ticks * tick_ns;
    }
  }
  return host;
}

int64_t StarvationWatch::OwnNs() {
  rusage own;
  getrusage(RUSAGE_SELF, &own);
  return Nanos(own.ru_utime) + Nanos(own.ru_stime);
}

StarvationWatch::Threads StarvationWatch::ReadThreads(const std::vector<ProcessId>& processes) {
  Threads threads;
  for (const ProcessId& process : processes) {
    const std::string folder = absl::StrCat("/proc/", process.pid, "/task");
    DIR* const tasks = opendir(folder.c_str());
    if (tasks == nullptr) continue;
    while (const dirent* entry = readdir(tasks)) {
      pid_t tid = 0;
      if (!absl::SimpleAtoi(entry->d_name, &tid)) continue;
      const std::string text = Slurp(absl::StrCat(folder, "/", tid, "/schedstat"));
      // Nanoseconds on a core, nanoseconds waiting for one, times on one.
      const std::vector<absl::string_view> fields = absl::StrSplit(text, ' ', absl::SkipEmpty());
      Sums sums;
      if (fields.size() >= 3 && absl::SimpleAtoi(fields[0], &sums.ran_ns) && absl::SimpleAtoi(fields[1], &sums.waited_ns) &&
          absl::SimpleAtoi(fields[2], &sums.slices)) {
        threads[tid] = sums;
      }
    }
    closedir(tasks);
  }
  return threads;
}

StarvationWatch::Sums StarvationWatch::Since(const Threads& before, const Threads& now) {
  Sums since;
  for (const auto& [tid, sums] : now) {
    const auto found = before.find(tid);
    // A number that was given to another thread counts from its start.
    const bool same = found != before.end() && found->second.ran_ns <= sums.ran_ns && found->second.waited_ns <= sums.waited_ns &&
                      found->second.slices <= sums.slices;
    since.ran_ns += sums.ran_ns - (same ? found->second.ran_ns : 0);
    since.waited_ns += sums.waited_ns - (same ? found->second.waited_ns : 0);
    since.slices += sums.slices - (same ? found->second.slices : 0);
  }
  return since;
}

std::vector<Stall> StarvationWatch::Look(const std::map<std::string, std::vector<ProcessId>>& services) {
  const int64_t now_ns = BootNanos();
  const Host host = ReadHost();
  const int64_t own_ns = OwnNs();
  std::map<std::string, Threads> threads;
  std::map<std::string, Sums> since;
  int64_t services_ns = 0;
  for (const auto& [name, processes] : services) {
    threads[name] = ReadThreads(processes);
    // The first look at a service tells nothing: what it did before is not of this moment.
    const auto before = last_threads_.find(name);
    since[name] = before == last_threads_.end() ? Sums() : Since(before->second, threads[name]);
    services_ns += since[name].ran_ns;
  }
  std::vector<Stall> starved;
  if (last_ns_ > 0) {
    CoreUse use;
    use.wall_ns = now_ns - last_ns_;
    use.cores = host.cores;
    use.others_ns = std::max<int64_t>(0, host.busy_ns - last_host_.busy_ns - services_ns - (own_ns - last_own_ns_));
    for (const auto& [name, sums] : since) {
      use.ran_ns = sums.ran_ns;
      use.waited_ns = sums.waited_ns;
      use.slices = sums.slices;
      if (!IsStarved(use)) continue;
      Stall stall;
      stall.set_start_ns(last_ns_);
      stall.set_length_ns(use.wall_ns);
      stall.set_service(name);
      stall.set_waited_ns(use.waited_ns);
      stall.set_others(100.0 * static_cast<double>(use.others_ns) / static_cast<double>(use.wall_ns * use.cores));
      starved.push_back(std::move(stall));
    }
  }
  last_ns_ = now_ns;
  last_host_ = host;
  last_own_ns_ = own_ns;
  last_threads_ = std::move(threads);
  return starved;
}

}  // namespace squall
