#pragma once

#include <sys/types.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <set>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "agent/net/address.h"
#include "agent/net/netns.h"

namespace squall {

// Where queries to one name server come in: a port of 127.0.0.1 or ::1, for UDP or TCP.
struct DnsDoor {
  int number = 0;  // doors of the same number belong to the same server; below DnsRedirect::kDoors
  bool tcp = false;
  bool v6 = false;
  uint16_t port = 0;  // host order
};

// Redirects the DNS queries of one service to a resolver, by BPF programs on its cgroup (dns_redirect.bpf.c); they work beside
// those of Intercept. Every link belongs to this object and through it to the agent's process: whatever ends either ends the
// redirection. Thread-safe.
class DnsRedirect {
 public:
  // How many different servers can be told apart. What is asked of more is left alone, and counted.
  static constexpr int kDoors = 16;

  // Attaches to the cgroup v2 at `cgroup_path`. With `by_process` only what the processes of SetProcesses send is redirected;
  // without, all of the cgroup. `nameserver`: only queries to it; without, all on port 53. Needs root (CAP_BPF, CAP_NET_ADMIN).
  static absl::StatusOr<std::unique_ptr<DnsRedirect>> Attach(const std::string& cgroup_path, bool by_process,
                                                             const std::optional<Address>& nameserver);
  virtual ~DnsRedirect() = default;

  // A family without doors is left alone. To be called before SetNamespace.
  virtual absl::Status AddDoor(const DnsDoor& door) = 0;
  // Where the doors are. Until then, and for processes in other network namespaces, nothing is redirected.
  virtual absl::Status SetNamespace(const NetNamespace& ns) = 0;
  virtual absl::Status SetProcesses(const std::set<pid_t>& pids) = 0;
  // The server that is meant by the doors of this number; nothing while there is none.
  virtual std::optional<Address> Server(int number) = 0;
  // Connects and datagrams that were left alone because of too many servers.
  virtual int64_t LeftAlone() = 0;
  // From now on queries go where they want to; answers to those that were redirected still come from the right address.
  virtual void StopQueries() = 0;
  // Detaches every link. Idempotent; the same happens on destruction.
  virtual void Detach() = 0;
};

}  // namespace squall
