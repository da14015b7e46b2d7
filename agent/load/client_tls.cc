#include "agent/load/client_tls.h"

#include <filesystem>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "base/mint.h"
#include "base/tls.h"

namespace squall {
namespace {

template <typename... Args>
absl::Status Wrong(const Args&... args) {
  ERR_clear_error();
  return absl::InvalidArgumentError(absl::StrCat(args...));
}

// The text, or what the file holds. `what` is the field.
absl::StatusOr<std::string> PemOf(const std::string& text, const std::string& folder, const std::string& what) {
  if (absl::StrContains(text, "-----BEGIN")) return text;
  // A secret that is no PEM must not be told as the name of a file.
  if (text.size() > 4096 || absl::StrContains(text, '\n')) {
    return Wrong("tls.", what, " is neither PEM (-----BEGIN ...) nor the name of a file");
  }
  return ReadPemFile((std::filesystem::path(folder) / text).string(), absl::StrCat("tls.", what));
}

absl::Status UseCas(SSL_CTX* context, const std::string& pem) {
  const std::vector<X509Ptr> roots = ReadCertificates(pem);
  if (roots.empty()) return Wrong("tls.ca holds no certificate (PEM, -----BEGIN CERTIFICATE-----)");
  for (const X509Ptr& root : roots) X509_STORE_add_cert(SSL_CTX_get_cert_store(context), root.get());
  // A CA of its own need not be a root.
  X509_VERIFY_PARAM_set_flags(SSL_CTX_get0_param(context), X509_V_FLAG_PARTIAL_CHAIN);
  return absl::OkStatus();
}

absl::Status UseCertificate(SSL_CTX* context, const std::string& cert, const std::string& key_text) {
  const std::vector<X509Ptr> chain = ReadCertificates(cert);
  if (chain.empty()) return Wrong("tls.cert holds no certificate (PEM, -----BEGIN CERTIFICATE-----)");
  const KeyPtr key = ReadKey(key_text);
  if (key == nullptr) return Wrong("tls.key holds no private key (PEM, without a passphrase)");
  if (X509_check_private_key(chain[0].get(), key.get()) != 1) return Wrong("tls.key does not belong to tls.cert");
  bool good = SSL_CTX_use_certificate(context, chain[0].get()) == 1 && SSL_CTX_use_PrivateKey(context, key.get()) == 1;
  for (size_t i = 1; i < chain.size(); ++i) good = good && SSL_CTX_add1_chain_cert(context, chain[i].get()) == 1;
  return good ? absl::OkStatus() : Wrong("tls.cert cannot be used: ", OpensslError());
}

}  // namespace

absl::StatusOr<SslContextPtr> MakeClientTls(const ClientTls& tls, const std::string& folder, absl::string_view alpn) {
  SslContextPtr context(SSL_CTX_new(TLS_client_method()));
  if (context == nullptr) return absl::ResourceExhaustedError("OpenSSL could not make a context");
  // An agent allows itself nothing older than TLS 1.3; what it tests may.
  SSL_CTX_clear_options(context.get(), SSL_OP_NO_TLSv1_2);
  SSL_CTX_set_min_proto_version(context.get(), TLS1_2_VERSION);
  SSL_CTX_set_max_proto_version(context.get(), TLS1_3_VERSION);
  SSL_CTX_set_verify(context.get(), SSL_VERIFY_PEER, nullptr);
  SSL_CTX_set_mode(context.get(), SSL_MODE_RELEASE_BUFFERS | SSL_MODE_AUTO_RETRY);
  if (!alpn.empty()) {
    const std::string wire = absl::StrCat(std::string(1, static_cast<char>(alpn.size())), alpn);
    SSL_CTX_set_alpn_protos(context.get(), reinterpret_cast<const unsigned char*>(wire.data()), static_cast<unsigned>(wire.size()));
  }
  if (tls.ca().empty()) {
    SSL_CTX_set_default_verify_paths(context.get());
  } else {
    const absl::StatusOr<std::string> pem = PemOf(tls.ca(), folder, "ca");
    if (!pem.ok()) return pem.status();
    if (const absl::Status status = UseCas(context.get(), *pem); !status.ok()) return status;
  }
  if (tls.cert().empty() != tls.key().empty()) return Wrong("tls.cert and tls.key belong together: give both or neither");
  if (!tls.cert().empty()) {
    const absl::StatusOr<std::string> cert = PemOf(tls.cert(), folder, "cert");
    if (!cert.ok()) return cert.status();
    const absl::StatusOr<std::string> key = PemOf(tls.key(), folder, "key");
    if (!key.ok()) return key.status();
    if (const absl::Status status = UseCertificate(context.get(), *cert, *key); !status.ok()) return status;
  }
  ERR_clear_error();
  return context;
}

SslPtr MakeClientSsl(SSL_CTX* context, const std::string& name) {
  SslPtr ssl(SSL_new(context));
  BIO* const in = BIO_new(BIO_s_mem());
  BIO* const out = BIO_new(BIO_s_mem());
  if (ssl == nullptr || in == nullptr || out == nullptr) {
    BIO_free(in);
    BIO_free(out);
    return nullptr;
  }
  SSL_set_bio(ssl.get(), in, out);
  SSL_set_connect_state(ssl.get());
  if (IsAddress(name)) {
    X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl.get()), name.c_str());
  } else {
    SSL_set1_host(ssl.get(), name.c_str());
    SSL_set_tlsext_host_name(ssl.get(), name.c_str());
  }
  return ssl;
}

std::string WhyNotSecured(SSL* ssl, const std::string& name) {
  const long verified = SSL_get_verify_result(ssl);
  if (verified == X509_V_OK) return absl::StrCat("no TLS with the server: ", OpensslError());
  ERR_clear_error();
  if (verified == X509_V_ERR_HOSTNAME_MISMATCH || verified == X509_V_ERR_IP_ADDRESS_MISMATCH) {
    return absl::StrCat("the server's certificate is not for ", name, ": tls.server_name says whom it must be for");
  }
  return absl::StrCat("the server's certificate is not trusted: ", X509_verify_cert_error_string(verified),
                      ": tls.ca names the CA that it is checked against");
}

}  // namespace squall
