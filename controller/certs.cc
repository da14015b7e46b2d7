#include "controller/certs.h"

#include <fcntl.h>
#include <openssl/pem.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "base/fd.h"
#include "base/mint.h"

namespace squall {
namespace {

constexpr absl::Duration kCaLife = absl::Hours(24 * 3650);
constexpr absl::Duration kLeafLife = absl::Hours(24 * 365);

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

}  // namespace

absl::StatusOr<MadeCertificate> MakeCa(const std::string& folder) {
  std::error_code error;
  if (std::filesystem::create_directories(folder, error)) {
    std::filesystem::permissions(folder, std::filesystem::perms::owner_all, error);
  }
  if (error) return absl::PermissionDeniedError(absl::StrCat("cannot make the folder ", folder, ": ", error.message()));
  const MadeCertificate made = {absl::StrCat(folder, "/ca.crt"), absl::StrCat(folder, "/ca.key"), absl::Now() + kCaLife};
  const KeyPtr key = MintKey();
  if (key == nullptr) return Failed("a key");
  const absl::StatusOr<X509Ptr> ca = MintCa("squall CA", key.get(), made.until);
  if (!ca.ok()) return ca.status();
  const absl::Status written = WriteBoth(made, ca->get(), key.get());
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
  std::vector<std::string> names = {name};
  for (const std::string& host : hosts) {
    if (!IsAddress(host) && !IsHostName(host)) {
      return absl::InvalidArgumentError(
          absl::StrCat("'", host, "' is neither a host name nor an address: write --host=shop-1.example or --host=10.0.0.1"));
    }
    names.push_back(host);
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
  const KeyPtr key = MintKey();
  if (key == nullptr) return Failed("a key");
  const CertificateSpec spec = {name, names, role == TlsRole::kAgent ? "serverAuth" : "clientAuth", absl::Now() - kDatedBack,
                                made.until};
  const absl::StatusOr<X509Ptr> leaf = MintCertificate(spec, key.get(), ca.get(), signer.get());
  if (!leaf.ok()) return leaf.status();
  const absl::Status written = WriteBoth(made, leaf->get(), key.get());
  if (!written.ok()) return written;
  return made;
}

}  // namespace squall
