// Callers that give up while a fault holds back what is on its way, over real sockets: their calls end then, and not when the fault does.
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/clock.h"
#include "agent/net/http2_frames.h"
#include "agent/net/relay.h"
#include "base/clock.h"

namespace squall {
namespace {

constexpr int kHeldForSeconds = 600;  // far longer than any test waits
constexpr char kGet[] = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";
constexpr char kAnswer[] = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

template <typename Condition>
bool Eventually(Condition condition) {
  for (int i = 0; i < 5000; ++i) {
    if (condition()) return true;
    absl::SleepFor(absl::Milliseconds(1));
  }
  return false;
}

Address Local(uint16_t port) { return ResolveAddress(absl::StrCat("127.0.0.1:", port)).value().front(); }

Fd Listen(uint16_t& port) {
  Fd fd(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  Address any = Local(1);
  any.port = 0;
  sockaddr_storage storage;
  socklen_t length = any.ToSockaddr(storage);
  EXPECT_EQ(bind(fd.get(), reinterpret_cast<sockaddr*>(&storage), length), 0);
  EXPECT_EQ(listen(fd.get(), 16), 0);
  length = sizeof(storage);
  getsockname(fd.get(), reinterpret_cast<sockaddr*>(&storage), &length);
  port = FromSockaddr(storage).port;
  return fd;
}

void Send(const Fd& fd, const std::string& bytes) {
  for (size_t sent = 0; sent < bytes.size();) {
    const ssize_t size = send(fd.get(), bytes.data() + sent, bytes.size() - sent, MSG_NOSIGNAL);
    ASSERT_GT(size, 0) << strerror(errno);
    sent += static_cast<size_t>(size);
  }
}

std::string Read(const Fd& fd) {
  char buffer[4096];
  const ssize_t size = read(fd.get(), buffer, sizeof(buffer));
  return std::string(buffer, static_cast<size_t>(std::max<ssize_t>(0, size)));
}

enum class Leaves { kCloses, kResets };

class CallerLeftTest : public ::testing::TestWithParam<Leaves> {
 protected:
  void SetUp() override {
    listener_ = Listen(dependency_port_);
    Listen(relay_port_);  // free again
    Relay::EdgeOptions edge;
    edge.name = "edge";
    edge.to = {Local(dependency_port_)};
    edge.relay_at = Local(relay_port_);
    const absl::Status status = relay_.Open(edge, ns_);
    ASSERT_TRUE(status.ok()) << status;
  }
  void Connect() {
    service_ = Fd(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_storage storage;
    const socklen_t length = Local(relay_port_).ToSockaddr(storage);
    ASSERT_EQ(connect(service_.get(), reinterpret_cast<sockaddr*>(&storage), length), 0) << strerror(errno);
  }
  void ConnectThrough() {
    Connect();
    dependency_ = Fd(accept(listener_.get(), nullptr, nullptr));
    ASSERT_TRUE(dependency_);
  }
  void Set(const Fault& fault) {
    const absl::Status status = relay_.SetFault(fault, 1);
    ASSERT_TRUE(status.ok()) << status;
  }
  static Fault Latency(Direction direction) {
    Fault fault;
    fault.mutable_latency()->set_edge("edge");
    fault.mutable_latency()->mutable_delay()->set_seconds(kHeldForSeconds);
    fault.mutable_latency()->set_direction(direction);
    return fault;
  }
  static Fault Stall(Direction direction) {
    Fault fault;
    fault.mutable_stall()->set_edge("edge");
    fault.mutable_stall()->set_direction(direction);
    return fault;
  }
  int64_t BytesToDependency() { return relay_.Stats("edge").bytes_to_dependency(); }
  int64_t BytesToService() { return relay_.Stats("edge").bytes_to_service(); }
  size_t Calls() {
    absl::MutexLock lock(&mutex_);
    return calls_.size();
  }

  // The one call that is open ends as the caller leaves.
  void ExpectLeft() {
    ASSERT_EQ(Calls(), 0u);
    const int64_t before = BootNanos();
    const linger at_once = {1, 0};
    if (GetParam() == Leaves::kResets) setsockopt(service_.get(), SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
    service_.Reset();
    ExpectOneEnded(before);
  }
  void ExpectOneEnded(int64_t before) {
    ASSERT_TRUE(Eventually([this] { return Calls() == 1; }));
    absl::MutexLock lock(&mutex_);
    EXPECT_EQ(calls_[0].result, CALLER_LEFT);
    EXPECT_GE(calls_[0].end_ns, before);
    EXPECT_LE(calls_[0].end_ns, BootNanos());
  }

  NetNamespace ns_ = *NetNamespace::Own();
  absl::Mutex mutex_;
  std::vector<SeenCall> calls_ ABSL_GUARDED_BY(mutex_);
  Relay relay_{[this](const std::string&, const SeenCall& call) {
    absl::MutexLock lock(&mutex_);
    calls_.push_back(call);
  }};
  uint16_t dependency_port_ = 0;
  uint16_t relay_port_ = 0;
  Fd listener_;
  Fd service_;
  Fd dependency_;
};

INSTANTIATE_TEST_SUITE_P(Ways, CallerLeftTest, ::testing::Values(Leaves::kCloses, Leaves::kResets),
                         [](const auto& info) { return info.param == Leaves::kCloses ? "Closes" : "Resets"; });

TEST_P(CallerLeftTest, WithoutAFault) {
  ConnectThrough();
  Send(service_, kGet);
  ASSERT_EQ(Read(dependency_), kGet);
  ExpectLeft();
}

TEST_P(CallerLeftTest, WhileTheAnswerIsHeldBack) {
  for (const Fault& fault : {Latency(DIRECTION_RESPONSE), Stall(DIRECTION_RESPONSE), Stall(DIRECTION_BOTH)}) {
    ConnectThrough();
    Send(service_, kGet);
    ASSERT_EQ(Read(dependency_), kGet);
    Set(fault);
    const int64_t before = BytesToService();
    Send(dependency_, kAnswer);
    ASSERT_TRUE(Eventually([&] { return BytesToService() > before; }));
    ExpectLeft();
    ASSERT_TRUE(relay_.ClearFault("edge", fault.kind_case()).ok());
    absl::MutexLock lock(&mutex_);
    calls_.clear();
  }
}

TEST_P(CallerLeftTest, WhileTheRequestIsHeldBack) {
  for (const Fault& fault : {Latency(DIRECTION_REQUEST), Latency(DIRECTION_BOTH), Stall(DIRECTION_REQUEST)}) {
    ConnectThrough();
    Set(fault);
    const int64_t before = BytesToDependency();
    Send(service_, kGet);
    ASSERT_TRUE(Eventually([&] { return BytesToDependency() > before; }));
    ExpectLeft();
    ASSERT_TRUE(relay_.ClearFault("edge", fault.kind_case()).ok());
    absl::MutexLock lock(&mutex_);
    calls_.clear();
  }
}

TEST_P(CallerLeftTest, WhileSquallHoldsTheRequestBack) {
  ConnectThrough();
  Fault fault;
  fault.mutable_http()->set_edge("edge");
  fault.mutable_http()->set_percent(100);
  fault.mutable_http()->mutable_delay()->set_seconds(kHeldForSeconds);
  Set(fault);
  Send(service_, kGet);
  ASSERT_TRUE(Eventually([&] { return BytesToDependency() > 0; }));
  ExpectLeft();
}

TEST_P(CallerLeftTest, WhileAnUploadIsLargerThanWhatIsHeld) {
  ConnectThrough();
  Set(Latency(DIRECTION_REQUEST));
  constexpr size_t kHeld = 4 << 20;  // of one direction of a connection
  Send(service_, absl::StrCat("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: ", 2 * kHeld, "\r\n\r\n", std::string(kHeld + (32 << 10), 'x')));
  ASSERT_TRUE(Eventually([&] { return BytesToDependency() > static_cast<int64_t>(kHeld - (256 << 10)); }));
  ExpectLeft();
}

TEST_P(CallerLeftTest, UnderABlackholeOnConnectionsOldAndNew) {
  Fault fault;
  fault.mutable_blackhole()->set_edge("edge");
  for (const bool old : {true, false}) {
    if (old) ConnectThrough();
    Set(fault);
    if (!old) Connect();
    const int64_t before = BytesToDependency();
    Send(service_, kGet);
    ASSERT_TRUE(Eventually([&] { return BytesToDependency() > before; }));
    ExpectLeft();
    ASSERT_TRUE(relay_.ClearFault("edge", Fault::kBlackhole).ok());
    absl::MutexLock lock(&mutex_);
    calls_.clear();
  }
}

std::string Settings() {
  std::string bytes;
  AppendFrame(bytes, kSettings, 0, 0, "");
  return bytes;
}

// GET http /, by entries of the static table.
std::string Request(uint32_t stream) {
  std::string bytes;
  AppendHeaderBlock(bytes, stream, /*end_stream=*/true, "\x82\x86\x84");
  return bytes;
}

std::string Answer(uint32_t stream) {
  std::string bytes;
  AppendHeaderBlock(bytes, stream, /*end_stream=*/false, "\x88");
  AppendFrame(bytes, kData, kEndStream, stream, "ok");
  return bytes;
}

std::string Cancel(uint32_t stream) {
  std::string bytes;
  AppendRstStream(bytes, stream, 8);
  return bytes;
}

using CallerResetsStreamTest = CallerLeftTest;
INSTANTIATE_TEST_SUITE_P(Once, CallerResetsStreamTest, ::testing::Values(Leaves::kCloses));

TEST_P(CallerResetsStreamTest, WhileAnswersAreHeldBackOrNotGiven) {
  for (const bool answered : {false, true}) {
    for (const Fault& fault : {Latency(DIRECTION_RESPONSE), Latency(DIRECTION_BOTH), Stall(DIRECTION_RESPONSE)}) {
      ConnectThrough();
      Send(service_, absl::StrCat(kHttp2Preface, Settings(), Request(1), Request(3)));
      Send(dependency_, Settings());
      ASSERT_TRUE(Eventually([&] { return Read(service_).size() > 0; }));
      Set(fault);
      const int64_t before = BytesToService();
      const std::string answers = answered ? Answer(1) + Answer(3) : Settings();
      Send(dependency_, answers);
      ASSERT_TRUE(Eventually([&] { return BytesToService() == before + static_cast<int64_t>(answers.size()); }));
      ASSERT_EQ(Calls(), 0u);
      const int64_t leaves = BootNanos();
      Send(service_, Cancel(1));
      ExpectOneEnded(leaves);
      // The other one goes on.
      ASSERT_TRUE(relay_.ClearFault("edge", fault.kind_case()).ok());
      if (!answered) Send(dependency_, Answer(3));
      ASSERT_TRUE(Eventually([this] { return Calls() == 2; }));
      service_.Reset();
      absl::MutexLock lock(&mutex_);
      EXPECT_EQ(calls_[1].result, ANSWERED);
      calls_.clear();
    }
  }
}

TEST_P(CallerResetsStreamTest, WhileTheRequestIsHeldBack) {
  Set(Latency(DIRECTION_REQUEST));
  ConnectThrough();
  Send(service_, absl::StrCat(kHttp2Preface, Settings(), Request(1)));
  ASSERT_TRUE(Eventually([&] { return BytesToDependency() > 0; }));
  const int64_t leaves = BootNanos();
  Send(service_, Cancel(1));
  ExpectOneEnded(leaves);
}

}  // namespace
}  // namespace squall
