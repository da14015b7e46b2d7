#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "base/openssl.h"

// Makes X.509 certificates in memory. Thread-safe.
namespace squall {

// A new key, EC P-256; null: OpenSSL could not.
KeyPtr MintKey();

// A CA of one level that signs itself with `key`, valid from a little before now.
absl::StatusOr<X509Ptr> MintCa(const std::string& common_name, EVP_PKEY* key, absl::Time until);

struct CertificateSpec {
  std::string common_name;         // at most 64 bytes
  std::vector<std::string> names;  // host names and addresses that it is for, as IsHostName and IsAddress have them
  std::string usage;               // "serverAuth" or "clientAuth"
  absl::Time from, until;
};

// Of the key `key`, signed by `ca` with `ca_key`.
absl::StatusOr<X509Ptr> MintCertificate(const CertificateSpec& spec, EVP_PKEY* key, X509* ca, EVP_PKEY* ca_key);

// What a certificate is dated back by, since the clocks of hosts differ.
inline constexpr absl::Duration kDatedBack = absl::Minutes(5);

bool IsAddress(const std::string& host);
// Letters, digits, '-', '_' and '.', at most 253.
bool IsHostName(const std::string& host);

}  // namespace squall
