#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "agent/process/proc.h"
#include "proto/timeline.pb.h"

namespace squall {

// Samples the host and services: shares of CPU are since the sample before. Not thread-safe.
class Sampler {
 public:
  HostSample Host();
  // `sockets`: counts them too, which takes a look at every descriptor and at the sockets of everybody in its network namespace.
  ServiceSample Service(const std::string& name, const std::vector<ProcessId>& processes, const std::optional<ProcessId>& leader = {},
                        bool sockets = false);

 private:
  CpuTicks last_host_;
  struct LastService {
    int64_t at_ns = 0;
    std::map<pid_t, double> cpu_seconds;
  };
  std::map<std::string, LastService> last_services_;
};

}  // namespace squall
