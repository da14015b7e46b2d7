// A CA and certificates of it, for tests.
#pragma once

#include <openssl/pem.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "base/mint.h"
#include "base/openssl.h"

namespace squall {

class TestCa {
 public:
  struct Pem {
    std::string cert, key;
  };

  TestCa() : key_(MintKey()), ca_(*MintCa("test CA", key_.get(), absl::Now() + absl::Hours(1))), pem_(Text(ca_.get())) {}

  // Its certificate.
  const std::string& pem() const { return pem_; }

  // For names and addresses. `usage`: "serverAuth" or "clientAuth".
  Pem Issue(const std::vector<std::string>& names, const std::string& usage = "serverAuth", absl::Duration valid = absl::Hours(1)) {
    const KeyPtr key = MintKey();
    const CertificateSpec spec = {names[0], names, usage, absl::Now() - absl::Hours(2), absl::Now() + valid};
    const X509Ptr certificate = *MintCertificate(spec, key.get(), ca_.get(), key_.get());
    const BioPtr out(BIO_new(BIO_s_mem()));
    PEM_write_bio_PrivateKey(out.get(), key.get(), nullptr, nullptr, 0, nullptr, nullptr);
    return {Text(certificate.get()), Contents(out.get())};
  }

 private:
  static std::string Contents(BIO* bio) {
    char* data = nullptr;
    const long size = BIO_get_mem_data(bio, &data);
    return std::string(data, static_cast<size_t>(size));
  }
  static std::string Text(X509* certificate) {
    const BioPtr out(BIO_new(BIO_s_mem()));
    PEM_write_bio_X509(out.get(), certificate);
    return Contents(out.get());
  }

  const KeyPtr key_;
  const X509Ptr ca_;
  const std::string pem_;
};

// A file with this text in the test's own folder; its path.
inline std::string WriteTestFile(const std::string& name, const std::string& text) {
  const char* const folder = getenv("TEST_TMPDIR");
  const std::string path = absl::StrCat(folder == nullptr ? "/tmp" : folder, "/", name);
  std::ofstream(path) << text;
  return path;
}

}  // namespace squall
