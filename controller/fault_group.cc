#include "controller/fault_group.h"

namespace squall {

FaultGroup GroupOf(const Fault& fault) {
  switch (fault.kind_case()) {
    case Fault::kLatency:
    case Fault::kBandwidth:
    case Fault::kStall:
    case Fault::kSlice:
    case Fault::kLimitData:
    case Fault::kReset:
    case Fault::kRefuse:
    case Fault::kBlackhole:
    case Fault::kPartition:
    case Fault::kLoss:
    case Fault::kDuplicate:
    case Fault::kReorder:
    case Fault::kCorrupt:
    case Fault::kHttp:
    case Fault::kGrpc:
    case Fault::kTls:
      return FaultGroup::kNetwork;
    case Fault::kDns:
      return FaultGroup::kDns;
    case Fault::kKill:
    case Fault::kPause:
    case Fault::kCpu:
    case Fault::kMemory:
    case Fault::kDisk:
    case Fault::kFds:
    case Fault::kPids:
      return FaultGroup::kProcess;
    case Fault::kAbandon:
    case Fault::kSurge:
      return FaultGroup::kLoad;
    case Fault::KIND_NOT_SET:
      break;
  }
  return FaultGroup::kNone;
}

}  // namespace squall
