#pragma once

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "base/openssl.h"

// What controller and agent prove to each other over TCP: mutual TLS 1.3 with certificates of one CA. Thread-safe.
namespace squall {

// PEM files.
struct TlsPaths {
  std::string cert;
  std::string key;
  std::string ca;
};

// A certificate is for one of the two: who holds an agent's key cannot drive other agents with it.
enum class TlsRole { kAgent, kController };

struct TlsIdentity {
  std::string cert, key, ca;       // the contents of the files
  std::vector<std::string> names;  // that the certificate carries: DNS names and addresses, else the common name
  absl::Time until;
  TlsPaths paths;  // for messages
};

// Reads the files and checks that they work together: the key is the certificate's and nobody else's to read, and the
// certificate is of the CA, for the role, and valid now. The error says which file is wrong and what to do.
absl::StatusOr<TlsIdentity> LoadTlsIdentity(const TlsPaths& paths, TlsRole role);

// From now on every TLS connection of this process, also those of gRPC, is TLS 1.3. gRPC 1.51 has no option for it: it is
// set where OpenSSL takes the defaults of new contexts from, and looked at afterwards.
absl::Status AllowOnlyTls13();

// The names of a certificate, as in TlsIdentity.
std::vector<std::string> CertificateNames(X509* certificate);
// Whether the certificate carries the name, a DNS name or an address.
bool CarriesName(X509* certificate, const std::string& name);
absl::Time CertificateEnd(const X509* certificate);

// The first certificate of a PEM text; null: there is none.
X509Ptr ReadCertificate(const std::string& pem);
// All of them, in their order.
std::vector<X509Ptr> ReadCertificates(const std::string& pem);
// The private key of a PEM text; null: there is none, or it wants a passphrase.
KeyPtr ReadKey(const std::string& pem);
// The file's contents, as far as 1 MiB.
absl::StatusOr<std::string> ReadPemFile(const std::string& path, const std::string& what);

// The verification error (X509_V_ERR_*) of a certificate in words, with what to do about it.
std::string WhyNotTrusted(int error, TlsRole role);

}  // namespace squall
