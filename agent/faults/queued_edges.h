#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "agent/net/live_sockets.h"
#include "agent/net/netns.h"
#include "agent/net/packet_queue.h"
#include "agent/net/relay.h"
#include "agent/process/running_service.h"
#include "proto/agent.pb.h"
#include "proto/scenario.pb.h"

namespace squall {

// The packet queues of a run: one for each service whose packets a fault takes out, made when the first does. Thread-safe.
//
// Packets are those of the service's sockets and the addresses where the edge leads. A service that squall runs has its sockets in
// a cgroup of its own, by which the rules know them. One that it attached to shares its cgroup with others: rules go by address
// alone, and the queue passes on at once what no socket of its processes sends or receives.
class QueuedEdges {
 public:
  using Services = std::map<std::string, std::unique_ptr<RunningService>>;

  // Touches nothing. FAILED_PRECONDITION when a fault needs the queue and this host cannot do it. Where only latency on
  // connections from before the run would need it, the reply has a note.
  static absl::Status Prepare(const Scenario& scenario, PrepareReply& reply);

  // `services` and `relay` outlive this.
  QueuedEdges(const Services* services, Relay* relay) : services_(services), relay_(relay) {}

  // The edge leads there from now on, for faults that act as well. May be called before anything is injected.
  absl::Status SetAddresses(const Edge& edge, const std::vector<Address>& to);
  // A service that squall did not start is told from its neighbours by its processes.
  void FollowProcesses();

  enum class Reach {
    kEverything,  // with the leg between the service and the relay, where the edge is redirected
    kDirect,      // what does not go through the relay
  };
  // Whether something of the edge does not go through the relay: datagrams, or connections from before the run.
  bool HasDirect(const std::string& edge) const;
  // Does `action` to the packets of the edge; its `to` and `protocol` are filled in. `key` stands for the fault. NOT_FOUND: no such
  // edge.
  absl::Status Set(const std::string& key, const std::string& edge, Reach reach, PacketAction action);
  // As PacketQueue's.
  absl::Status Change(const std::string& key, const std::function<void(PacketAction&)>& change);
  // As PacketQueue's. Idempotent.
  absl::Status Clear(const std::string& key);
  Evidence EvidenceOf(const std::string& key);

  // TCP connections of the service over the edge that do not go through the relay, and the namespace in which they are. `bytes`: with
  // the bytes that each carried.
  struct Direct {
    std::unique_ptr<NetNamespace> ns;
    std::vector<LiveSocket> connections;
  };
  absl::StatusOr<Direct> DirectConnections(const std::string& edge, bool bytes);

 private:
  struct Place {
    Edge edge;
    std::vector<Address> to;
  };
  struct Queue {
    std::unique_ptr<NetNamespace> ns;
    std::shared_ptr<OwnedFlows> flows;  // of a service that squall attached to
    std::unique_ptr<PacketQueue> queue;
  };
  struct Acting {
    std::string edge;
    Reach reach = Reach::kEverything;
    PacketQueue* queue = nullptr;
  };
  absl::StatusOr<PacketQueue*> QueueOf(RunningService& service) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  std::vector<Address> Remotes(const Place& place, Reach reach) const;

  const Services* const services_;
  Relay* const relay_;
  mutable absl::Mutex mutex_;
  std::map<std::string, Place> places_ ABSL_GUARDED_BY(mutex_);             // by edge
  std::map<std::string, std::vector<Queue>> queues_ ABSL_GUARDED_BY(mutex_);  // by service; the last one is its own now
  std::map<std::string, Acting> acting_ ABSL_GUARDED_BY(mutex_);            // by key; those that ended too
};

}  // namespace squall
