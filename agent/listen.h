#pragma once

#include <grpcpp/security/server_credentials.h>

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "base/fd.h"
#include "base/tls.h"

namespace squall {

// Where a daemon serves: a unix socket that only this user may use, or TCP with mutual TLS 1.3. Nothing else, the loopback
// included.
struct Listening {
  std::string address;  // of a unix socket, as gRPC takes it
  std::shared_ptr<grpc::ServerCredentials> credentials;
  std::optional<TlsIdentity> identity;  // on TCP, which a Front serves
  std::string as;  // who it is, for people; empty on a unix socket
};

// Checks `listen`, unix:PATH or HOST:PORT, and for the latter the files of `tls`. The error says what to write instead.
absl::StatusOr<Listening> PrepareToListen(const std::string& listen, const TlsPaths& tls);

struct TcpListeners {
  std::vector<Fd> fds;
  int port = 0;
};

// Listens on every address that HOST stands for. Any address of one family, 0.0.0.0 or [::], means any of both, as it does to gRPC.
// Port 0 is one that is free.
absl::StatusOr<TcpListeners> ListenOnTcp(const std::string& listen);

}  // namespace squall
