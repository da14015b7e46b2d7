#include "agent/process/sample.h"

#include "absl/strings/numbers.h"
#include "absl/strings/str_split.h"
#include "agent/process/descriptors.h"
#include "base/clock.h"

namespace squall {

HostSample Sampler::Host() {
  HostSample sample;
  sample.set_at_ns(BootNanos());
  const CpuTicks now = ReadCpuTicks();
  const auto total = static_cast<double>(now.total - last_host_.total);
  if (last_host_.total > 0 && total > 0) {
    sample.set_cpu_steal(100 * static_cast<double>(now.steal - last_host_.steal) / total);
    sample.set_cpu_busy(100 * (1 - static_cast<double>(now.idle - last_host_.idle) / total) - sample.cpu_steal());
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

ServiceSample Sampler::Service(const std::string& name, const std::vector<ProcessId>& processes, const std::optional<ProcessId>& leader,
                               bool sockets) {
  ServiceSample sample;
  sample.set_service(name);
  sample.set_at_ns(BootNanos());
  if (leader) {
    sample.set_pid(leader->pid);
    sample.set_started_ticks(static_cast<int64_t>(leader->start_ticks));
  }
  if (sockets) CountSockets(DescriptorsOf(processes), sample);
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
    const int fds = CountFds(process.pid);
    if (fds > 0) sample.set_fds(sample.fds() + fds);
    sample.set_processes(sample.processes() + 1);
  }
  if (last.at_ns > 0) sample.set_cpu(100 * burned / (static_cast<double>(sample.at_ns() - last.at_ns) / 1e9));
  last.at_ns = sample.at_ns();
  last.cpu_seconds = std::move(cpu_seconds);
  return sample;
}

}  // namespace squall
