#include "agent/listen.h"

#include <sys/stat.h>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"

namespace squall {
namespace {

template <typename... Args>
absl::Status Wrong(const Args&... args) {
  return absl::InvalidArgumentError(absl::StrCat(args...));
}

absl::StatusOr<Listening> OnUnixSocket(const std::string& listen, const std::string& path) {
  struct stat there;
  if (path.empty()) return Wrong("unix: needs a path");
  if (stat(path.c_str(), &there) == 0) {
    return Wrong("'", path, "' is there already: another agent serves it, or remove it");
  }
  return Listening{listen, grpc::InsecureServerCredentials(), ""};
}

bool IsHostAndPort(absl::string_view listen) {
  const size_t colon = listen.rfind(':');
  int port = 0;
  return colon != absl::string_view::npos && colon > 0 && absl::SimpleAtoi(listen.substr(colon + 1), &port) && port >= 0 &&
         port <= 65535 && (listen.find(':') == colon || (listen[0] == '[' && listen[colon - 1] == ']'));
}

}  // namespace

absl::StatusOr<Listening> PrepareToListen(const std::string& listen, const TlsPaths& tls) {
  const bool any = !tls.cert.empty() || !tls.key.empty() || !tls.ca.empty();
  absl::string_view path = listen;
  if (absl::ConsumePrefix(&path, "unix:")) {
    if (any) return Wrong("--cert, --key and --ca go with --listen=HOST:PORT; a unix socket needs none");
    return OnUnixSocket(listen, std::string(path));
  }
  if (tls.cert.empty() || tls.key.empty() || tls.ca.empty()) {
    return Wrong("'", listen, "': without --cert, --key and --ca, TCP is refused: anybody who reaches the port could inject "
                 "faults. squall certs makes them, or listen on unix:PATH");
  }
  if (!IsHostAndPort(listen)) {
    return Wrong("'", listen, "' is neither unix:PATH nor HOST:PORT; an IPv6 address stands in brackets");
  }
  const absl::StatusOr<TlsIdentity> identity = LoadTlsIdentity(tls, TlsRole::kAgent);
  if (!identity.ok()) return identity.status();
  const absl::Status modern = AllowOnlyTls13();
  if (!modern.ok()) return modern;
  grpc::SslServerCredentialsOptions options(GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY);
  options.pem_root_certs = identity->ca;
  options.pem_key_cert_pairs.push_back({identity->key, identity->cert});
  return Listening{listen, grpc::SslServerCredentials(options),
                   absl::StrCat(absl::StrJoin(identity->names, ", "), ", with a certificate until ",
                                absl::FormatTime("%Y-%m-%d", identity->until, absl::UTCTimeZone()))};
}

}  // namespace squall
