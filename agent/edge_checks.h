#pragma once

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "agent/net/address.h"
#include "agent/net/netns.h"
#include "proto/fault.pb.h"
#include "proto/scenario.pb.h"

// What an agent checks of a scenario before it touches anything. All functions are thread-safe.
namespace squall {

// The name of the edge on which the fault acts; empty: on none.
std::string EdgeOfFault(const Fault& fault);
// "latency".
std::string KindOfFault(const Fault& fault);

// The addresses that the edge's `to` writes out, without those of names; the zero address (::) for any host.
std::vector<Address> WrittenAddressesOf(const Edge& edge);

// The service is run by a program that puts what it runs into another network namespace: how things look from there is not known
// before it has started.
bool EntersNamespace(const Service& service);

// A fault must not act on a process through which somebody works with this host or with the run: pid 1, sshd, squall itself, or
// one above or around these; nor may the connections of one be ended (`existing: reset`). FAILED_PRECONDITION names fault or edge,
// and service.
absl::Status CheckTargets(const Scenario& scenario);

// Every edge must lead somewhere: FAILED_PRECONDITION names the edge and the address to which its service's network namespace has
// no route, or which is this agent's own.
absl::Status CheckEdgesLead(const Scenario& scenario);

// Where this agent serves controllers over TCP, if it has no other listeners: to be asked before a run begins.
std::vector<Address> OwnListeners();
// FAILED_PRECONDITION when `address`, as called from `ns`, is one of them.
absl::Status CheckNotOwn(const Edge& edge, const NetNamespace& ns, const Address& address, const std::vector<Address>& own_listeners);

}  // namespace squall
