#include "agent/net/tls_certificates.h"

#include <arpa/inet.h>

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "base/tls.h"

namespace squall {
namespace {

constexpr size_t kMostKept = 256;
constexpr size_t kLongestCommonName = 64;
constexpr absl::Duration kLife = absl::Hours(24);
// Reserved by RFC 2606: nobody can be called this.
constexpr char kOtherName[] = "another-name.invalid";

std::string Join(const std::string& folder, const std::string& path) {
  return path[0] == '/' ? path : absl::StrCat(folder, "/", path);
}

std::string AddressText(const Address& address) {
  char text[INET6_ADDRSTRLEN] = {};
  inet_ntop(address.Family(), address.IsV4() ? &address.ip.s6_addr[12] : address.ip.s6_addr, text, sizeof(text));
  return text;
}

struct Ca {
  X509Ptr certificate;
  KeyPtr key;
};

absl::StatusOr<Ca> ReadCa(const std::string& cert_path, const std::string& key_path) {
  const absl::StatusOr<std::string> cert = ReadPemFile(cert_path, "CA's certificate");
  if (!cert.ok()) return cert.status();
  const absl::StatusOr<std::string> key = ReadPemFile(key_path, "CA's key");
  if (!key.ok()) return key.status();
  Ca ca = {ReadCertificate(*cert), ReadKey(*key)};
  if (ca.certificate == nullptr) {
    return absl::FailedPreconditionError(absl::StrCat(cert_path, " holds no certificate (PEM, -----BEGIN CERTIFICATE-----)"));
  }
  if (ca.key == nullptr) {
    return absl::FailedPreconditionError(absl::StrCat(key_path, " holds no private key (PEM, without a passphrase)"));
  }
  if (X509_check_private_key(ca.certificate.get(), ca.key.get()) != 1) {
    ERR_clear_error();
    return absl::FailedPreconditionError(
        absl::StrCat("the key ", key_path, " does not belong to the certificate ", cert_path));
  }
  if (X509_check_ca(ca.certificate.get()) == 0) {
    return absl::FailedPreconditionError(absl::StrCat(
        "the certificate ", cert_path, " is not one of a CA, which clients would refuse it for; name the CA that signed it"));
  }
  if (X509_cmp_current_time(X509_get0_notAfter(ca.certificate.get())) < 0 ||
      X509_cmp_current_time(X509_get0_notBefore(ca.certificate.get())) > 0) {
    return absl::FailedPreconditionError(
        absl::StrCat("the CA ", cert_path, " is not valid now, and clients would refuse every certificate for that"));
  }
  return ca;
}

}  // namespace

absl::StatusOr<std::unique_ptr<TlsCertificates>> TlsCertificates::Make(const TlsFault& fault, const std::string& folder) {
  auto made = std::unique_ptr<TlsCertificates>(new TlsCertificates());
  made->how_ = fault.how();
  made->server_name_ = fault.server_name();
  made->key_ = MintKey();
  if (made->key_ == nullptr) return absl::InternalError(absl::StrCat("cannot make a key: ", OpensslError()));
  if (fault.ca_cert().empty() != fault.ca_key().empty()) {
    return absl::InvalidArgumentError("ca_cert and ca_key are needed both, or neither");
  }
  // What is to be refused for its CA is not signed by one that is known.
  if (!fault.ca_cert().empty() && fault.how() != TlsFault::HOW_UNTRUSTED) {
    absl::StatusOr<Ca> ca = ReadCa(Join(folder, fault.ca_cert()), Join(folder, fault.ca_key()));
    if (!ca.ok()) return ca.status();
    made->ca_ = std::move(ca->certificate);
    made->ca_key_ = std::move(ca->key);
    if (X509_check_issued(made->ca_.get(), made->ca_.get()) != X509_V_OK) made->between_ = made->ca_.get();
  } else {
    made->ca_key_ = MintKey();
    if (made->ca_key_ == nullptr) return absl::InternalError(absl::StrCat("cannot make a key: ", OpensslError()));
    absl::StatusOr<X509Ptr> ca = MintCa("squall: a CA that nobody knows", made->ca_key_.get(), absl::Now() + kLife);
    if (!ca.ok()) return ca.status();
    made->ca_ = *std::move(ca);
  }
  // So that what cannot be minted is known at injection.
  const absl::StatusOr<X509*> first = made->For("", Address());
  if (!first.ok()) return first.status();
  return made;
}

absl::StatusOr<X509*> TlsCertificates::For(const std::string& asked, const Address& called) {
  std::string name = !server_name_.empty() ? server_name_ : IsHostName(asked) ? asked : AddressText(called);
  if (how_ == TlsFault::HOW_WRONG_NAME) name = kOtherName;
  const auto kept = made_.find(name);
  if (kept != made_.end()) return kept->second.get();
  CertificateSpec spec;
  spec.common_name = name.size() <= kLongestCommonName ? name : "squall";
  spec.names = {name};
  spec.usage = "serverAuth";
  const absl::Time now = absl::Now();
  spec.from = now - (how_ == TlsFault::HOW_EXPIRED ? 2 * kLife : kDatedBack);
  spec.until = how_ == TlsFault::HOW_EXPIRED ? now - kLife : std::min(now + kLife, CertificateEnd(ca_.get()));
  absl::StatusOr<X509Ptr> minted = MintCertificate(spec, key_.get(), ca_.get(), ca_key_.get());
  if (!minted.ok()) return minted.status();
  X509Ptr& place = made_.size() < kMostKept ? made_[name] : last_;
  place = *std::move(minted);
  return place.get();
}

}  // namespace squall
