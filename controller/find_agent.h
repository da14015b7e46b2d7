#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "base/tls.h"
#include "proto/scenario.pb.h"

namespace squall {

// Connects to the agent once and says in words what is wrong: nobody listens, no TLS 1.3, a certificate of another CA or of
// another agent, or ours is not accepted there. Returns the address that answered, as gRPC takes it: "ipv4:10.0.0.1:7447".
// Takes up to ten seconds. What it finds is for people: gRPC checks the certificates of its own connections itself.
absl::StatusOr<std::string> FindAgent(const AgentAt& agent, const TlsIdentity& identity);

}  // namespace squall
