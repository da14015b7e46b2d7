#include "base/direct_reach.h"

namespace squall {

DirectReach DirectReachOf(const Fault& fault) {
  switch (fault.kind_case()) {
    case Fault::kBlackhole:
    case Fault::kLoss:
    case Fault::kDuplicate:
    case Fault::kReorder:
    case Fault::kCorrupt:
      return DirectReach::kReached;
    case Fault::kPartition:
      return fault.partition().connections() == Partition::CONNECTIONS_NEW ? DirectReach::kOnlyNew : DirectReach::kReached;
    case Fault::kReset:
      return fault.reset().existing() ? DirectReach::kReached : DirectReach::kOnlyNew;
    case Fault::kRefuse:
    case Fault::kTls:
      return DirectReach::kOnlyNew;
    case Fault::kLatency:
      return DirectReach::kThroughQueue;
    case Fault::kBandwidth:
    case Fault::kStall:
    case Fault::kSlice:
    case Fault::kLimitData:
    case Fault::kHttp:
    case Fault::kGrpc:
    case Fault::kKill:
    case Fault::kDns:
    case Fault::kCpu:
    case Fault::kPause:
    case Fault::kMemory:
    case Fault::kDisk:
    case Fault::kFds:
    case Fault::kPids:
    case Fault::kAbandon:
    case Fault::kSurge:
    case Fault::KIND_NOT_SET:
      break;
  }
  return DirectReach::kNotReached;
}

}  // namespace squall
