#pragma once

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "agent/net/address.h"
#include "base/fd.h"
#include "proto/fault.pb.h"
#include "proto/timeline.pb.h"

namespace squall {

// Answers the ClientHello of connections in place of the dependency, on a thread of its own, so that the handshake fails as a
// tls fault wants it, and counts how each client answered:
//   the name of its alert ("unknown_ca", "certificate_expired", ...), "closed" or "reset" without one;
//   "completed": it went through with the handshake, and then sent something or waited;
//   "closed_unused": it went through with it and hung up at once, without a byte. Some check the name only then, curl among them;
//   "protocol_version": also where it offers no version that old, and the alert is ours;
//   "no_common_cipher", "malformed": there was nothing to agree on;
//   "no_hello": it left, or said nothing, before anything was shown to it; "not_tls": it began with something else, and was reset;
//   "turned_away": too many were open, and it was reset;
//   "timeout": it did not answer in time; "unfinished": it was cut by Stop.
// Before the handshake, the request for TLS of a PostgreSQL client is granted.
//
// Thread-safe.
class TlsSpoiler {
 public:
  // Reads and checks what the fault needs; paths are relative to `folder`. The error says what is wrong, and nothing is running.
  static absl::StatusOr<std::unique_ptr<TlsSpoiler>> Start(const TlsFault& fault, const std::string& folder);
  ~TlsSpoiler();  // stops

  // Takes over an accepted connection of a client that called `called`. Does not wait.
  void Take(Fd connection, const Address& called);
  // Resets the connections that it holds, and takes no more: they are reset too. Idempotent.
  void Stop();

  // Connections to which what is wrong was shown, and the answers of all.
  Evidence Seen() const;

 private:
  class Loop;
  explicit TlsSpoiler(std::unique_ptr<Loop> loop);
  const std::unique_ptr<Loop> loop_;
};

}  // namespace squall
