#pragma once

#include <string>

#include "absl/time/time.h"
#include "controller/fault_group.h"
#include "proto/scenario.pb.h"

// What check, plan and judges must know of faults on edges. Pure functions.
namespace squall {

// What makes the fault.
enum class Means {
  kRelay,        // our relay, with or without privileges
  kHook,         // the connect hook; without privileges the relay
  kPackets,      // the packet hook; for some without privileges the relay
  kPacketQueue,  // the packet queue
  kRelayAndQueue,  // the relay, and the packet queue for what does not go through it
};

Means MeansOf(const Fault& fault);

// The edge's name; empty: none.
std::string EdgeOfFault(const Fault& fault);

// It has `relay_at`; it has datagrams. False for nullptr.
bool IsUnprivileged(const Edge* edge);
bool IsUdp(const Edge* edge);

// "127.0.0.1:9090", or several joined by commas.
std::string EdgeAddress(const Edge& edge);

// "500 ms on every response over recommend".
std::string DescribeNetworkFault(const Fault& fault);

Mechanism NetworkMechanism(const Scenario& scenario, const Fault& fault);

// How the edge's traffic is reached.
std::string EdgeMechanism(const Edge& edge);

// How long the fault makes calls wait at the least; zero: not for certain at all. With a ramp: where it makes them wait longest.
absl::Duration LeastWait(const Fault& fault);

// Calls no longer arrive while it acts, whatever the service does: that they are gone proves nothing of a breaker.
bool HidesCalls(const Fault& fault);

// Two faults of which one would undo or hide what the other does on the same edge, were they to act at the same time: the same
// kind twice, or an edge or a service that is cut off and anything else. Empty: they stack.
std::string FightOver(const Scenario& scenario, const Fault& a, const Fault& b);

}  // namespace squall
