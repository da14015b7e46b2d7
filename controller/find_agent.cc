#include "controller/find_agent.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netdb.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/string_view.h"
#include "base/fd.h"

namespace squall {
namespace {

constexpr int kPatienceSeconds = 5;
constexpr unsigned char kHttp2[] = {2, 'h', '2'};

absl::Status Unreachable(absl::string_view why) { return absl::UnavailableError(why); }

absl::StatusOr<Fd> Connect(const addrinfo& to) {
  Fd fd(socket(to.ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd) return absl::ErrnoToStatus(errno, "cannot make a socket");
  if (connect(fd.get(), to.ai_addr, to.ai_addrlen) != 0) {
    if (errno != EINPROGRESS) return Unreachable(strerror(errno));
    pollfd ready = {fd.get(), POLLOUT, 0};
    if (poll(&ready, 1, kPatienceSeconds * 1000) != 1) return Unreachable(absl::StrCat("no answer within ", kPatienceSeconds, " s"));
    int error = 0;
    socklen_t size = sizeof(error);
    getsockopt(fd.get(), SOL_SOCKET, SO_ERROR, &error, &size);
    if (error != 0) return Unreachable(error == ECONNREFUSED ? "nothing listens there (connection refused)" : strerror(error));
  }
  fcntl(fd.get(), F_SETFL, 0);
  const timeval patience = {kPatienceSeconds, 0};
  setsockopt(fd.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
  setsockopt(fd.get(), SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
  return fd;
}

absl::StatusOr<SslContextPtr> MakeContext(const TlsIdentity& identity) {
  SslContextPtr context(SSL_CTX_new(TLS_client_method()));
  const bool good = context != nullptr && SSL_CTX_set_min_proto_version(context.get(), TLS1_3_VERSION) == 1 &&
                    SSL_CTX_use_certificate_chain_file(context.get(), identity.paths.cert.c_str()) == 1 &&
                    SSL_CTX_use_PrivateKey_file(context.get(), identity.paths.key.c_str(), SSL_FILETYPE_PEM) == 1 &&
                    SSL_CTX_load_verify_file(context.get(), identity.paths.ca.c_str()) == 1 &&
                    SSL_CTX_set_alpn_protos(context.get(), kHttp2, sizeof(kHttp2)) == 0;
  if (!good) return absl::InternalError(absl::StrCat("cannot use the certificate ", identity.paths.cert, ": ", OpensslError()));
  SSL_CTX_set_verify(context.get(), SSL_VERIFY_PEER, nullptr);
  return context;
}

absl::Status Greet(SSL* ssl, const AgentAt& agent, const TlsIdentity& identity) {
  ERR_clear_error();
  errno = 0;
  if (SSL_connect(ssl) != 1) {
    const long verified = SSL_get_verify_result(ssl);
    if (verified != X509_V_OK) {
      return absl::UnauthenticatedError(
          absl::StrCat("its certificate ", WhyNotTrusted(static_cast<int>(verified), TlsRole::kAgent)));
    }
    return Unreachable(absl::StrCat("what listens there does not speak TLS 1.3 (", OpensslError(), "): is it a squall-agent?"));
  }
  const X509Ptr certificate(SSL_get1_peer_certificate(ssl));
  if (certificate == nullptr || !CarriesName(certificate.get(), agent.name())) {
    return absl::UnauthenticatedError(
        absl::StrCat("its certificate is that of ", absl::StrJoin(CertificateNames(certificate.get()), ", "), ", and not of ",
                     agent.name(), ": is the address right? An agent's certificate must carry its name"));
  }
  // In TLS 1.3 a server refuses a client after the handshake: by hanging up instead of sending its first frame.
  char byte = 0;
  if (SSL_read(ssl, &byte, 1) == 1) return absl::OkStatus();
  if (errno == EAGAIN || errno == EWOULDBLOCK) return Unreachable(absl::StrCat("no answer within ", kPatienceSeconds, " s"));
  return absl::PermissionDeniedError(absl::StrCat(
      "it does not accept our certificate ", identity.paths.cert, ", which must be a controller's, of the CA in its --ca"));
}

std::string GrpcAddress(const addrinfo& to) {
  char host[NI_MAXHOST] = {}, port[NI_MAXSERV] = {};
  getnameinfo(to.ai_addr, to.ai_addrlen, host, sizeof(host), port, sizeof(port), NI_NUMERICHOST | NI_NUMERICSERV);
  return to.ai_family == AF_INET6 ? absl::StrCat("ipv6:[", host, "]:", port) : absl::StrCat("ipv4:", host, ":", port);
}

}  // namespace

absl::StatusOr<std::string> FindAgent(const AgentAt& agent, const TlsIdentity& identity) {
  signal(SIGPIPE, SIG_IGN);  // a peer that hangs up is an answer
  const absl::StatusOr<SslContextPtr> context = MakeContext(identity);
  if (!context.ok()) return context.status();
  const size_t colon = agent.address().rfind(':');
  std::string host = agent.address().substr(0, colon);
  if (host.size() > 1 && host.front() == '[' && host.back() == ']') host = host.substr(1, host.size() - 2);
  addrinfo hints = {};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  const int error = getaddrinfo(host.c_str(), agent.address().substr(colon + 1).c_str(), &hints, &found);
  if (error != 0) return Unreachable(absl::StrCat("the name ", host, " is not known here: ", gai_strerror(error)));
  const std::unique_ptr<addrinfo, FreedBy<freeaddrinfo>> addresses(found);
  absl::Status last;
  for (const addrinfo* to = found; to != nullptr; to = to->ai_next) {
    const absl::StatusOr<Fd> fd = Connect(*to);
    last = fd.status();
    if (!fd.ok()) continue;
    const SslPtr ssl(SSL_new(context->get()));
    SSL_set_fd(ssl.get(), fd->get());
    SSL_set_tlsext_host_name(ssl.get(), agent.name().c_str());
    last = Greet(ssl.get(), agent, identity);
    if (last.ok()) return GrpcAddress(*to);
  }
  return last;
}

}  // namespace squall
