#include "agent/load/client_tls.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "agent/load/test_certificates.h"

namespace squall {
namespace {

using ::testing::HasSubstr;

struct BadTls {
  std::function<void(ClientTls&)> spoil;
  std::string message;
};

TEST(ClientTls, SaysWhichPartIsWrong) {
  TestCa ca;
  const TestCa::Pem own = ca.Issue({"client"}, "clientAuth"), other = ca.Issue({"other"}, "clientAuth");
  const BadTls cases[] = {
      {[](ClientTls& tls) { tls.set_ca("no-such-file"); }, "tls.ca"},
      {[](ClientTls& tls) { tls.set_ca("-----BEGIN CERTIFICATE-----\nx"); }, "tls.ca holds no certificate"},
      {[&](ClientTls& tls) { tls.set_ca(own.key); }, "tls.ca holds no certificate"},
      {[](ClientTls& tls) { tls.clear_cert(); }, "tls.cert and tls.key belong together"},
      {[](ClientTls& tls) { tls.clear_key(); }, "tls.cert and tls.key belong together"},
      {[&](ClientTls& tls) { tls.set_cert(own.key); }, "tls.cert holds no certificate"},
      {[&](ClientTls& tls) { tls.set_key(own.cert); }, "tls.key holds no private key"},
      {[&](ClientTls& tls) { tls.set_key(other.key); }, "tls.key does not belong to tls.cert"},
      {[](ClientTls& tls) { tls.set_key("two\nlines"); }, "tls.key is neither PEM"},
  };
  for (const BadTls& c : cases) {
    ClientTls tls;
    tls.set_ca(ca.pem());
    tls.set_cert(own.cert);
    tls.set_key(own.key);
    ASSERT_TRUE(MakeClientTls(tls, "/", "").ok());
    c.spoil(tls);
    const absl::StatusOr<SslContextPtr> made = MakeClientTls(tls, "/", "");
    EXPECT_FALSE(made.ok()) << c.message;
    EXPECT_THAT(std::string(made.status().message()), HasSubstr(c.message));
  }
}

TEST(ClientTls, TakesFilesRelativeToTheFolder) {
  TestCa ca;
  const std::string path = WriteTestFile("relative-ca.crt", ca.pem());
  ClientTls tls;
  tls.set_ca(path.substr(path.rfind('/') + 1));
  EXPECT_TRUE(MakeClientTls(tls, path.substr(0, path.rfind('/')), "h2").ok());
  EXPECT_FALSE(MakeClientTls(tls, "/", "h2").ok());
}

TEST(ClientTls, AlwaysChecksTheServer) {
  const absl::StatusOr<SslContextPtr> made = MakeClientTls({}, "/", "");
  ASSERT_TRUE(made.ok());
  EXPECT_EQ(SSL_CTX_get_verify_mode(made->get()), SSL_VERIFY_PEER);
}

}  // namespace
}  // namespace squall
