#pragma once

#include <atomic>
#include <map>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "agent/net/packets.h"
#include "agent/net/relay.h"
#include "agent/net/resolver.h"
#include "agent/process/running_service.h"
#include "proto/fault.pb.h"
#include "proto/timeline.pb.h"

namespace squall {

class LoadGenerator;
class QueuedEdges;

enum class HealFor {
  kFaultOver,  // the service is to be as it was
  kRunOver,    // the services that squall runs are about to be stopped: nothing is started again
};

// One fault of a run. Calls come one at a time.
class ActiveFault {
 public:
  virtual ~ActiveFault() = default;
  // Done and confirmed, or an error and nothing is left changed.
  virtual absl::Status Inject() = 0;
  // Once it is injected: goes on with the values of `fault`, which differs from the one before in what a ramp changes. An error: it goes on
  // as it was.
  virtual absl::Status Change(const Fault& fault) {
    return absl::UnimplementedError(absl::StrCat("fault ", fault.name(), " cannot be changed while it acts"));
  }
  // Undone and confirmed by looking at the world. Idempotent.
  virtual absl::Status Heal(HealFor reason) = 0;
  virtual Evidence Seen() = 0;
};

// What faults act on; outlives them.
struct FaultContext {
  Relay* relay = nullptr;
  std::map<std::string, std::unique_ptr<RunningService>>* services = nullptr;
  uint64_t seed = 0;  // of this fault
  const std::atomic<bool>* cancelled = nullptr;  // the run is ending: stop waiting
  MainThread* main_thread = nullptr;             // starts processes
  Journal* journal = nullptr;                    // remembers what to undo when the agent dies
  std::map<std::string, std::unique_ptr<Resolver>>* resolvers = nullptr;  // by service; of those with a dns fault
  std::string folder = "";                       // what relative paths are relative to
  const PacketPlaces* packets = nullptr;  // of services with a fault on packets
  QueuedEdges* queued_edges = nullptr;           // packets that are taken out of the kernel
  const std::map<std::string, LoadGenerator*>* loads = nullptr;  // by name; those that run
};

// Never null: a switch over the kinds.
std::unique_ptr<ActiveFault> MakeFault(const Fault& fault, const FaultContext& context);

std::unique_ptr<ActiveFault> MakeLatency(const Latency& latency, const FaultContext& context);
std::unique_ptr<ActiveFault> MakeBandwidth(const Bandwidth& bandwidth, const FaultContext& context);
std::unique_ptr<ActiveFault> MakeStall(const StallFault& stall, const FaultContext& context);
std::unique_ptr<ActiveFault> MakeSlice(const Slice& slice, const FaultContext& context);
std::unique_ptr<ActiveFault> MakeLimitData(const LimitData& limit_data, const FaultContext& context);
std::unique_ptr<ActiveFault> MakeReset(const Reset& reset, const FaultContext& context);
std::unique_ptr<ActiveFault> MakeTls(const TlsFault& tls, const FaultContext& context);
std::unique_ptr<ActiveFault> MakeRefuse(const Refuse& refuse, const FaultContext& context);
std::unique_ptr<ActiveFault> MakeBlackhole(const Blackhole& blackhole, const FaultContext& context);
std::unique_ptr<ActiveFault> MakePartition(const Partition& partition, const FaultContext& context);
std::unique_ptr<ActiveFault> MakeLoss(const Loss& loss, const FaultContext& context);
std::unique_ptr<ActiveFault> MakeDuplicate(const Duplicate& duplicate, const FaultContext& context);
std::unique_ptr<ActiveFault> MakeReorder(const Reorder& reorder, const FaultContext& context);
std::unique_ptr<ActiveFault> MakeCorrupt(const Corrupt& corrupt, const FaultContext& context);
std::unique_ptr<ActiveFault> MakeHttp(const HttpFault& http, const FaultContext& context);
std::unique_ptr<ActiveFault> MakeGrpc(const GrpcFault& grpc, const FaultContext& context);
std::unique_ptr<ActiveFault> MakeKill(const Kill& kill, const FaultContext& context);
std::unique_ptr<ActiveFault> MakeCpu(const Cpu& cpu, const FaultContext& context);
std::unique_ptr<ActiveFault> MakePause(const Pause& pause, const FaultContext& context);
std::unique_ptr<ActiveFault> MakeMemory(const Memory& memory, const FaultContext& context);
std::unique_ptr<ActiveFault> MakeDisk(const Disk& disk, const FaultContext& context);
std::unique_ptr<ActiveFault> MakeFds(const Fds& fds, const FaultContext& context);
std::unique_ptr<ActiveFault> MakePids(const Pids& pids, const FaultContext& context);
std::unique_ptr<ActiveFault> MakeAbandon(const Abandon& abandon, const FaultContext& context);
std::unique_ptr<ActiveFault> MakeSurge(const Surge& surge, const FaultContext& context);

// Whether the fault can be done on this host to this service, as far as that can be known before it runs. Touches nothing.
absl::Status CheckCpu(const Cpu& cpu, const Service& service);
absl::Status CheckPause(const Pause& pause, const Service& service);
absl::Status CheckMemory(const Memory& memory, const Service& service);
absl::Status CheckDisk(const Disk& disk, const std::string& folder);
absl::Status CheckFds(const Fds& fds, const Service& service);
absl::Status CheckPids(const Pids& pids, const Service& service);
std::unique_ptr<ActiveFault> MakeDns(const std::string& name, const Dns& dns, const FaultContext& context);

}  // namespace squall
