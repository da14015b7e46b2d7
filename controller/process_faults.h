#pragma once

#include <string>

#include "controller/fault_group.h"
#include "proto/scenario.pb.h"

// What check, plan and judges must know of faults on processes and on what these need: processor time, memory, disk, descriptors,
// tasks. Pure functions.
namespace squall {

// "at most 256 MiB for shop", "SIGKILL to recommend, started again after 4 s".
std::string DescribeProcessFault(const Fault& fault);

Mechanism ProcessMechanism(const Scenario& scenario, const Fault& fault);

// Everything on the host feels it, whatever service it names.
bool IsHostFault(const Fault& fault);

// The service that it acts on, or whose host it acts on; empty: none.
std::string ServiceOfFault(const Fault& fault);

// A kill of all processes of a service.
bool EndsService(const Fault& fault);

// One after which neither squall nor, within a time that the scenario says, a supervisor starts again:
// there is nothing to heal, and the service stays gone.
bool LeavesDead(const Fault& fault);

// Two faults of which one would undo or hide what the other does, were they to act at the same time: what both do. Empty: they
// stack.
std::string FightOverProcess(const Scenario& scenario, const Fault& a, const Fault& b);

// It makes some requests wait, and how long is known only when it is tried.
bool DelaysByChance(const Fault& fault);

}  // namespace squall
