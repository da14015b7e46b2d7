// Loads over TLS.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "absl/strings/str_cat.h"
#include "agent/load/load_generator.h"
#include "agent/load/load_recorder.h"
#include "agent/load/loopback_server.h"
#include "agent/load/test_certificates.h"
#include "agent/load/test_nginx.h"
#include "base/fd.h"
#include "base/tls.h"

namespace squall {
namespace {

using ::testing::AllOf;
using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::Field;
using ::testing::HasSubstr;
using ::testing::Not;

// Hangs up on everybody once they have said something.
class HangingUp {
 public:
  explicit HangingUp(bool reset) : port_(UnusedPort()), listener_(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in address = {};
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<uint16_t>(port_));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    EXPECT_EQ(bind(listener_.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
    EXPECT_EQ(listen(listener_.get(), 100), 0);
    thread_ = std::thread([this, reset] {
      while (true) {
        const Fd peer(accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
        if (!peer) return;
        char buffer[4096];
        if (recv(peer.get(), buffer, reset ? 1 : sizeof buffer, 0) < 0) continue;
        const linger abort = {1, 0};
        if (reset) setsockopt(peer.get(), SOL_SOCKET, SO_LINGER, &abort, sizeof abort);
      }
    });
  }
  ~HangingUp() {
    shutdown(listener_.get(), SHUT_RDWR);
    thread_.join();
  }
  int port() const { return port_; }

 private:
  const int port_;
  const Fd listener_;
  std::thread thread_;
};

class HttpsLoad : public testing::Test {
 protected:
  std::unique_ptr<TestDaemon> Serve(const TestCa::Pem& shown, const std::string& more = "", const std::string& listen = "ssl") {
    static int number = 0;
    const std::string cert = WriteTestFile(absl::StrCat("server-", ++number, ".crt"), shown.cert);
    const std::string key = WriteTestFile(absl::StrCat("server-", number, ".key"), shown.key);
    return StartNginx(listen, absl::StrCat("ssl_certificate ", cert, "; ssl_certificate_key ", key, ";\n", more,
                                           "\nlocation / { return 200 \"fine\"; }"));
  }
  Load To(int port, absl::Duration patience = absl::Seconds(30)) {
    Load load;
    load.set_name("checkout");
    load.mutable_http()->set_url(absl::StrCat("https://127.0.0.1:", port, "/order"));
    load.mutable_http()->mutable_tls()->set_ca(ca_.pem());
    load.set_rate(100);
    load.mutable_give_up_after()->set_seconds(absl::ToInt64Seconds(patience));
    load.mutable_give_up_after()->set_nanos(static_cast<int32_t>(absl::ToInt64Nanoseconds(patience % absl::Seconds(1))));
    load.set_max_in_flight(100);
    return load;
  }
  // What became of the first requests, all of the same kind.
  Row Drive(const Load& load, size_t rows = 5) {
    recorder_ = std::make_unique<Recorder>();
    auto started = LoadGenerator::Start(load, "run-1", 7, recorder_->Sink());
    EXPECT_TRUE(started.ok()) << started.status();
    if (!started.ok()) return {};
    EXPECT_TRUE(recorder_->WaitFor(rows));
    (*started)->Stop(absl::InfiniteDuration());
    const Row first = recorder_->Rows()[0];
    EXPECT_THAT(recorder_->Rows(), Each(AllOf(Field(&Row::outcome, first.outcome), Field(&Row::status, first.status))));
    return first;
  }
  std::string Error() {
    const std::vector<std::string> errors = recorder_->Errors();
    return errors.empty() ? "" : errors[0];
  }

  TestCa ca_;
  std::unique_ptr<Recorder> recorder_;
};

TEST_F(HttpsLoad, IsAnsweredAndKeepsItsConnections) {
  const auto nginx = Serve(ca_.Issue({"127.0.0.1"}));
  EXPECT_EQ(Drive(To(nginx->port()), 50).outcome, OK);
  int fresh = 0;
  for (const Row& row : recorder_->Rows()) fresh += !row.reused;
  EXPECT_GE(fresh, 1);
  EXPECT_LT(fresh, 25);
  EXPECT_THAT(recorder_->Errors(), ElementsAre());
}

TEST_F(HttpsLoad, SpeaksTls12AlsoInAProcessThatAllowsItselfOnlyTls13) {
  ASSERT_TRUE(AllowOnlyTls13().ok());
  const auto nginx = Serve(ca_.Issue({"127.0.0.1"}), "ssl_protocols TLSv1.2;");
  EXPECT_EQ(Drive(To(nginx->port())).outcome, OK);
}

TEST_F(HttpsLoad, TakesCasAndCertificatesFromFiles) {
  const TestCa::Pem client = ca_.Issue({"client"}, "clientAuth");
  const std::string ca = WriteTestFile("ca.crt", ca_.pem());
  const auto nginx = Serve(ca_.Issue({"127.0.0.1"}),
                           absl::StrCat("ssl_verify_client on; ssl_client_certificate ", ca, "; if ($ssl_client_verify != SUCCESS) { return 403; }"));
  Load load = To(nginx->port());
  ClientTls& tls = *load.mutable_http()->mutable_tls();
  tls.set_ca(ca);
  tls.set_cert(WriteTestFile("client.crt", client.cert));
  tls.set_key(WriteTestFile("client.key", client.key));
  EXPECT_EQ(Drive(load).status, 200);
  tls.clear_cert();
  tls.clear_key();
  EXPECT_EQ(Drive(load).status, 400);  // nginx says so itself
}

TEST_F(HttpsLoad, AsksForTheServersName) {
  const auto nginx = Serve(ca_.Issue({"shop.example"}), "server_name shop.example; if ($ssl_server_name != shop.example) { return 421; }");
  Load load = To(nginx->port());
  load.mutable_http()->mutable_tls()->set_server_name("shop.example");
  EXPECT_EQ(Drive(load).status, 200);
  load.mutable_http()->mutable_tls()->set_server_name("other.example");
  EXPECT_EQ(Drive(load).outcome, ERROR);
  EXPECT_THAT(Error(), HasSubstr("the server's certificate is not for other.example"));
}

TEST_F(HttpsLoad, CountsACertificateOfAnotherCaAsAnErrorAndSaysSo) {
  const auto nginx = Serve(TestCa().Issue({"127.0.0.1"}));
  const Row row = Drive(To(nginx->port()));
  EXPECT_EQ(row.outcome, ERROR);
  EXPECT_EQ(row.status, 0);
  EXPECT_THAT(recorder_->Errors(), ElementsAre(AllOf(HasSubstr("certificate is not trusted"), HasSubstr("tls.ca"))));
}

TEST_F(HttpsLoad, ChecksAgainstTheSystemsCasWithoutOneOfItsOwn) {
  const auto nginx = Serve(ca_.Issue({"127.0.0.1"}));
  Load load = To(nginx->port());
  load.mutable_http()->clear_tls();
  EXPECT_EQ(Drive(load).outcome, ERROR);
  EXPECT_THAT(Error(), HasSubstr("certificate is not trusted"));
}

TEST_F(HttpsLoad, CountsACertificateForAnotherAddressAsAnError) {
  const auto nginx = Serve(ca_.Issue({"127.0.0.2", "localhost"}));
  EXPECT_EQ(Drive(To(nginx->port())).outcome, ERROR);
  EXPECT_THAT(Error(), HasSubstr("is not for 127.0.0.1"));
}

TEST_F(HttpsLoad, CountsAnExpiredCertificateAsAnError) {
  const auto nginx = Serve(ca_.Issue({"127.0.0.1"}, "serverAuth", -absl::Minutes(1)));
  EXPECT_EQ(Drive(To(nginx->port())).outcome, ERROR);
  EXPECT_THAT(Error(), HasSubstr("expired"));
}

TEST_F(HttpsLoad, CountsAServerThatSpeaksNoTlsAsAnError) {
  // nginx answers what is no HTTP to it.
  const auto nginx = StartNginx("", "location / { return 200 \"fine\"; }");
  EXPECT_EQ(Drive(To(nginx->port())).outcome, ERROR);
  EXPECT_THAT(Error(), HasSubstr("no TLS with the server"));
}

TEST_F(HttpsLoad, CountsAHandshakeThatIsCutAsReset) {
  for (const bool reset : {false, true}) {
    const HangingUp server(reset);
    EXPECT_EQ(Drive(To(server.port())).outcome, RESET);
    EXPECT_THAT(Error(), HasSubstr("in the middle of the TLS handshake"));
  }
}

TEST_F(HttpsLoad, GivesUpAHandshakeThatDoesNotEnd) {
  LoopbackServer silent([](absl::string_view, int) { return LoopbackServer::Reply{}; });
  EXPECT_EQ(Drive(To(silent.port(), absl::Milliseconds(300))).outcome, TIMED_OUT);
}

TEST_F(HttpsLoad, IsRefusedWhereNobodyListens) { EXPECT_EQ(Drive(To(UnusedPort())).outcome, REFUSED); }

TEST_F(HttpsLoad, TellsAServerThatIsKilledFromOneThatRefuses) {
  const auto nginx = Serve(ca_.Issue({"127.0.0.1"}));
  recorder_ = std::make_unique<Recorder>();
  auto started = LoadGenerator::Start(To(nginx->port()), "run-1", 7, recorder_->Sink());
  ASSERT_TRUE(started.ok());
  ASSERT_TRUE(recorder_->WaitFor(20));
  nginx->Kill();
  ASSERT_TRUE(recorder_->WaitFor(recorder_->Rows().size() + 60));
  nginx->Start();
  ASSERT_TRUE(recorder_->WaitFor(recorder_->Rows().size() + 60));
  (*started)->Stop(absl::InfiniteDuration());
  auto outcomes = recorder_->Outcomes();
  EXPECT_GE(outcomes[OK], 40);
  EXPECT_GE(outcomes[REFUSED], 30);
  EXPECT_EQ(outcomes[ERROR], 0);
  EXPECT_EQ(recorder_->Rows().back().outcome, OK);
}

TEST_F(HttpsLoad, NeverTellsWhatItsHeadersAndKeysHold) {
  Load load = To(1);
  load.mutable_http()->mutable_tls()->set_cert("hunter2\nhunter2");
  load.mutable_http()->mutable_tls()->set_key("hunter2\nhunter2");
  const auto started = LoadGenerator::Start(load, "run-1", 7, [](Record) {});
  EXPECT_THAT(std::string(started.status().message()), AllOf(HasSubstr("tls.cert"), Not(HasSubstr("hunter2"))));
}

}  // namespace
}  // namespace squall
