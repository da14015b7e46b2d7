#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "agent/net/address.h"
#include "agent/net/packets.h"
#include "agent/net/relay.h"
#include "agent/process/running_service.h"
#include "proto/scenario.pb.h"

namespace squall {

// The hooks on packets of a run: one set for each service that a fault on packets is about. Thread-safe.
class PacketHooks {
 public:
  using Services = std::map<std::string, std::unique_ptr<RunningService>>;

  // Touches nothing. FAILED_PRECONDITION when this host cannot do what the scenario's faults need.
  static absl::Status Prepare(const Scenario& scenario);

  // Opens what the scenario needs. The redirections of `services`, if any, are attached before, so that they see a connect
  // first. All three outlive this.
  absl::Status Open(const Scenario& scenario, const Services& services, Relay* relay);
  // The edge leads there from now on; its relay's listeners are looked up with it. May be called before Open.
  absl::Status SetAddresses(const Edge& edge, const std::vector<Address>& to);
  // A service that squall did not start is told from others by its processes, and its sockets by them.
  void FollowProcesses();
  // Lets every packet pass and detaches. Idempotent.
  void Close();
  // Gives up the programs. Nothing that acts on `places` is asked any more.
  void Release();

  // What faults act on.
  const PacketPlaces* places() const { return &places_; }

 private:
  struct Known {
    Edge edge;
    std::vector<Address> to;
  };
  absl::Status Tell(const Known& known) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  absl::Mutex mutex_;
  Relay* relay_ = nullptr;
  std::map<std::string, Known> edges_ ABSL_GUARDED_BY(mutex_);
  std::map<std::string, std::unique_ptr<Packets>> packets_ ABSL_GUARDED_BY(mutex_);     // by service
  std::map<std::string, RunningService*> attached_ ABSL_GUARDED_BY(mutex_);              // those that squall did not start
  PacketPlaces places_;  // fixed once Open is through
};

}  // namespace squall
