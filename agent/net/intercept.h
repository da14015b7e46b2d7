#pragma once

#include <sys/types.h>

#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "agent/net/address.h"
#include "agent/net/netns.h"

namespace squall {

// Redirects connects of one service to relays, by BPF programs on its cgroup (intercept.bpf.c). Every link belongs to this
// object and through it to the agent's process: whatever ends either ends the redirection. Thread-safe.
class Intercept {
 public:
  // Attaches to the cgroup v2 at `cgroup_path`. With `by_process` only sockets that the processes of SetProcesses make
  // from now on are redirected; without, all of the cgroup. Needs root (CAP_BPF, CAP_NET_ADMIN).
  static absl::StatusOr<std::unique_ptr<Intercept>> Attach(const std::string& cgroup_path, bool by_process);
  virtual ~Intercept() = default;

  // Says why it would not work here; empty: it would.
  static std::string WhyNot(bool by_process);

  // Where the relays listen. Until then, and for processes in other network namespaces, nothing is redirected.
  virtual absl::Status SetNamespace(const NetNamespace& ns) = 0;
  // Connects to `to` go to port4 on 127.0.0.1 or port6 on ::1 (0: left alone). Any address with a port (Address::IsAny) is for
  // those that are not redirected by themselves. Up to 8,192 addresses.
  virtual absl::Status Redirect(const Address& to, uint16_t port4, uint16_t port6) = 0;
  // The address is no longer redirected by itself, and what was counted for it is forgotten.
  virtual void Leave(const Address& to) = 0;
  virtual absl::Status SetRefusing(const Address& to, bool refusing) = 0;
  virtual absl::Status SetProcesses(const std::set<pid_t>& pids) = 0;
  // Where the connection from `source` wanted to go, and the process that connected it, as the initial pid namespace
  // numbers them.
  struct Original {
    Address to;
    uint32_t process = 0;
  };
  virtual std::optional<Original> TakeOriginal(const Address& source) = 0;
  // Connects to `to` that were turned away, by the process that tried. 0: beyond the 4,096 that are told apart.
  virtual std::map<uint32_t, int64_t> Refused(const Address& to) = 0;
  // A fault: connects that would go to `port4` of Redirect are turned away from now on, or no longer. FaultRefused: how many since it
  // was switched on last.
  virtual absl::Status SetFaultRefusing(uint16_t port4, bool refusing) = 0;
  virtual int64_t FaultRefused(uint16_t port4) = 0;
  // Connects that were meant for `port4`, whatever became of them, by process, as for Refused.
  virtual std::map<uint32_t, int64_t> Attempts(uint16_t port4) = 0;
  // Detaches every link. What was redirected before, and what was counted, can be asked for until destruction, which does the
  // same. Idempotent.
  virtual void Detach() = 0;
};

}  // namespace squall
