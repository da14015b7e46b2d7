#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "agent/net/address.h"
#include "agent/process/proc.h"
#include "proto/fault.pb.h"
#include "proto/timeline.pb.h"

namespace squall {

// Which packets of a service are dropped.
struct PacketRule {
  std::string edge = {};  // empty: all that the service does not exchange with itself
  Direction direction = DIRECTION_BOTH;
  Partition::Connections connections = Partition::CONNECTIONS_ALL;
  double percent = 100;     // of those packets
  double correlation = 0;   // percent, as in Loss
  uint64_t seed = 0;        // decides which
  bool refuse = false;      // connects of the service get ECONNREFUSED as well
  bool reset = false;       // somebody resets its connections meanwhile: RSTs come in
};

// Drops packets of one service by BPF programs (packets.bpf.c) on its sockets alone: those that it has, those that it makes
// and those that it accepts. Every link belongs to this object and through it to the agent's process: whatever ends either
// lets all packets pass. Thread-safe.
class Packets {
 public:
  // Attaches to the cgroup v2 at `cgroup_path`: with `by_process` the root of the mount, and the service's sockets are those
  // of SetProcesses; without, the service's own cgroup, and they are those that are made in it. Needs root.
  static absl::StatusOr<std::unique_ptr<Packets>> Attach(const std::string& cgroup_path, bool by_process);
  virtual ~Packets() = default;

  // With by_process: whose sockets are meant. Marks those that they have, and have not been seen before. To be called again
  // as processes come and go, and once in a while for sockets that came in another way than by socket(2) and accept(2).
  virtual absl::Status SetProcesses(const std::vector<ProcessId>& processes) = 0;

  struct Edge {
    bool udp = false;
    std::vector<Address> remotes;  // the dependency's and its relay's; an address of zeroes (::) stands for any
  };
  // INVALID_ARGUMENT when an address belongs to another edge already.
  virtual absl::Status SetEdge(const std::string& name, const Edge& edge) = 0;

  // From now on; the result is its number. Rules of one edge are asked in the order in which they came, those for everything
  // first, and what one drops the later ones do not see. NOT_FOUND: no such edge; RESOURCE_EXHAUSTED: more than 8 on an edge.
  virtual absl::StatusOr<int> Add(const PacketRule& rule) = 0;
  // Of the rule's packets this share is dropped from now on. What the evidence says of shares is then that of the last ones. NOT_FOUND:
  // no such rule acts.
  virtual absl::Status SetPercent(int rule, double percent) = 0;
  // OK only once it is seen to be gone. Idempotent.
  virtual absl::Status Remove(int rule) = 0;
  // What the rule did; after Remove: what it did until then.
  virtual Evidence Seen(int rule) = 0;

  // Detaches every link. Idempotent; the same happens on destruction.
  virtual void Detach() = 0;
};

// Whose packets are looked at.
struct PacketPlaces {
  std::map<std::string, Packets*> of_edge;     // those of the services below that are not relayed at an address of their own
  std::map<std::string, Packets*> of_service;
};

}  // namespace squall
