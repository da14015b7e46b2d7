// The TLS of a load's connections.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "base/openssl.h"
#include "proto/scenario.pb.h"

namespace squall {

// A context for clients that always check the server's certificate, and speak TLS 1.2 or 1.3. Files are relative to `folder`. `alpn`: the
// protocol to ask for ("h2"), or empty. INVALID_ARGUMENT, or what reading a file says, tells which part is wrong, never what is in it.
absl::StatusOr<SslContextPtr> MakeClientTls(const ClientTls& tls, const std::string& folder, absl::string_view alpn);

// A connection of that context to a server that must be `name`: a host name, which is also asked for (SNI), or an address.
// Reads and writes memory. Null when memory is short.
SslPtr MakeClientSsl(SSL_CTX* context, const std::string& name);

// Why a handshake failed, after SSL_do_handshake or SSL_read has: in words, and what to do.
std::string WhyNotSecured(SSL* ssl, const std::string& name);

}  // namespace squall
