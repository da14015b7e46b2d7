#pragma once

#include <atomic>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "agent/edge_names.h"
#include "agent/edge_peers.h"
#include "agent/events.h"
#include "agent/faults/fault.h"
#include "agent/faults/queued_edges.h"
#include "agent/faults/ramp.h"
#include "agent/host_watch.h"
#include "agent/live_edges.h"
#include "agent/load/heartbeat.h"
#include "agent/load/load_generator.h"
#include "agent/net/call_log.h"
#include "agent/net/relay.h"
#include "agent/packet_hooks.h"
#include "agent/process/running_service.h"
#include "agent/process/sample.h"
#include "agent/process/starvation.h"
#include "agent/resolvers.h"
#include "agent/watch/watches.h"
#include "proto/agent.pb.h"

namespace squall {

// Everything that the agent does for one run, from Hold to Finish. Thread-safe; calls that change the world take turns.
class Session {
 public:
  // `expected`: an upper bound of the run's length.
  Session(std::string run_id, std::string holder, absl::Duration lease, absl::Duration expected, MainThread* main_thread,
          Journal* journal);
  // Finishes.
  ~Session();

  const std::string& run_id() const { return run_id_; }
  const std::string& holder() const { return holder_; }

  void Renew();
  // The controller has been silent for longer than the lease.
  bool LeaseIsOver() const;
  // CLOCK_BOOTTIME by which everything is undone, unless the lease is renewed or the undoing takes longer; 0: it is undone.
  int64_t ExpiresNs() const;

  absl::StatusOr<PrepareReply> Prepare(const PrepareRequest& request);
  absl::StatusOr<StartServicesReply> StartServices();
  absl::StatusOr<int64_t> StartLoad();
  void StartSteps(const StartStepsRequest& request);
  absl::Status ShareLoad(double share);
  absl::Status TakeSnapshot(ProcessSnapshot::Moment moment, int32_t cycle);
  void StopLoad();
  absl::StatusOr<FaultEvent> Inject(const Fault& fault);
  absl::StatusOr<FaultEvent> Heal(const std::string& fault);
  // Heals, takes away the relays, stops the services. `drain`: how long connections through the relays of services that
  // go on running may take to finish. Idempotent.
  FinishReply Finish(absl::Duration drain);
  // Cuts short what waits (readiness, patience, connections that finish), so that Finish can begin and end.
  void Cancel() { cancelled_ = at_once_ = true; }
  // Somebody else ends the run: Finish at once, and the controller is told who it was.
  FinishReply End(const std::string& by);
  // What `squall status` shows. Never waits for a call that changes the world: evidence may be that of the last look.
  HeldRun Describe();

  Events& events() { return events_; }

 private:
  struct Injected {
    Fault spec;
    std::unique_ptr<ActiveFault> fault;  // null once it is healed: what it held is given back before the run is over
    Evidence seen;                       // then what it did
    std::optional<RunningRamp> ramp = {};  // while it acts, of one that has a ramp
  };

  RunningService* Of(const Edge& edge) const;
  // Opens the relay of every edge; attaches the redirection of the services that need one.
  absl::Status OpenEdges();
  absl::Status OpenEdge(const Edge& edge);
  // Where the edge leads changed: its relay follows. What acts on packets keeps where it led before.
  absl::Status MoveEdge(const std::string& name, const std::vector<Address>& now, const std::vector<Address>& ever);
  // A service may have gone into another network namespace when it started: its relay follows.
  absl::Status FollowNamespace(RunningService& service);
  absl::Status StartWatches();
  // What a peer of a service stands for, as it may be a relay of ours.
  std::string Called(const std::string& peer);
  static absl::Status FollowProcesses(const RunningService& service, Intercept& intercept);
  Evidence SeenOf(const Injected& injected);
  FaultEvent Tell(const std::string& fault, FaultEvent::State state, std::string message);
  void Note(const FaultEvent& event);

  // The session's own thread: lease aside, whatever has to be looked at regularly.
  void Watch();
  void TellCalls();
  void StepRamps();
  void TellEdges();
  void TellSamples(Sampler& sampler);
  void TellStarved(StarvationWatch& starvation);

  const std::string run_id_;
  const std::string holder_;
  const absl::Duration lease_;
  const absl::Duration expected_;
  const absl::Time started_;
  MainThread* const main_thread_;
  Journal* const journal_;
  std::atomic<int64_t> renewed_ns_;
  std::atomic<int64_t> finishes_by_ns_ = INT64_MAX;  // 0: it has
  std::atomic<bool> cancelled_ = false;
  std::atomic<bool> at_once_ = false;
  std::atomic<bool> stop_watching_ = false;

  Events events_;
  CallLog calls_;

  absl::Mutex mutex_;  // held by every call that changes the world
  PrepareRequest request_;
  bool finished_ = false;  // from then on there is no relay, and nothing of faults is asked
  HostWatch host_watch_;
  FinishReply finish_reply_;
  std::map<std::string, Injected> faults_;
  std::vector<std::unique_ptr<LoadGenerator>> loads_;
  std::map<std::string, LoadGenerator*> loads_by_name_;
  // What others are shown: a mutex of its own, so that nobody who asks waits for a healing.
  struct Shown {
    std::string scenario;
    std::vector<std::string> services;
    struct OfFault {
      Fault fault;
      int64_t since_ns = 0;
      Evidence evidence;
    };
    std::map<std::string, OfFault> faults;  // injected, and not confirmed as healed
  };
  absl::Mutex shown_mutex_ ABSL_ACQUIRED_AFTER(mutex_);
  Shown shown_ ABSL_GUARDED_BY(shown_mutex_);
  Watches watches_{[this](Record record) { events_.Push(std::move(record)); }};
  std::atomic<bool> watching_leaks_ = false;  // from then on the watching thread looks at them too
  // Destroyed in the reverse order: the relay before the redirections and namespaces that it uses.
  std::vector<std::unique_ptr<NetNamespace>> namespaces_;
  std::map<std::string, std::unique_ptr<Intercept>> intercepts_;  // by service
  std::unique_ptr<Relay> relay_;
  std::vector<Address> own_listeners_;  // before the run; fixed once it is prepared
  EdgeNames names_;
  LiveEdges live_edges_;
  EdgePeers edge_peers_;

  // Fixed once watching_services_ is set: from then on the watching thread reads it too.
  std::map<std::string, std::unique_ptr<RunningService>> services_;
  std::atomic<bool> watching_services_ = false;
  std::atomic<bool> watching_edges_ = false;  // the same for intercepts_ and resolvers_
  Resolvers resolvers_;
  PacketHooks packet_hooks_;
  std::unique_ptr<QueuedEdges> queued_edges_;
  std::unique_ptr<Heartbeat> heartbeat_;
  std::thread watcher_;
};

}  // namespace squall
