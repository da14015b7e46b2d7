#include "controller/certs.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <openssl/bn.h>
#include <openssl/ec.h>
#include <openssl/pem.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "base/fd.h"

namespace squall {
namespace {

constexpr absl::Duration kCaLife = absl::Hours(24 * 3650);
constexpr absl::Duration kLeafLife = absl::Hours(24 * 365);
// What clocks of hosts may differ by.
constexpr absl::Duration kEarlier = absl::Minutes(5);
constexpr int kX509Version3 = 2;
constexpr int kSerialBits = 159;  // RFC 5280: at most 20 octets, positive

absl::Status Failed(const std::string& what) {
  return absl::InternalError(absl::StrCat("cannot make ", what, ": ", OpensslError()));
}

// A file name, a DNS name and a YAML key at once.
bool IsName(const std::string& name) {
  if (name.empty() || name.size() > 63 || !absl::ascii_isalnum(static_cast<unsigned char>(name[0]))) return false;
  for (const char c : name) {
    if (!absl::ascii_isalnum(static_cast<unsigned char>(c)) && c != '-' && c != '_' && c != '.') return false;
  }
  return true;
}

bool IsAddress(const std::string& host) {
  unsigned char bytes[sizeof(in6_addr)];
  return inet_pton(AF_INET, host.c_str(), bytes) == 1 || inet_pton(AF_INET6, host.c_str(), bytes) == 1;
}

bool IsHostName(const std::string& host) {
  if (host.empty() || host.size() > 253) return false;
  for (const char c : host) {
    if (!absl::ascii_isalnum(static_cast<unsigned char>(c)) && c != '-' && c != '_' && c != '.') return false;
  }
  return true;
}

// A new file of its own with this text.
absl::Status WriteNew(const std::string& path, const std::string& text, mode_t mode) {
  const Fd fd(open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode));
  if (!fd && errno == EEXIST) {
    return absl::AlreadyExistsError(absl::StrCat(path, " is there already, and nothing is overwritten: move it away first"));
  }
  if (!fd) return absl::ErrnoToStatus(errno, absl::StrCat("cannot write ", path));
  if (fchmod(fd.get(), mode) == 0 && write(fd.get(), text.data(), text.size()) == static_cast<ssize_t>(text.size())) {
    return absl::OkStatus();
  }
  const int error = errno;
  unlink(path.c_str());
  return absl::ErrnoToStatus(error, absl::StrCat("cannot write ", path));
}

std::string TextOf(BIO* bio) {
  char* data = nullptr;
  const long size = BIO_get_mem_data(bio, &data);
  return std::string(data, static_cast<size_t>(size));
}

// Both or neither.
absl::Status WriteBoth(const MadeCertificate& files, X509* certificate, EVP_PKEY* key) {
  const BioPtr cert_text(BIO_new(BIO_s_mem())), key_text(BIO_new(BIO_s_mem()));
  if (PEM_write_bio_X509(cert_text.get(), certificate) != 1 ||
      PEM_write_bio_PrivateKey(key_text.get(), key, nullptr, nullptr, 0, nullptr, nullptr) != 1) {
    return Failed("PEM files");
  }
  absl::Status status = WriteNew(files.key, TextOf(key_text.get()), 0600);
  if (!status.ok()) return status;
  status = WriteNew(files.cert, TextOf(cert_text.get()), 0644);
  if (!status.ok()) unlink(files.key.c_str());
  return status;
}

bool AddExtension(X509* certificate, X509* issuer, int kind, const std::string& value) {
  X509V3_CTX context;
  X509V3_set_ctx_nodb(&context);
  X509V3_set_ctx(&context, issuer, certificate, nullptr, nullptr, 0);
  const std::unique_ptr<X509_EXTENSION, FreedBy<X509_EXTENSION_free>> extension(
      X509V3_EXT_conf_nid(nullptr, &context, kind, value.c_str()));
  return extension != nullptr && X509_add_ext(certificate, extension.get(), -1) == 1;
}

// A certificate with what all have; extensions, issuer and signature are still missing.
X509Ptr Begin(const std::string& common_name, EVP_PKEY* key, absl::Time until) {
  X509Ptr certificate(X509_new());
  const std::unique_ptr<BIGNUM, FreedBy<BN_free>> serial(BN_new());
  X509_NAME* subject = X509_get_subject_name(certificate.get());
  const auto* text = reinterpret_cast<const unsigned char*>(common_name.c_str());
  const bool good =
      X509_set_version(certificate.get(), kX509Version3) == 1 &&
      BN_rand(serial.get(), kSerialBits, BN_RAND_TOP_ANY, BN_RAND_BOTTOM_ANY) == 1 &&
      BN_to_ASN1_INTEGER(serial.get(), X509_get_serialNumber(certificate.get())) != nullptr &&
      ASN1_TIME_set(X509_getm_notBefore(certificate.get()), absl::ToTimeT(absl::Now() - kEarlier)) != nullptr &&
      ASN1_TIME_set(X509_getm_notAfter(certificate.get()), absl::ToTimeT(until)) != nullptr &&
      X509_NAME_add_entry_by_NID(subject, NID_commonName, MBSTRING_UTF8, text, -1, -1, 0) == 1 &&
      X509_set_pubkey(certificate.get(), key) == 1;
  return good ? std::move(certificate) : nullptr;
}

}  // namespace

absl::StatusOr<MadeCertificate> MakeCa(const std::string& folder) {
  std::error_code error;
  if (std::filesystem::create_directories(folder, error)) {
    std::filesystem::permissions(folder, std::filesystem::perms::owner_all, error);
  }
  if (error) return absl::PermissionDeniedError(absl::StrCat("cannot make the folder ", folder, ": ", error.message()));
  const MadeCertificate made = {absl::StrCat(folder, "/ca.crt"), absl::StrCat(folder, "/ca.key"), absl::Now() + kCaLife};
  const KeyPtr key(EVP_EC_gen("P-256"));
  if (key == nullptr) return Failed("a key");
  const X509Ptr ca = Begin("squall CA", key.get(), made.until);
  if (ca == nullptr || X509_set_issuer_name(ca.get(), X509_get_subject_name(ca.get())) != 1 ||
      !AddExtension(ca.get(), ca.get(), NID_basic_constraints, "critical,CA:TRUE,pathlen:0") ||
      !AddExtension(ca.get(), ca.get(), NID_key_usage, "critical,keyCertSign,cRLSign") ||
      !AddExtension(ca.get(), ca.get(), NID_subject_key_identifier, "hash") ||
      X509_sign(ca.get(), key.get(), EVP_sha256()) == 0) {
    return Failed("the CA");
  }
  const absl::Status written = WriteBoth(made, ca.get(), key.get());
  if (!written.ok()) return written;
  return made;
}

absl::StatusOr<MadeCertificate> IssueCertificate(const std::string& folder, const std::string& name,
                                                 const std::vector<std::string>& hosts, TlsRole role) {
  if (!IsName(name) || name == "ca") {
    return absl::InvalidArgumentError(absl::StrCat(
        "'", name, "' is no name for a certificate: write 1 to 63 letters, digits, '-', '_' and '.', starting with a letter "
        "or digit, and not ca"));
  }
  std::string alternatives = absl::StrCat("DNS:", name);
  for (const std::string& host : hosts) {
    if (!IsAddress(host) && !IsHostName(host)) {
      return absl::InvalidArgumentError(
          absl::StrCat("'", host, "' is neither a host name nor an address: write --host=shop-1.example or --host=10.0.0.1"));
    }
    absl::StrAppend(&alternatives, IsAddress(host) ? ",IP:" : ",DNS:", host);
  }
  const absl::StatusOr<std::string> ca_cert = ReadPemFile(absl::StrCat(folder, "/ca.crt"), "CA's certificate");
  if (!ca_cert.ok()) {
    return absl::Status(ca_cert.status().code(),
                        absl::StrCat(ca_cert.status().message(), "; make a CA first: squall certs init ", folder));
  }
  const absl::StatusOr<std::string> ca_key = ReadPemFile(absl::StrCat(folder, "/ca.key"), "CA's key");
  if (!ca_key.ok()) return ca_key.status();
  const X509Ptr ca = ReadCertificate(*ca_cert);
  const KeyPtr signer = ReadKey(*ca_key);
  if (ca == nullptr || signer == nullptr || X509_check_private_key(ca.get(), signer.get()) != 1) {
    return absl::FailedPreconditionError(absl::StrCat(folder, "/ca.crt and ca.key are not a CA's certificate and its key"));
  }
  const MadeCertificate made = {absl::StrCat(folder, "/", name, ".crt"), absl::StrCat(folder, "/", name, ".key"),
                                std::min(absl::Now() + kLeafLife, CertificateEnd(ca.get()))};
  const KeyPtr key(EVP_EC_gen("P-256"));
  if (key == nullptr) return Failed("a key");
  const X509Ptr leaf = Begin(name, key.get(), made.until);
  if (leaf == nullptr || X509_set_issuer_name(leaf.get(), X509_get_subject_name(ca.get())) != 1 ||
      !AddExtension(leaf.get(), ca.get(), NID_basic_constraints, "critical,CA:FALSE") ||
      !AddExtension(leaf.get(), ca.get(), NID_key_usage, "critical,digitalSignature") ||
      !AddExtension(leaf.get(), ca.get(), NID_ext_key_usage, role == TlsRole::kAgent ? "serverAuth" : "clientAuth") ||
      !AddExtension(leaf.get(), ca.get(), NID_subject_alt_name, alternatives) ||
      !AddExtension(leaf.get(), ca.get(), NID_subject_key_identifier, "hash") ||
      !AddExtension(leaf.get(), ca.get(), NID_authority_key_identifier, "keyid:always") ||
      X509_sign(leaf.get(), signer.get(), EVP_sha256()) == 0) {
    return Failed("the certificate");
  }
  const absl::Status written = WriteBoth(made, leaf.get(), key.get());
  if (!written.ok()) return written;
  return made;
}

}  // namespace squall
