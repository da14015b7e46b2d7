#include "agent/process/sample.h"

#include "absl/strings/numbers.h"
#include "absl/strings/str_split.h"
#include "base/clock.h"

namespace squall {

HostSample Sampler::Host() {
  HostSample sample;
  sample.set_at_ns(BootNanos());
  // proc(5): cpu user nice system idle iowait irq softirq steal
  const std::string stat = Slurp("/proc/stat");
  const std::vector<absl::string_view> fields =
      absl::StrSplit(absl::string_view(stat).substr(0, stat.find('\n')), ' ', absl::SkipEmpty());
  CpuTimes now;
  for (size_t i = 1; i < fields.size() && i <= 8; ++i) {
    double ticks = 0;
    if (!absl::SimpleAtod(fields[i], &ticks)) continue;
    now.total += ticks;
    if (i == 4 || i == 5) now.idle += ticks;
    if (i == 8) now.steal = ticks;
  }
  const double total = now.total - last_host_.total;
  if (last_host_.total > 0 && total > 0) {
    sample.set_cpu_steal(100 * (now.steal - last_host_.steal) / total);
    sample.set_cpu_busy(100 * (1 - (now.idle - last_host_.idle) / total) - sample.cpu_steal());
  }
  last_host_ = now;
  const std::string memory = Slurp("/proc/meminfo");
  for (const absl::string_view line : absl::StrSplit(memory, '\n')) {
    const std::vector<absl::string_view> parts = absl::StrSplit(line, ' ', absl::SkipEmpty());
    int64_t kib = 0;
    if (parts.size() >= 2 && parts[0] == "MemAvailable:" && absl::SimpleAtoi(parts[1], &kib)) {
      sample.set_memory_available_bytes(kib * 1024);
    }
  }
  return sample;
}

ServiceSample Sampler::Service(const std::string& name, const std::vector<ProcessId>& processes) {
  ServiceSample sample;
  sample.set_service(name);
  sample.set_at_ns(BootNanos());
  LastService& last = last_services_[name];
  std::map<pid_t, double> cpu_seconds;
  double burned = 0;
  for (const ProcessId& process : processes) {
    const absl::StatusOr<ProcStat> stat = ReadStat(process.pid);
    if (!stat.ok() || !(stat->id == process)) continue;
    cpu_seconds[process.pid] = stat->cpu_seconds;
    const auto before = last.cpu_seconds.find(process.pid);
    burned += stat->cpu_seconds - (before == last.cpu_seconds.end() ? 0 : before->second);
    sample.set_rss_bytes(sample.rss_bytes() + stat->rss_bytes);
    sample.set_threads(sample.threads() + stat->threads);
    const int fds = FdCount(process.pid);
    if (fds > 0) sample.set_fds(sample.fds() + fds);
    sample.set_processes(sample.processes() + 1);
  }
  if (last.at_ns > 0) sample.set_cpu(100 * burned / (static_cast<double>(sample.at_ns() - last.at_ns) / 1e9));
  last.at_ns = sample.at_ns();
  last.cpu_seconds = std::move(cpu_seconds);
  return sample;
}

}  // namespace squall
