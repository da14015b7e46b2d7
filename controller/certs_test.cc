#include "controller/certs.h"

#include <stdlib.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>
#include <sstream>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "gtest/gtest.h"

namespace squall {
namespace {

namespace fs = std::filesystem;

class CertsTest : public ::testing::Test {
 protected:
  CertsTest() {
    char name[] = "/tmp/squall-certs-XXXXXX";
    top_ = mkdtemp(name);
    folder_ = top_ + "/certs";
  }
  ~CertsTest() override { fs::remove_all(top_); }
  void MakeAll() {
    ASSERT_TRUE(MakeCa(folder_).ok());
    ASSERT_TRUE(IssueCertificate(folder_, "shop-1", {"shop-1.example", "10.0.0.1", "2001:db8::1"}, TlsRole::kAgent).ok());
    ASSERT_TRUE(IssueCertificate(folder_, "ci", {}, TlsRole::kController).ok());
  }
  TlsPaths Paths(const std::string& name) const {
    return {absl::StrCat(folder_, "/", name, ".crt"), absl::StrCat(folder_, "/", name, ".key"), folder_ + "/ca.crt"};
  }
  static std::string Message(const absl::Status& status) { return std::string(status.message()); }

  std::string top_, folder_;
};

TEST_F(CertsTest, IssuedOnesAreGoodForTheirRoleAndCarryTheirNames) {
  MakeAll();
  const absl::StatusOr<TlsIdentity> agent = LoadTlsIdentity(Paths("shop-1"), TlsRole::kAgent);
  ASSERT_TRUE(agent.ok()) << agent.status();
  EXPECT_EQ(agent->names, (std::vector<std::string>{"shop-1", "shop-1.example", "10.0.0.1", "2001:db8::1"}));
  const X509Ptr certificate = ReadCertificate(agent->cert);
  for (const std::string& name : agent->names) EXPECT_TRUE(CarriesName(certificate.get(), name)) << name;
  for (const char* name : {"shop-2", "shop", "10.0.0.2", "shop-1.example.org"}) EXPECT_FALSE(CarriesName(certificate.get(), name)) << name;
  EXPECT_TRUE(LoadTlsIdentity(Paths("ci"), TlsRole::kController).ok());
}

TEST_F(CertsTest, OfAnAgentDriveNoAgentAndOfAControllerAreNone) {
  MakeAll();
  EXPECT_TRUE(absl::StrContains(Message(LoadTlsIdentity(Paths("shop-1"), TlsRole::kController).status()), "not one of a controller"));
  EXPECT_TRUE(absl::StrContains(Message(LoadTlsIdentity(Paths("ci"), TlsRole::kAgent).status()), "not one of an agent"));
}

TEST_F(CertsTest, LiveForTenYearsAndOne) {
  MakeAll();
  const auto days = [&](const std::string& name) {
    std::ifstream file(Paths(name).cert);
    std::stringstream text;
    text << file.rdbuf();
    return absl::ToInt64Hours(CertificateEnd(ReadCertificate(text.str()).get()) - absl::Now() + absl::Minutes(10)) / 24;
  };
  EXPECT_EQ(days("ca"), 3650);
  EXPECT_EQ(days("shop-1"), 365);
}

TEST_F(CertsTest, KeysAreForTheirOwnerAlone) {
  MakeAll();
  for (const char* name : {"ca", "shop-1", "ci"}) {
    struct stat info;
    ASSERT_EQ(stat(Paths(name).key.c_str(), &info), 0);
    EXPECT_EQ(info.st_mode & 0777, 0600u) << name;
  }
}

TEST_F(CertsTest, NothingIsOverwritten) {
  MakeAll();
  const auto before = fs::last_write_time(folder_ + "/ca.key");
  EXPECT_EQ(MakeCa(folder_).status().code(), absl::StatusCode::kAlreadyExists);
  EXPECT_EQ(IssueCertificate(folder_, "shop-1", {}, TlsRole::kAgent).status().code(), absl::StatusCode::kAlreadyExists);
  EXPECT_EQ(fs::last_write_time(folder_ + "/ca.key"), before);
  // Nor is half of a pair left when the other is there.
  fs::remove(Paths("ci").key);
  EXPECT_EQ(IssueCertificate(folder_, "ci", {}, TlsRole::kController).status().code(), absl::StatusCode::kAlreadyExists);
  EXPECT_FALSE(fs::exists(Paths("ci").key));
}

TEST_F(CertsTest, NamesThatAreNoneAreRefused) {
  ASSERT_TRUE(MakeCa(folder_).ok());
  for (const char* name : {"", "../shop", "a/b", "-x", "ca", "a b", "a,DNS:b", "shop\n1"}) {
    EXPECT_EQ(IssueCertificate(folder_, name, {}, TlsRole::kAgent).status().code(), absl::StatusCode::kInvalidArgument) << name;
  }
  for (const char* host : {"", "a,DNS:evil", "10.0.0.1:7447", "a b"}) {
    EXPECT_EQ(IssueCertificate(folder_, "shop-1", {host}, TlsRole::kAgent).status().code(), absl::StatusCode::kInvalidArgument) << host;
  }
  EXPECT_FALSE(fs::exists(Paths("shop-1").key));
}

TEST_F(CertsTest, WithoutACaSaysHowToMakeOne) {
  const absl::Status status = IssueCertificate(folder_, "shop-1", {}, TlsRole::kAgent).status();
  EXPECT_TRUE(absl::StrContains(Message(status), "squall certs init")) << status;
}

TEST_F(CertsTest, KeyThatItsGroupMayReadIsFineAndOthersMayNot) {
  MakeAll();
  chmod(Paths("ci").key.c_str(), 0640);
  EXPECT_TRUE(LoadTlsIdentity(Paths("ci"), TlsRole::kController).ok());
  for (const mode_t mode : {0644, 0660, 0601}) {
    chmod(Paths("ci").key.c_str(), mode);
    EXPECT_EQ(LoadTlsIdentity(Paths("ci"), TlsRole::kController).status().code(), absl::StatusCode::kPermissionDenied) << mode;
  }
}

TEST(Tls, IsOfVersion13Only) {
  ASSERT_TRUE(AllowOnlyTls13().ok());
  const SslContextPtr context(SSL_CTX_new(TLS_method()));
  // As gRPC does with each of its own.
  SSL_CTX_set_min_proto_version(context.get(), TLS1_2_VERSION);
  EXPECT_NE(SSL_CTX_get_options(context.get()) & SSL_OP_NO_TLSv1_2, 0u);
  EXPECT_EQ(SSL_CTX_get_options(context.get()) & SSL_OP_NO_TLSv1_3, 0u);
}

}  // namespace
}  // namespace squall
