#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "agent/net/address.h"
#include "agent/net/live_sockets.h"
#include "agent/net/netns.h"
#include "agent/process/proc.h"
#include "proto/agent.pb.h"
#include "proto/fault.pb.h"
#include "proto/scenario.pb.h"
#include "proto/timeline.pb.h"

namespace squall {

// The connections of attached services that do not go through the relay of their edge, because they were there before it was:
// counts them, tells which faults reach them, and ends those of edges with `existing: reset`. Thread-safe.
class LiveEdges {
 public:
  // What can be known before the run; touches nothing. Notes say for each edge how many connections there are and which faults
  // of the scenario will not reach them. FAILED_PRECONDITION when connections are to be ended and this host cannot.
  static absl::Status Prepare(const Scenario& scenario, PrepareReply& reply);

  // The edge of an attached service is redirected from now on. `ns` outlives this. `processes`: of the service, now.
  // Connections that are there now count what they carry from now on.
  absl::Status Add(const Edge& edge, const std::vector<Address>& to, const NetNamespace& ns,
                   std::function<std::vector<ProcessId>()> processes);
  // The edge leads elsewhere from now on.
  void SetAddresses(const std::string& edge, const std::vector<Address>& to);
  // Ends the connections of the edges with `existing: reset` until none is left: one may be made by a socket from before. A
  // note for each edge, also for those whose connections stay. DEADLINE_EXCEEDED when the service has new ones after two
  // seconds.
  absl::Status Reset(const std::atomic<bool>& cancelled, std::vector<std::string>& notes);

  // Looks anew where it is time: once a second, less often where looking takes more than a hundredth of that.
  void Look();
  void AddTo(EdgeStats& stats);

  // Between these, what is there while the fault acts is counted for it.
  void Begin(const Fault& fault);
  void End(const std::string& fault);
  // Fills direct_reached or direct_unreached, unless the fault did so itself.
  void AddTo(const Fault& fault, Evidence& evidence);

 private:
  struct Connection {
    bool of_service = false;  // else somebody else's, as the relay's own
    int64_t first_to = 0, first_from = 0;  // bytes when it was seen first
    int64_t to = 0, from = 0;              // since then
  };
  struct Place {
    Edge edge;
    std::vector<Address> to;
    std::function<std::vector<ProcessId>()> processes;
    std::optional<SocketDiag> diag;
    bool looked = false;
    std::map<uint64_t, Connection> connections;  // by cookie; those that were there when looked last
    int64_t closed_to = 0, closed_from = 0;      // bytes of those that are gone
    int64_t next_look_ns = 0;
  };
  struct Acting {
    std::string edge;
    std::set<uint64_t> seen;
    bool over = false;
  };

  absl::StatusOr<std::vector<LiveSocket>> LookAt(Place& place) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::StatusOr<int64_t> ResetPlace(Place& place, const std::atomic<bool>& cancelled);

  absl::Mutex mutex_;
  std::map<std::string, Place> places_ ABSL_GUARDED_BY(mutex_);   // by edge
  std::map<std::string, Acting> acting_ ABSL_GUARDED_BY(mutex_);  // by fault
};

}  // namespace squall
