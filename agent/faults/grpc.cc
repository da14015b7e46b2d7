// grpc: gRPC calls are answered by squall, late or both.
//
// What and to whom: calls over HTTP/2 with prior knowledge that cross one edge, through its relay, and match: the
//   share that the seed picks is held back, and answered in the dependency's place where the fault says with what. What is
//   answered never reaches the dependency. A request that had begun when the fault was set passes, and so does what is encrypted.
// Proof: calls hit, the share of the matching ones that they are, and the delay that was measured on them.
// Undo while the agent lives: what is held back goes to the dependency at once.
// Undo when the agent was killed: the redirection is made of BPF links, which die with it; the relay's connections are reset.

#include "agent/faults/relay_fault.h"

namespace squall {

std::unique_ptr<ActiveFault> MakeGrpc(const GrpcFault& grpc, const FaultContext& context) {
  Fault fault;
  *fault.mutable_grpc() = grpc;
  return std::make_unique<RelayFault>(grpc.edge(), fault, context);
}

}  // namespace squall
