#pragma once

#include <string>

#include "proto/fault.pb.h"

namespace squall {

// What kinds of faults have in common: those of a group are described, checked and judged in one place (network_faults,
// process_faults, load_faults).
enum class FaultGroup { kNone, kNetwork, kDns, kProcess, kLoad };
FaultGroup GroupOf(const Fault& fault);

// Whom a fault touches, by what, and what ends it.
struct Mechanism {
  std::string scope;
  std::string through;
  std::string undone_by;
};

}  // namespace squall
