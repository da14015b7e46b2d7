#include "agent/faults/fault.h"

namespace squall {
namespace {

// A fault that this agent is too old to know.
class Unknown : public ActiveFault {
  absl::Status Inject() override { return absl::UnimplementedError("this agent does not know the fault"); }
  absl::Status Heal(HealFor) override { return absl::OkStatus(); }
  Evidence Seen() override { return {}; }
};

}  // namespace

std::unique_ptr<ActiveFault> MakeFault(const Fault& fault, const FaultContext& context) {
  switch (fault.kind_case()) {
    case Fault::kLatency:
      return MakeLatency(fault.latency(), context);
    case Fault::kKill:
      return MakeKill(fault.kill(), context);
    case Fault::kDns:
      return MakeDns(fault.name(), fault.dns(), context);
    case Fault::kCpu:
      return MakeCpu(fault.cpu(), context);
    case Fault::kTls:
      return MakeTls(fault.tls(), context);
    case Fault::kBandwidth:
      return MakeBandwidth(fault.bandwidth(), context);
    case Fault::kStall:
      return MakeStall(fault.stall(), context);
    case Fault::kSlice:
      return MakeSlice(fault.slice(), context);
    case Fault::kLimitData:
      return MakeLimitData(fault.limit_data(), context);
    case Fault::kReset:
      return MakeReset(fault.reset(), context);
    case Fault::kHttp:
      return MakeHttp(fault.http(), context);
    case Fault::kGrpc:
      return MakeGrpc(fault.grpc(), context);
    case Fault::kDuplicate:
      return MakeDuplicate(fault.duplicate(), context);
    case Fault::kReorder:
      return MakeReorder(fault.reorder(), context);
    case Fault::kCorrupt:
      return MakeCorrupt(fault.corrupt(), context);
    case Fault::kRefuse:
      return MakeRefuse(fault.refuse(), context);
    case Fault::kBlackhole:
      return MakeBlackhole(fault.blackhole(), context);
    case Fault::kPartition:
      return MakePartition(fault.partition(), context);
    case Fault::kLoss:
      return MakeLoss(fault.loss(), context);
    case Fault::kPause:
      return MakePause(fault.pause(), context);
    case Fault::kMemory:
      return MakeMemory(fault.memory(), context);
    case Fault::kDisk:
      return MakeDisk(fault.disk(), context);
    case Fault::kFds:
      return MakeFds(fault.fds(), context);
    case Fault::kPids:
      return MakePids(fault.pids(), context);
    case Fault::kAbandon:
      return MakeAbandon(fault.abandon(), context);
    case Fault::kSurge:
      return MakeSurge(fault.surge(), context);
    case Fault::KIND_NOT_SET:
      break;
  }
  return std::make_unique<Unknown>();
}

}  // namespace squall
