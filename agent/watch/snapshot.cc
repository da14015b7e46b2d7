#include "agent/watch/snapshot.h"

#include <map>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "agent/process/descriptors.h"
#include "agent/process/sample.h"
#include "base/clock.h"
#include "base/utf8.h"

namespace squall {
namespace {

// Names, not threads: beyond them they are told together.
constexpr size_t kMostNames = 300;

std::map<std::string, int32_t> ThreadNames(const std::vector<ProcessId>& processes) {
  std::map<std::string, int32_t> names;
  for (const ProcessId& process : processes) {
    for (const pid_t thread : ThreadsOf(process.pid)) {
      std::string name = Slurp(absl::StrCat("/proc/", process.pid, "/task/", thread, "/comm"));
      if (name.empty()) continue;
      name = ValidText(absl::StripSuffix(name, "\n"), 64);
      ++names[names.size() < kMostNames || names.count(name) > 0 ? name : "others"];
    }
  }
  return names;
}

}  // namespace

ProcessSnapshot LookAtProcesses(const std::string& service, const std::vector<ProcessId>& processes, const std::optional<ProcessId>& leader,
                                const std::function<std::string(const std::string& peer)>& called) {
  ProcessSnapshot snapshot;
  snapshot.set_service(service);
  snapshot.set_at_ns(BootNanos());
  *snapshot.mutable_sample() = Sampler().Service(service, processes, leader);
  const std::vector<FdCount> descriptors = DescriptorsOf(processes);
  CountSockets(descriptors, *snapshot.mutable_sample());
  for (const FdCount& fd : descriptors) {
    FdCount& told = *snapshot.add_fds();
    told = fd;
    if (fd.kind() == "tcp" || fd.kind() == "udp") told.set_to(called(fd.to()));
  }
  for (auto& [name, count] : ThreadNames(processes)) (*snapshot.mutable_threads())[name] = count;
  return snapshot;
}

}  // namespace squall
