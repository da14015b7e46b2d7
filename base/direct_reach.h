#pragma once

#include "proto/fault.pb.h"

namespace squall {

// Whether a fault is felt by connections that do not go through the relay of its edge, because they were there before.
enum class DirectReach {
  kReached,       // it acts on packets or ends connections
  kThroughQueue,  // where the packet queue works
  kOnlyNew,       // it is about connections that begin: those are not for it
  kNotReached,
};

DirectReach DirectReachOf(const Fault& fault);

}  // namespace squall
