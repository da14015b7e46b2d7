#include "base/mint.h"

#include <arpa/inet.h>
#include <openssl/bn.h>
#include <openssl/ec.h>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/time/clock.h"

namespace squall {
namespace {

constexpr int kX509Version3 = 2;
constexpr int kSerialBits = 159;  // RFC 5280: at most 20 octets, positive

absl::Status Failed(const std::string& what) {
  return absl::InternalError(absl::StrCat("cannot make ", what, ": ", OpensslError()));
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
X509Ptr Begin(const std::string& common_name, EVP_PKEY* key, absl::Time from, absl::Time until) {
  X509Ptr certificate(X509_new());
  const std::unique_ptr<BIGNUM, FreedBy<BN_free>> serial(BN_new());
  X509_NAME* subject = X509_get_subject_name(certificate.get());
  const auto* text = reinterpret_cast<const unsigned char*>(common_name.c_str());
  const bool good =
      X509_set_version(certificate.get(), kX509Version3) == 1 &&
      BN_rand(serial.get(), kSerialBits, BN_RAND_TOP_ANY, BN_RAND_BOTTOM_ANY) == 1 &&
      BN_to_ASN1_INTEGER(serial.get(), X509_get_serialNumber(certificate.get())) != nullptr &&
      ASN1_TIME_set(X509_getm_notBefore(certificate.get()), absl::ToTimeT(from)) != nullptr &&
      ASN1_TIME_set(X509_getm_notAfter(certificate.get()), absl::ToTimeT(until)) != nullptr &&
      X509_NAME_add_entry_by_NID(subject, NID_commonName, MBSTRING_UTF8, text, -1, -1, 0) == 1 &&
      X509_set_pubkey(certificate.get(), key) == 1;
  return good ? std::move(certificate) : nullptr;
}

// Ed25519 and its like hash by themselves.
const EVP_MD* DigestFor(EVP_PKEY* key) {
  return EVP_PKEY_is_a(key, "ED25519") == 1 || EVP_PKEY_is_a(key, "ED448") == 1 ? nullptr : EVP_sha256();
}

}  // namespace

KeyPtr MintKey() { return KeyPtr(EVP_EC_gen("P-256")); }

absl::StatusOr<X509Ptr> MintCa(const std::string& common_name, EVP_PKEY* key, absl::Time until) {
  X509Ptr ca = Begin(common_name, key, absl::Now() - kDatedBack, until);
  if (ca == nullptr || X509_set_issuer_name(ca.get(), X509_get_subject_name(ca.get())) != 1 ||
      !AddExtension(ca.get(), ca.get(), NID_basic_constraints, "critical,CA:TRUE,pathlen:0") ||
      !AddExtension(ca.get(), ca.get(), NID_key_usage, "critical,keyCertSign,cRLSign") ||
      !AddExtension(ca.get(), ca.get(), NID_subject_key_identifier, "hash") ||
      X509_sign(ca.get(), key, DigestFor(key)) == 0) {
    return Failed("the CA");
  }
  return ca;
}

absl::StatusOr<X509Ptr> MintCertificate(const CertificateSpec& spec, EVP_PKEY* key, X509* ca, EVP_PKEY* ca_key) {
  const std::string alternatives = absl::StrJoin(spec.names, ",", [](std::string* out, const std::string& name) {
    absl::StrAppend(out, IsAddress(name) ? "IP:" : "DNS:", name);
  });
  X509Ptr leaf = Begin(spec.common_name, key, spec.from, spec.until);
  if (leaf == nullptr || X509_set_issuer_name(leaf.get(), X509_get_subject_name(ca)) != 1 ||
      !AddExtension(leaf.get(), ca, NID_basic_constraints, "critical,CA:FALSE") ||
      !AddExtension(leaf.get(), ca, NID_key_usage, "critical,digitalSignature") ||
      !AddExtension(leaf.get(), ca, NID_ext_key_usage, spec.usage) ||
      !AddExtension(leaf.get(), ca, NID_subject_alt_name, alternatives) ||
      !AddExtension(leaf.get(), ca, NID_subject_key_identifier, "hash") ||
      // Where the CA names its key; some old ones do not.
      !AddExtension(leaf.get(), ca, NID_authority_key_identifier, "keyid") ||
      X509_sign(leaf.get(), ca_key, DigestFor(ca_key)) == 0) {
    return Failed("the certificate");
  }
  return leaf;
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

}  // namespace squall
