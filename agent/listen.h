#pragma once

#include <grpcpp/security/server_credentials.h>

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "base/tls.h"

namespace squall {

// Where a daemon serves: a unix socket that only this user may use, or TCP with mutual TLS 1.3. Nothing else, the loopback
// included.
struct Listening {
  std::string address;  // as gRPC takes it
  std::shared_ptr<grpc::ServerCredentials> credentials;
  std::string as;  // who it is, for people; empty on a unix socket
};

// Checks `listen`, unix:PATH or HOST:PORT, and for the latter the files of `tls`. The error says what to write instead.
absl::StatusOr<Listening> PrepareToListen(const std::string& listen, const TlsPaths& tls);

}  // namespace squall
