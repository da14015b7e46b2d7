// The spoiler against curl, which checks what it should, over real sockets.
#include "agent/net/tls_spoiler.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <openssl/pem.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include <fstream>
#include <thread>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "base/mint.h"
#include "base/tls.h"

namespace squall {
namespace {

using ::testing::HasSubstr;

struct Curled {
  int exit_code = -1;
  std::string said;
};

class TlsSpoilerTest : public ::testing::Test {
 protected:
  TlsSpoilerTest() : folder_(::testing::TempDir() + "/tls_spoiler_" + std::to_string(getpid())) {
    mkdir(folder_.c_str(), 0700);
    const KeyPtr key = MintKey();
    Write("ca.key", KeyText(key.get()));
    Write("ca.crt", CertText(MintCa("trusted", key.get(), absl::Now() + absl::Hours(1)).value().get()));
    Write("other.key", KeyText(MintKey().get()));
  }
  ~TlsSpoilerTest() override { StopAccepting(); }

  static std::string KeyText(EVP_PKEY* key) {
    const BioPtr bio(BIO_new(BIO_s_mem()));
    PEM_write_bio_PrivateKey(bio.get(), key, nullptr, nullptr, 0, nullptr, nullptr);
    return Text(bio.get());
  }
  static std::string CertText(X509* certificate) {
    const BioPtr bio(BIO_new(BIO_s_mem()));
    PEM_write_bio_X509(bio.get(), certificate);
    return Text(bio.get());
  }
  static std::string Text(BIO* bio) {
    char* data = nullptr;
    const long size = BIO_get_mem_data(bio, &data);
    return std::string(data, static_cast<size_t>(size));
  }
  void Write(const std::string& name, const std::string& text) const { std::ofstream(folder_ + "/" + name) << text; }

  static TlsFault Fault(TlsFault::How how) {
    TlsFault fault;
    fault.set_how(how);
    fault.set_ca_cert("ca.crt");
    fault.set_ca_key("ca.key");
    return fault;
  }

  // Listens, and hands every connection over.
  void Serve(const TlsFault& fault, const std::string& at = "127.0.0.1:1") {
    StopAccepting();
    absl::StatusOr<std::unique_ptr<TlsSpoiler>> started = TlsSpoiler::Start(fault, folder_);
    ASSERT_TRUE(started.ok()) << started.status();
    spoiler_ = *std::move(started);
    Address address = ParseAddress(at).value();
    listener_ = Fd(socket(address.Family(), SOCK_STREAM | SOCK_CLOEXEC, 0));
    address.port = 0;
    sockaddr_storage storage;
    socklen_t length = address.ToSockaddr(storage);
    ASSERT_EQ(bind(listener_.get(), reinterpret_cast<sockaddr*>(&storage), length), 0);
    ASSERT_EQ(listen(listener_.get(), 1024), 0);
    length = sizeof(storage);
    getsockname(listener_.get(), reinterpret_cast<sockaddr*>(&storage), &length);
    at_ = FromSockaddr(storage);
    accepting_ = std::thread([this] {
      while (true) {
        Fd fd(accept4(listener_.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
        if (!fd) return;
        spoiler_->Take(std::move(fd), at_);
      }
    });
  }
  void StopAccepting() {
    if (!accepting_.joinable()) return;
    shutdown(listener_.get(), SHUT_RDWR);
    accepting_.join();
  }

  Curled Curl(const std::string& options = "", std::string host = "bank.test") const {
    const std::string ip = at_.IsV4() ? "127.0.0.1" : "[::1]";
    const std::string command =
        absl::StrCat("curl -q --noproxy '*' -sS --max-time 8 --cacert ", folder_, "/ca.crt --resolve bank.test:", at_.port, ":", ip,
                     " ", options, " https://", host == "address" ? ip : host, ":", at_.port, "/ 2>&1");
    FILE* pipe = popen(command.c_str(), "r");
    Curled curled;
    char buffer[4096];
    while (fgets(buffer, sizeof(buffer), pipe) != nullptr) curled.said += buffer;
    curled.exit_code = WEXITSTATUS(pclose(pipe));
    return curled;
  }
  // How often this was the answer, once it has come: a client may be gone before what it said is read.
  void ExpectAnswers(const std::string& answer, int64_t count) const {
    const auto so_far = [&] {
      const Evidence seen = spoiler_->Seen();
      const auto found = seen.handshakes().find(answer);
      return found == seen.handshakes().end() ? 0 : found->second;
    };
    for (int i = 0; i < 3000 && so_far() < count; ++i) absl::SleepFor(absl::Milliseconds(1));
    EXPECT_EQ(so_far(), count) << answer << " in " << spoiler_->Seen().DebugString();
  }
  Fd Connect() const {
    Fd fd(socket(at_.Family(), SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_storage storage;
    const socklen_t length = at_.ToSockaddr(storage);
    EXPECT_EQ(connect(fd.get(), reinterpret_cast<sockaddr*>(&storage), length), 0);
    return fd;
  }
  // What is read until the end; "errno N" is added where it is no orderly one.
  static std::string ReadAll(const Fd& fd) {
    std::string all;
    char buffer[4096];
    while (true) {
      const ssize_t size = read(fd.get(), buffer, sizeof(buffer));
      if (size == 0) return all;
      if (size < 0) return absl::StrCat(all, "errno ", errno);
      all.append(buffer, static_cast<size_t>(size));
    }
  }

  const std::string folder_;
  std::unique_ptr<TlsSpoiler> spoiler_;
  Fd listener_;
  Address at_;
  std::thread accepting_;
};

constexpr char kOldToo[] = "--tls-max 1.1 --tlsv1.0 --ciphers DEFAULT@SECLEVEL=0";

TEST_F(TlsSpoilerTest, AnExpiredCertificateIsRefusedForItsDateAndForNothingElse) {
  Serve(Fault(TlsFault::HOW_EXPIRED));
  const Curled curled = Curl();
  EXPECT_EQ(curled.exit_code, 60) << curled.said;
  EXPECT_THAT(curled.said, HasSubstr("certificate has expired"));
  ExpectAnswers("certificate_expired", 1);
  EXPECT_EQ(Curl("--tls-max 1.2").exit_code, 60);
  ExpectAnswers("certificate_expired", 2);
  EXPECT_EQ(spoiler_->Seen().connections(), 2);
}

TEST_F(TlsSpoilerTest, ACertificateForAnotherNameIsRefusedAfterTheHandshakeByCurl) {
  Serve(Fault(TlsFault::HOW_WRONG_NAME));
  const Curled curled = Curl();
  EXPECT_EQ(curled.exit_code, 60) << curled.said;
  EXPECT_THAT(curled.said, HasSubstr("no alternative certificate subject name matches target host name 'bank.test'"));
  ExpectAnswers("closed_unused", 1);
}

TEST_F(TlsSpoilerTest, ACertificateOfAnUnknownCaIsRefusedOverIpv4AndIpv6) {
  for (const char* at : {"127.0.0.1:1", "[::1]:1"}) {
    Serve(Fault(TlsFault::HOW_UNTRUSTED), at);
    const Curled curled = Curl();
    EXPECT_EQ(curled.exit_code, 60) << curled.said;
    EXPECT_THAT(curled.said, HasSubstr("unable to get local issuer certificate"));
    ExpectAnswers("unknown_ca", 1);
  }
}

TEST_F(TlsSpoilerTest, AnOldVersionIsRefusedByWhoDoesNotOfferIt) {
  Serve(Fault(TlsFault::HOW_OLD_VERSION));
  const Curled curled = Curl("--tlsv1.2");
  EXPECT_EQ(curled.exit_code, 35) << curled.said;
  EXPECT_THAT(curled.said, HasSubstr("alert protocol version"));
  ExpectAnswers("protocol_version", 1);
  EXPECT_EQ(spoiler_->Seen().connections(), 1);
}

TEST_F(TlsSpoilerTest, AnOldVersionIsRefusedByWhoOffersItAndIsTooStrictForItsSignatures) {
  Serve(Fault(TlsFault::HOW_OLD_VERSION));
  const Curled curled = Curl("--tlsv1.0 --tls-max 1.1 --ciphers DEFAULT@SECLEVEL=1");
  EXPECT_EQ(curled.exit_code, 35) << curled.said;
  EXPECT_EQ(spoiler_->Seen().handshakes().count("completed"), 0u);
}

TEST_F(TlsSpoilerTest, AnOldVersionIsRefusedByWhoMayNotSpeakItAfterAll) {
  // A client without the extension that lists its versions: ours answers with 1.1, and it refuses that.
  Serve(Fault(TlsFault::HOW_OLD_VERSION));
  const Curled curled = Curl("--tlsv1.2 --tls-max 1.2 --ciphers DEFAULT@SECLEVEL=0");
  EXPECT_EQ(curled.exit_code, 35) << curled.said;
  EXPECT_THAT(curled.said, HasSubstr("unsupported protocol"));
  ExpectAnswers("protocol_version", 1);
}

TEST_F(TlsSpoilerTest, AnOldVersionIsSpokenWithWhoAllowsItAndAllElseIsRight) {
  // By name and by address: the certificate carries what was called, and is of the CA that is known.
  Serve(Fault(TlsFault::HOW_OLD_VERSION));
  Curl(kOldToo);
  ExpectAnswers("completed", 1);
  Curl(kOldToo, "address");
  ExpectAnswers("completed", 2);
  Serve(Fault(TlsFault::HOW_OLD_VERSION), "[::1]:1");
  Curl(kOldToo, "address");
  ExpectAnswers("completed", 1);
}

TEST_F(TlsSpoilerTest, AnAlertEndsTheHandshake) {
  Serve(Fault(TlsFault::HOW_ALERT));
  const Curled curled = Curl();
  EXPECT_EQ(curled.exit_code, 35) << curled.said;
  EXPECT_THAT(curled.said, HasSubstr("alert handshake failure"));
  ExpectAnswers("closed", 1);
  EXPECT_EQ(Curl("-k").exit_code, 35);
}

TEST_F(TlsSpoilerTest, ACutEndsTheHandshakeWithEof) {
  Serve(Fault(TlsFault::HOW_CUT));
  for (const char* options : {"", "--tls-max 1.2", "-k"}) {
    const Curled curled = Curl(options);
    EXPECT_EQ(curled.exit_code, 35) << curled.said;
    EXPECT_THAT(curled.said, HasSubstr("SSL_ERROR_SYSCALL"));
  }
  ExpectAnswers("closed", 3);
}

TEST_F(TlsSpoilerTest, WhoChecksNothingCompletes) {
  for (const TlsFault::How how : {TlsFault::HOW_EXPIRED, TlsFault::HOW_WRONG_NAME, TlsFault::HOW_UNTRUSTED}) {
    for (const char* options : {"-k --http1.1", "-k --tls-max 1.2 --http1.1"}) {
      Serve(Fault(how));
      // Its request gets no answer.
      EXPECT_EQ(Curl(options).exit_code, 52);
      ExpectAnswers("completed", 1);
    }
  }
}

TEST_F(TlsSpoilerTest, CompletesWithWhoWaitsForTheServerToSpeak) {
  Serve(Fault(TlsFault::HOW_UNTRUSTED));
  Fd fd = Connect();
  const SslContextPtr context(SSL_CTX_new(TLS_client_method()));
  const SslPtr ssl(SSL_new(context.get()));
  SSL_set_fd(ssl.get(), fd.get());
  ASSERT_EQ(SSL_connect(ssl.get()), 1);
  char byte;
  EXPECT_LE(SSL_read(ssl.get(), &byte, 1), 0);
  ExpectAnswers("completed", 1);
}

TEST_F(TlsSpoilerTest, TheAgentsOwnSettingsDoNotKeepOldVersionsAway) {
  ASSERT_TRUE(AllowOnlyTls13().ok());
  Serve(Fault(TlsFault::HOW_OLD_VERSION));
  Curl(kOldToo);
  ExpectAnswers("completed", 1);
}

TEST_F(TlsSpoilerTest, GrantsTheRequestOfAPostgresClient) {
  Serve(Fault(TlsFault::HOW_UNTRUSTED));
  const Fd fd = Connect();
  const std::string gss("\0\0\0\x08\x04\xd2\x16\x30", 8), tls("\0\0\0\x08\x04\xd2\x16\x2f", 8);
  char answer = 0;
  ASSERT_EQ(send(fd.get(), gss.data(), gss.size(), 0), 8);
  ASSERT_EQ(read(fd.get(), &answer, 1), 1);
  EXPECT_EQ(answer, 'N');
  ASSERT_EQ(send(fd.get(), tls.data(), tls.size(), 0), 8);
  ASSERT_EQ(read(fd.get(), &answer, 1), 1);
  EXPECT_EQ(answer, 'S');
  const SslContextPtr context(SSL_CTX_new(TLS_client_method()));
  SSL_CTX_set_verify(context.get(), SSL_VERIFY_PEER, nullptr);
  const SslPtr ssl(SSL_new(context.get()));
  SSL_set_fd(ssl.get(), fd.get());
  EXPECT_NE(SSL_connect(ssl.get()), 1);
  ExpectAnswers("unknown_ca", 1);
}

TEST_F(TlsSpoilerTest, ResetsWhatIsNoTls) {
  Serve(Fault(TlsFault::HOW_UNTRUSTED));
  const Fd fd = Connect();
  ASSERT_EQ(send(fd.get(), "GET / HTTP/1.1\r\n\r\n", 18, 0), 18);
  EXPECT_EQ(ReadAll(fd), absl::StrCat("errno ", ECONNRESET));
  ExpectAnswers("not_tls", 1);
  EXPECT_EQ(spoiler_->Seen().connections(), 0);
}

TEST_F(TlsSpoilerTest, TellsWhoLeftBeforeAnythingWasShown) {
  Serve(Fault(TlsFault::HOW_UNTRUSTED));
  Connect();
  ExpectAnswers("no_hello", 1);
  Fd half = Connect();
  ASSERT_EQ(send(half.get(), "\x16\x03\x01\x02\x00\x01\x00", 7, 0), 7);
  half.Reset();
  ExpectAnswers("no_hello", 2);
  EXPECT_EQ(spoiler_->Seen().connections(), 0);
}

TEST_F(TlsSpoilerTest, TellsAHelloThatIsNone) {
  Serve(Fault(TlsFault::HOW_UNTRUSTED));
  const Fd fd = Connect();
  const std::string junk = std::string("\x16\x03\x01\x01\x00", 5) + std::string(256, 'x');
  ASSERT_EQ(send(fd.get(), junk.data(), junk.size(), 0), static_cast<ssize_t>(junk.size()));
  ExpectAnswers("malformed", 1);
}

TEST_F(TlsSpoilerTest, StopResetsWhatIsOpenAndTakesNoMore) {
  Serve(Fault(TlsFault::HOW_UNTRUSTED));
  const Fd fd = Connect();
  ASSERT_EQ(send(fd.get(), "\x16\x03\x01", 3, 0), 3);
  absl::SleepFor(absl::Milliseconds(20));
  spoiler_->Stop();
  spoiler_->Stop();
  EXPECT_EQ(ReadAll(fd), absl::StrCat("errno ", ECONNRESET));
  ExpectAnswers("unfinished", 1);
  EXPECT_EQ(ReadAll(Connect()), absl::StrCat("errno ", ECONNRESET));
}

TEST_F(TlsSpoilerTest, HoldsNoMoreThanASetNumber) {
  Serve(Fault(TlsFault::HOW_UNTRUSTED));
  std::vector<Fd> silent;
  for (int i = 0; i < 520; ++i) silent.push_back(Connect());
  ExpectAnswers("turned_away", 8);
}

TEST_F(TlsSpoilerTest, SaysWhichFileIsWrong) {
  const auto why = [&](const TlsFault& fault, const std::string& folder) {
    const auto started = TlsSpoiler::Start(fault, folder);
    return started.ok() ? "" : std::string(started.status().message());
  };
  TlsFault fault = Fault(TlsFault::HOW_EXPIRED);
  EXPECT_THAT(why(fault, folder_ + "/nowhere"), HasSubstr("cannot read the CA's certificate " + folder_ + "/nowhere/ca.crt"));
  fault.set_ca_key("other.key");
  EXPECT_EQ(why(fault, folder_), absl::StrCat("the key ", folder_, "/other.key does not belong to the certificate ", folder_, "/ca.crt"));
  fault.set_ca_key("ca.crt");
  EXPECT_THAT(why(fault, folder_), HasSubstr("ca.crt holds no private key (PEM, without a passphrase)"));
  fault.set_ca_cert("ca.key");
  EXPECT_THAT(why(fault, folder_), HasSubstr("ca.key holds no certificate"));

  const KeyPtr key = MintKey();
  const X509Ptr old = MintCa("old", key.get(), absl::Now() - absl::Minutes(1)).value();
  Write("old.crt", CertText(old.get()));
  Write("old.key", KeyText(key.get()));
  fault.set_ca_cert("old.crt");
  fault.set_ca_key("old.key");
  EXPECT_THAT(why(fault, folder_), HasSubstr("old.crt is not valid now"));
  const CertificateSpec leaf = {"leaf", {"leaf"}, "serverAuth", absl::Now(), absl::Now() + absl::Hours(1)};
  Write("old.crt", CertText(MintCertificate(leaf, key.get(), old.get(), key.get()).value().get()));
  EXPECT_THAT(why(fault, folder_), HasSubstr("old.crt is not one of a CA"));
}

}  // namespace
}  // namespace squall
