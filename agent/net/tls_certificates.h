#pragma once

#include <map>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "agent/net/address.h"
#include "base/mint.h"
#include "proto/fault.pb.h"

namespace squall {

// The certificates that a tls fault shows, one for each name that is asked for, made when it is asked for and kept. Their key
// is EC P-256: a client that knows RSA only cannot be shown one. Not thread-safe.
class TlsCertificates {
 public:
  // Reads and checks the fault's CA, whose paths are relative to `folder`; without one makes a CA that nobody knows. The error
  // says which file is wrong and what to do; FAILED_PRECONDITION when the two files are not a CA and its key, valid now.
  static absl::StatusOr<std::unique_ptr<TlsCertificates>> Make(const TlsFault& fault, const std::string& folder);

  // For a client that asks for `asked`, empty when it names nobody, and called `called`. Owned by this.
  absl::StatusOr<X509*> For(const std::string& asked, const Address& called);
  EVP_PKEY* key() const { return key_.get(); }
  // What clients need between the certificate and the root that they know; null where the CA is the root.
  X509* between() const { return between_; }

 private:
  TlsCertificates() = default;
  TlsFault::How how_ = TlsFault::HOW_UNSPECIFIED;
  std::string server_name_;
  X509Ptr ca_;
  KeyPtr ca_key_;
  KeyPtr key_;
  X509* between_ = nullptr;
  std::map<std::string, X509Ptr> made_;
  X509Ptr last_;  // once there are too many to be kept
};

}  // namespace squall
