#include "base/tls.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <openssl/conf.h>
#include <openssl/pem.h>
#include <sys/stat.h>

#include <cerrno>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "base/fd.h"

namespace squall {
namespace {

constexpr size_t kMostBytes = 1 << 20;

template <typename... Args>
absl::Status Wrong(const Args&... args) {
  return absl::InvalidArgumentError(absl::StrCat(args...));
}

// Never asks at a terminal.
int NoPassphrase(char*, int, int, void*) { return 0; }

// Others may not read it, and its group may not write it.
absl::Status CheckMode(const std::string& path) {
  struct stat info;
  if (stat(path.c_str(), &info) != 0) return absl::ErrnoToStatus(errno, absl::StrCat("cannot read the key ", path));
  if ((info.st_mode & 0027) == 0) return absl::OkStatus();
  return absl::PermissionDeniedError(absl::StrCat("the key ", path, " is open to others (mode ",
                                                  absl::StrFormat("%04o", info.st_mode & 07777),
                                                  "), who could act in its name: chmod 600 ", path));
}

// OK: certificates[0] is signed by the CA, through the others, for the role, and is valid now.
absl::Status Verify(const std::vector<X509Ptr>& certificates, const std::vector<X509Ptr>& roots, const TlsPaths& paths,
                    TlsRole role) {
  const StorePtr store(X509_STORE_new());
  for (const X509Ptr& root : roots) X509_STORE_add_cert(store.get(), root.get());
  const std::unique_ptr<STACK_OF(X509), FreedBy<[](STACK_OF(X509) * stack) { sk_X509_free(stack); }>> chain(sk_X509_new_null());
  for (size_t i = 1; i < certificates.size(); ++i) sk_X509_push(chain.get(), certificates[i].get());
  const std::unique_ptr<X509_STORE_CTX, FreedBy<X509_STORE_CTX_free>> context(X509_STORE_CTX_new());
  X509_STORE_CTX_init(context.get(), store.get(), certificates[0].get(), chain.get());
  X509_STORE_CTX_set_purpose(context.get(), role == TlsRole::kAgent ? X509_PURPOSE_SSL_SERVER : X509_PURPOSE_SSL_CLIENT);
  const bool good = X509_verify_cert(context.get()) == 1;
  ERR_clear_error();
  if (good) return absl::OkStatus();
  const int error = X509_STORE_CTX_get_error(context.get());
  const bool is_leaf = X509_STORE_CTX_get_error_depth(context.get()) == 0;
  return Wrong("the certificate ", paths.cert, is_leaf ? "" : absl::StrCat(", or rather its CA in ", paths.ca, ","), " ",
               WhyNotTrusted(error, role),
               error == X509_V_ERR_CERT_HAS_EXPIRED && is_leaf
                   ? absl::StrCat(" (it ended on ", absl::FormatTime("%Y-%m-%d", CertificateEnd(certificates[0].get()),
                                                                     absl::UTCTimeZone()), ")")
                   : "");
}

}  // namespace

std::string WhyNotTrusted(int error, TlsRole role) {
  switch (error) {
    case X509_V_ERR_CERT_HAS_EXPIRED:
      return "has expired: issue a new one";
    case X509_V_ERR_CERT_NOT_YET_VALID:
      return "is not valid yet: is the clock of this host right?";
    case X509_V_ERR_INVALID_PURPOSE:
      return role == TlsRole::kAgent
                 ? "is not one of an agent (extended key usage serverAuth): issue it with squall certs issue DIR NAME"
                 : "is not one of a controller (extended key usage clientAuth): issue it with "
                   "squall certs issue DIR NAME --controller";
    case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
    case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
    case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
    case X509_V_ERR_CERT_SIGNATURE_FAILURE:
      return absl::StrCat("is not signed by the CA that is trusted here (", X509_verify_cert_error_string(error),
                          "): both sides need certificates of the same CA");
    default:
      return absl::StrCat("is not trusted: ", X509_verify_cert_error_string(error));
  }
}

std::vector<X509Ptr> ReadCertificates(const std::string& pem) {
  std::vector<X509Ptr> certificates;
  const BioPtr bio = BioOf(pem);
  while (X509* next = PEM_read_bio_X509(bio.get(), nullptr, &NoPassphrase, nullptr)) certificates.emplace_back(next);
  ERR_clear_error();
  return certificates;
}

X509Ptr ReadCertificate(const std::string& pem) {
  std::vector<X509Ptr> all = ReadCertificates(pem);
  return all.empty() ? nullptr : std::move(all[0]);
}

KeyPtr ReadKey(const std::string& pem) {
  KeyPtr key(PEM_read_bio_PrivateKey(BioOf(pem).get(), nullptr, &NoPassphrase, nullptr));
  ERR_clear_error();
  return key;
}

absl::StatusOr<std::string> ReadPemFile(const std::string& path, const std::string& what) {
  const Fd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd) return absl::ErrnoToStatus(errno, absl::StrCat("cannot read the ", what, " ", path));
  std::string text(kMostBytes, '\0');
  size_t size = 0;
  while (size < text.size()) {
    const ssize_t got = read(fd.get(), text.data() + size, text.size() - size);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return absl::ErrnoToStatus(errno, absl::StrCat("cannot read the ", what, " ", path));
    if (got == 0) break;
    size += static_cast<size_t>(got);
  }
  text.resize(size);
  return text;
}

std::vector<std::string> CertificateNames(X509* certificate) {
  std::vector<std::string> names;
  const std::unique_ptr<GENERAL_NAMES, FreedBy<GENERAL_NAMES_free>> alternatives(
      static_cast<GENERAL_NAMES*>(X509_get_ext_d2i(certificate, NID_subject_alt_name, nullptr, nullptr)));
  for (int i = 0; alternatives != nullptr && i < sk_GENERAL_NAME_num(alternatives.get()); ++i) {
    const GENERAL_NAME* name = sk_GENERAL_NAME_value(alternatives.get(), i);
    if (name->type == GEN_DNS) {
      names.emplace_back(reinterpret_cast<const char*>(ASN1_STRING_get0_data(name->d.dNSName)),
                         static_cast<size_t>(ASN1_STRING_length(name->d.dNSName)));
    } else if (name->type == GEN_IPADD) {
      char text[INET6_ADDRSTRLEN] = {};
      const int family = ASN1_STRING_length(name->d.iPAddress) == 4 ? AF_INET : AF_INET6;
      inet_ntop(family, ASN1_STRING_get0_data(name->d.iPAddress), text, sizeof(text));
      names.emplace_back(text);
    }
  }
  if (!names.empty()) return names;
  char common[256] = {};
  if (X509_NAME_get_text_by_NID(X509_get_subject_name(certificate), NID_commonName, common, sizeof(common)) > 0) {
    names.emplace_back(common);
  }
  return names;
}

bool CarriesName(X509* certificate, const std::string& name) {
  return X509_check_host(certificate, name.data(), name.size(), 0, nullptr) == 1 ||
         X509_check_ip_asc(certificate, name.c_str(), 0) == 1;
}

absl::Time CertificateEnd(const X509* certificate) {
  tm end = {};
  ASN1_TIME_to_tm(X509_get0_notAfter(certificate), &end);
  return absl::FromTM(end, absl::UTCTimeZone());
}

absl::StatusOr<TlsIdentity> LoadTlsIdentity(const TlsPaths& paths, TlsRole role) {
  TlsIdentity identity;
  identity.paths = paths;
  for (const auto& [path, what, text] : {std::tuple(paths.cert, "certificate", &identity.cert),
                                         std::tuple(paths.key, "key", &identity.key),
                                         std::tuple(paths.ca, "CA's certificate", &identity.ca)}) {
    absl::StatusOr<std::string> read = ReadPemFile(path, what);
    if (!read.ok()) return read.status();
    *text = *std::move(read);
  }
  const absl::Status mode = CheckMode(paths.key);
  if (!mode.ok()) return mode;
  const std::vector<X509Ptr> certificates = ReadCertificates(identity.cert);
  if (certificates.empty()) return Wrong(paths.cert, " holds no certificate (PEM, -----BEGIN CERTIFICATE-----)");
  const std::vector<X509Ptr> roots = ReadCertificates(identity.ca);
  if (roots.empty()) return Wrong(paths.ca, " holds no certificate (PEM, -----BEGIN CERTIFICATE-----)");
  const KeyPtr key = ReadKey(identity.key);
  if (key == nullptr) return Wrong(paths.key, " holds no private key (PEM, without a passphrase)");
  if (X509_check_private_key(certificates[0].get(), key.get()) != 1) {
    ERR_clear_error();
    return Wrong("the key ", paths.key, " does not belong to the certificate ", paths.cert);
  }
  const absl::Status trusted = Verify(certificates, roots, paths, role);
  if (!trusted.ok()) return trusted;
  identity.names = CertificateNames(certificates[0].get());
  identity.until = CertificateEnd(certificates[0].get());
  return identity;
}

absl::Status AllowOnlyTls13() {
  OPENSSL_init_ssl(0, nullptr);  // reads the system's own file first, so that it does not come later
  static const std::string& config = *new std::string(
      "openssl_conf = squall\n"
      "[squall]\n"
      "ssl_conf = contexts\n"
      "[contexts]\n"
      "system_default = only_tls13\n"
      "[only_tls13]\n"
      "Protocol = -ALL, TLSv1.3\n");
  const std::unique_ptr<CONF, FreedBy<NCONF_free>> parsed(NCONF_new(nullptr));
  long line = 0;
  if (NCONF_load_bio(parsed.get(), BioOf(config).get(), &line) != 1 || CONF_modules_load(parsed.get(), nullptr, 0) != 1) {
    return absl::InternalError(absl::StrCat("OpenSSL does not take its settings: ", OpensslError()));
  }
  const SslContextPtr context(SSL_CTX_new(TLS_method()));
  constexpr uint64_t kOlder = SSL_OP_NO_TLSv1 | SSL_OP_NO_TLSv1_1 | SSL_OP_NO_TLSv1_2;
  if (context == nullptr || (SSL_CTX_get_options(context.get()) & kOlder) != kOlder) {
    return absl::InternalError("OpenSSL would still speak TLS 1.2, which is not served");
  }
  return absl::OkStatus();
}

}  // namespace squall
