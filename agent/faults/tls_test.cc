// tls through a real relay, with curl as the client. What each way of it looks like is tested beside the spoiler.
#include <gtest/gtest.h>
#include <openssl/pem.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <thread>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "agent/faults/fault.h"
#include "base/mint.h"

namespace squall {
namespace {

Fd Listen(Address& at) {
  Fd fd(socket(at.Family(), SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_storage storage;
  socklen_t length = at.ToSockaddr(storage);
  EXPECT_EQ(bind(fd.get(), reinterpret_cast<sockaddr*>(&storage), length), 0);
  EXPECT_EQ(listen(fd.get(), 128), 0);
  length = sizeof(storage);
  getsockname(fd.get(), reinterpret_cast<sockaddr*>(&storage), &length);
  at = FromSockaddr(storage);
  return fd;
}

Address AnyPort(const std::string& ip) {
  Address address = ParseAddress(ip + ":1").value();
  address.port = 0;
  return address;
}

class TlsTest : public ::testing::Test {
 protected:
  TlsTest() : folder_(absl::StrCat(::testing::TempDir(), "/tls_", getpid())) {
    mkdir(folder_.c_str(), 0700);
    const KeyPtr key = MintKey();
    const X509Ptr ca = MintCa("trusted", key.get(), absl::Now() + absl::Hours(1)).value();
    FILE* file = fopen((folder_ + "/ca.crt").c_str(), "w");
    PEM_write_X509(file, ca.get());
    fclose(file);
    file = fopen((folder_ + "/ca.key").c_str(), "w");
    PEM_write_PrivateKey(file, key.get(), nullptr, nullptr, 0, nullptr, nullptr);
    fclose(file);
  }
  ~TlsTest() override {
    shutdown(dependency_.get(), SHUT_RDWR);
    if (serving_.joinable()) serving_.join();
  }

  // A dependency that greets whoever connects, and edges to it: `edge` and, for a bystander, `other`.
  void Open(const std::string& ip) {
    to_ = AnyPort(ip);
    dependency_ = Listen(to_);
    serving_ = std::thread([this] {
      while (true) {
        Fd fd(accept4(dependency_.get(), nullptr, nullptr, SOCK_CLOEXEC));
        if (!fd) return;
        served_.push_back(std::move(fd));
        (void)!send(served_.back().get(), "hello", 5, MSG_NOSIGNAL);
      }
    });
    for (auto& [name, at] : {std::pair<std::string, Address&>("edge", edge_at_), {"other", other_at_}}) {
      at = AnyPort(ip);
      Listen(at).Reset();  // a free port
      Relay::EdgeOptions options;
      options.name = name;
      options.to = {to_};
      options.relay_at = at;
      ASSERT_TRUE(relay_.Open(options, own_).ok());
    }
  }

  std::unique_ptr<ActiveFault> Make(const std::string& ca_key = "ca.key", const std::string& edge = "edge") {
    Fault fault;
    fault.set_name("spoilt");
    fault.mutable_tls()->set_edge(edge);
    fault.mutable_tls()->set_how(TlsFault::HOW_EXPIRED);
    fault.mutable_tls()->set_ca_cert("ca.crt");
    fault.mutable_tls()->set_ca_key(ca_key);
    FaultContext context;
    context.relay = &relay_;
    context.folder = folder_;
    return MakeFault(fault, context);
  }

  static Fd Connect(const Address& at) {
    Fd fd(socket(at.Family(), SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_storage storage;
    const socklen_t length = at.ToSockaddr(storage);
    EXPECT_EQ(connect(fd.get(), reinterpret_cast<sockaddr*>(&storage), length), 0);
    const timeval patience = {3, 0};
    setsockopt(fd.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    return fd;
  }
  static std::string ReadSome(const Fd& fd) {
    char buffer[64];
    const ssize_t size = read(fd.get(), buffer, sizeof(buffer));
    return size < 0 ? absl::StrCat("errno ", errno) : std::string(buffer, static_cast<size_t>(size));
  }
  static std::string Greeting(const Address& at) { return ReadSome(Connect(at)); }
  int Curl(const Address& at) const {
    const std::string command = absl::StrCat("curl -q --noproxy '*' -s --max-time 8 --cacert ", folder_, "/ca.crt https://",
                                             at.ToString(), "/ 2>&1");
    return WEXITSTATUS(system(command.c_str()));
  }

  const std::string folder_;
  const NetNamespace own_ = *NetNamespace::Own();
  Address to_, edge_at_, other_at_;
  Fd dependency_;
  std::vector<Fd> served_;
  std::thread serving_;
  Relay relay_{[](const std::string&, const SeenCall&) {}};
};

TEST_F(TlsTest, SpoilsNewConnectionsOfItsEdgeOverIpv4AndLeavesOthersAlone) {
  Open("127.0.0.1");
  const Fd before = Connect(edge_at_);
  EXPECT_EQ(ReadSome(before), "hello");
  const auto fault = Make();
  ASSERT_TRUE(fault->Inject().ok());
  EXPECT_EQ(Curl(edge_at_), 60);
  // curl may be gone before its alert is read.
  for (int i = 0; i < 3000 && fault->Seen().connections() == 0; ++i) absl::SleepFor(absl::Milliseconds(1));
  EXPECT_EQ(fault->Seen().connections(), 1);
  EXPECT_EQ(fault->Seen().handshakes().count("certificate_expired"), 1u);
  // Who was there goes on, and who goes another way sees nothing.
  ASSERT_EQ(send(before.get(), "x", 1, 0), 1);
  ASSERT_EQ(send(served_.front().get(), "still here", 10, 0), 10);
  EXPECT_EQ(ReadSome(before), "still here");
  EXPECT_EQ(Greeting(other_at_), "hello");
  EXPECT_EQ(Greeting(to_), "hello");
  EXPECT_EQ(fault->Seen().connections(), 1);
  EXPECT_TRUE(fault->Heal(HealFor::kFaultOver).ok());
}

TEST_F(TlsTest, SpoilsOverIpv6) {
  Open("[::1]");
  const auto fault = Make();
  ASSERT_TRUE(fault->Inject().ok());
  EXPECT_EQ(Curl(edge_at_), 60);
  EXPECT_TRUE(fault->Heal(HealFor::kFaultOver).ok());
  EXPECT_EQ(Greeting(edge_at_), "hello");
}

TEST_F(TlsTest, HealingTwiceIsSafeAndCutsWhatIsUnderWay) {
  Open("127.0.0.1");
  const auto fault = Make();
  ASSERT_TRUE(fault->Inject().ok());
  const Fd under_way = Connect(edge_at_);
  ASSERT_EQ(send(under_way.get(), "\x16\x03\x01", 3, 0), 3);
  absl::SleepFor(absl::Milliseconds(50));  // it is to be the spoiler's by then
  EXPECT_TRUE(fault->Heal(HealFor::kFaultOver).ok());
  EXPECT_EQ(ReadSome(under_way), absl::StrCat("errno ", ECONNRESET));
  EXPECT_EQ(Greeting(edge_at_), "hello");
  EXPECT_TRUE(fault->Heal(HealFor::kRunOver).ok());
  EXPECT_EQ(Greeting(edge_at_), "hello");
}

TEST_F(TlsTest, InjectionThatFailsLeavesNothing) {
  Open("127.0.0.1");
  const auto wrong = Make("missing.key");
  const absl::Status status = wrong->Inject();
  EXPECT_TRUE(absl::StrContains(status.message(), absl::StrCat("cannot read the CA's key ", folder_, "/missing.key"))) << status;
  EXPECT_EQ(Greeting(edge_at_), "hello");
  EXPECT_TRUE(wrong->Heal(HealFor::kFaultOver).ok());
  const auto stranger = Make("ca.key", "nowhere");
  EXPECT_EQ(stranger->Inject().code(), absl::StatusCode::kNotFound);
  EXPECT_TRUE(stranger->Heal(HealFor::kFaultOver).ok());
  EXPECT_EQ(stranger->Seen().connections(), 0);
  EXPECT_EQ(Greeting(edge_at_), "hello");
}

}  // namespace
}  // namespace squall
