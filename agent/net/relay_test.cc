// The relay against real sockets on loopback, without privileges.
#include "agent/net/relay.h"

#include <gtest/gtest.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include <cerrno>
#include <thread>

#include "absl/synchronization/mutex.h"
#include "absl/time/clock.h"
#include "base/clock.h"

namespace squall {
namespace {

Address Local(uint16_t port) { return ResolveAddress("127.0.0.1:" + std::to_string(port)).value().front(); }

Fd ListenOn(uint16_t port, uint16_t* chosen) {
  Fd fd(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const int one = 1;
  setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
  Address address = Local(1);
  address.port = port;
  sockaddr_storage storage;
  socklen_t length = address.ToSockaddr(storage);
  EXPECT_EQ(bind(fd.get(), reinterpret_cast<sockaddr*>(&storage), length), 0) << strerror(errno);
  EXPECT_EQ(listen(fd.get(), 128), 0);
  length = sizeof(storage);
  getsockname(fd.get(), reinterpret_cast<sockaddr*>(&storage), &length);
  *chosen = FromSockaddr(storage).port;
  return fd;
}

uint16_t FreePort() {
  uint16_t port;
  ListenOn(0, &port);
  return port;
}

// errno of the connect, 0 when it succeeded.
int Connect(uint16_t port, Fd& fd) {
  fd = Fd(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_storage storage;
  const socklen_t length = Local(port).ToSockaddr(storage);
  return connect(fd.get(), reinterpret_cast<sockaddr*>(&storage), length) == 0 ? 0 : errno;
}

std::string ReadSome(int fd) {
  char buffer[4096];
  const ssize_t size = read(fd, buffer, sizeof(buffer));
  return size < 0 ? "errno " + std::to_string(errno) : std::string(buffer, static_cast<size_t>(size));
}

void Send(int fd, const std::string& text) {
  ASSERT_EQ(send(fd, text.data(), text.size(), MSG_NOSIGNAL), static_cast<ssize_t>(text.size()));
}

// Waits for what another thread does; the bound is a safety net, not an expectation.
template <typename Condition>
bool Eventually(Condition condition) {
  for (int i = 0; i < 5000; ++i) {
    if (condition()) return true;
    absl::SleepFor(absl::Milliseconds(1));
  }
  return false;
}

class RelayTest : public ::testing::Test {
 protected:
  void Open() {
    listener_ = ListenOn(0, &upstream_port_);
    relay_port_ = FreePort();
    Relay::EdgeOptions edge;
    edge.name = "edge";
    edge.to = {Local(upstream_port_)};
    edge.relay_at = Local(relay_port_);
    const absl::Status status = relay_.Open(edge, ns_);
    ASSERT_TRUE(status.ok()) << status;
  }
  void ConnectThrough(Fd& client, Fd& server) {
    ASSERT_EQ(Connect(relay_port_, client), 0);
    server = Fd(accept(listener_.get(), nullptr, nullptr));
    ASSERT_TRUE(server);
  }
  std::vector<SeenCall> Calls() {
    absl::MutexLock lock(&mutex_);
    return calls_;
  }
  static Fault Delay(int ms, Direction direction = DIRECTION_RESPONSE) {
    Fault fault;
    Latency& latency = *fault.mutable_latency();
    latency.set_edge("edge");
    latency.mutable_delay()->set_seconds(ms / 1000);
    latency.mutable_delay()->set_nanos(ms % 1000 * 1'000'000);
    latency.set_direction(direction);
    return fault;
  }

  NetNamespace ns_ = *NetNamespace::Own();
  absl::Mutex mutex_;
  std::vector<SeenCall> calls_;
  std::atomic<bool> at_once_ = false;
  Relay relay_{[this](const std::string&, const SeenCall& call) {
    absl::MutexLock lock(&mutex_);
    calls_.push_back(call);
  }};
  uint16_t upstream_port_ = 0;
  uint16_t relay_port_ = 0;
  Fd listener_;
};

constexpr char kGet[] = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";
constexpr char kAnswer[] = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

TEST_F(RelayTest, PassesBytesBothWaysAndCountsTheCall) {
  Open();
  Fd client, server;
  ConnectThrough(client, server);
  Send(client.get(), kGet);
  EXPECT_EQ(ReadSome(server.get()), kGet);
  Send(server.get(), kAnswer);
  EXPECT_EQ(ReadSome(client.get()), kAnswer);
  ASSERT_TRUE(Eventually([&] { return Calls().size() == 1; }));
  EXPECT_EQ(Calls()[0].status, 200);
}

TEST_F(RelayTest, RefusedStaysRefusedAndComesBack) {
  Open();
  listener_.Reset();
  Fd client;
  EXPECT_TRUE(Eventually([&] { return Connect(relay_port_, client) == ECONNREFUSED; }));
  uint16_t port;
  listener_ = ListenOn(upstream_port_, &port);
  EXPECT_TRUE(Eventually([&] { return Connect(relay_port_, client) == 0; }));
}

TEST_F(RelayTest, HalfCloseStaysHalfClosed) {
  Open();
  Fd client, server;
  ConnectThrough(client, server);
  Send(client.get(), "ping");
  shutdown(client.get(), SHUT_WR);
  EXPECT_EQ(ReadSome(server.get()), "ping");
  EXPECT_EQ(ReadSome(server.get()), "");
  Send(server.get(), "pong");
  EXPECT_EQ(ReadSome(client.get()), "pong");
  server.Reset();
  EXPECT_EQ(ReadSome(client.get()), "");
}

TEST_F(RelayTest, ResetStaysReset) {
  Open();
  Fd client, server;
  ConnectThrough(client, server);
  Send(client.get(), kGet);
  ReadSome(server.get());
  const linger reset = {1, 0};
  setsockopt(server.get(), SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
  server.Reset();
  EXPECT_EQ(ReadSome(client.get()), "errno " + std::to_string(ECONNRESET));
  ASSERT_TRUE(Eventually([&] { return Calls().size() == 1; }));
  EXPECT_EQ(Calls()[0].result, PEER_LEFT);
}

TEST_F(RelayTest, LatencyHoldsTheAnswerBackAndSaysHowLong) {
  Open();
  Fd client, server;
  ConnectThrough(client, server);
  ASSERT_TRUE(relay_.SetFault(Delay(80), 1).ok());
  Send(client.get(), kGet);
  EXPECT_EQ(ReadSome(server.get()), kGet);
  const int64_t before = BootNanos();
  Send(server.get(), kAnswer);
  EXPECT_EQ(ReadSome(client.get()), kAnswer);
  EXPECT_GE(BootNanos() - before, 80'000'000);
  ASSERT_TRUE(Eventually([&] { return Calls().size() == 1; }));
  const Evidence evidence = relay_.FaultEvidence("edge", Fault::kLatency);
  EXPECT_EQ(evidence.connections(), 1);
  EXPECT_EQ(evidence.calls(), 1);
  EXPECT_EQ(evidence.bytes(), static_cast<int64_t>(strlen(kAnswer)));
  EXPECT_GE(evidence.achieved_p50_ns(), 79'000'000);
}

TEST_F(RelayTest, LatencyOnTheRequestLeavesTheAnswerAlone) {
  Open();
  Fd client, server;
  ConnectThrough(client, server);
  ASSERT_TRUE(relay_.SetFault(Delay(80, DIRECTION_REQUEST), 1).ok());
  const int64_t before = BootNanos();
  Send(client.get(), kGet);
  EXPECT_EQ(ReadSome(server.get()), kGet);
  EXPECT_GE(BootNanos() - before, 80'000'000);
  Send(server.get(), kAnswer);
  EXPECT_EQ(ReadSome(client.get()), kAnswer);
  EXPECT_EQ(relay_.FaultEvidence("edge", Fault::kLatency).bytes(), static_cast<int64_t>(strlen(kGet)));
}

TEST_F(RelayTest, HealingPassesOnAtOnceWhatIsHeldBack) {
  Open();
  Fd client, server;
  ConnectThrough(client, server);
  ASSERT_TRUE(relay_.SetFault(Delay(600'000), 1).ok());
  Send(client.get(), kGet);
  ReadSome(server.get());
  Send(server.get(), kAnswer);
  ASSERT_TRUE(Eventually([&] { return relay_.FaultEvidence("edge", Fault::kLatency).bytes() > 0; }));
  EXPECT_TRUE(relay_.ClearFault("edge", Fault::kLatency).ok());
  EXPECT_EQ(ReadSome(client.get()), kAnswer);
  EXPECT_TRUE(relay_.ClearFault("edge", Fault::kLatency).ok());  // twice is once
}

TEST_F(RelayTest, JitterKeepsTheOrder) {
  Open();
  Fd client, server;
  ConnectThrough(client, server);
  Fault latency = Delay(5);
  latency.mutable_latency()->mutable_jitter()->set_nanos(5'000'000);
  ASSERT_TRUE(relay_.SetFault(latency, 7).ok());
  std::string sent, got;
  for (int i = 0; i < 200; ++i) {
    const std::string piece = std::to_string(i) + ",";
    Send(server.get(), piece);
    sent += piece;
    absl::SleepFor(absl::Microseconds(200));
  }
  while (got.size() < sent.size()) got += ReadSome(client.get());
  EXPECT_EQ(got, sent);
}

TEST_F(RelayTest, CallerThatGivesUpWhileTheAnswerIsHeldBackIsCounted) {
  Open();
  Fd client, server;
  ConnectThrough(client, server);
  ASSERT_TRUE(relay_.SetFault(Delay(400), 1).ok());
  Send(client.get(), kGet);
  ReadSome(server.get());
  Send(server.get(), kAnswer);
  ASSERT_TRUE(Eventually([&] { return relay_.FaultEvidence("edge", Fault::kLatency).bytes() > 0; }));
  client.Reset();
  ASSERT_TRUE(Eventually([&] { return Calls().size() == 1; }));
  EXPECT_EQ(Calls()[0].result, CALLER_LEFT);
  EXPECT_EQ(relay_.FaultEvidence("edge", Fault::kLatency).calls(), 1);
}

TEST_F(RelayTest, ClosingLetsIdleConnectionsGoAndCutsBusyOnes) {
  Open();
  Fd idle, idle_server, busy, busy_server;
  ConnectThrough(idle, idle_server);
  ConnectThrough(busy, busy_server);
  Send(busy.get(), kGet);
  ReadSome(busy_server.get());
  relay_.Close(absl::Milliseconds(50), at_once_);
  EXPECT_EQ(ReadSome(idle.get()), "");
  EXPECT_EQ(ReadSome(busy.get()), "errno " + std::to_string(ECONNRESET));
  EXPECT_EQ(relay_.Stats("edge").cut(), 1);
}

TEST_F(RelayTest, ClosingTakesThoseWhoHaveJustConnected) {
  Open();
  Fd first, second;
  std::atomic<int> taken = 0;
  // On the relay's thread, so that nobody accepts the second one meanwhile.
  ASSERT_TRUE(relay_.HandOver("edge", [&](Fd, const Address&) {
    if (taken++ > 0) return;
    EXPECT_EQ(Connect(relay_port_, second), 0);
    relay_.Close(absl::ZeroDuration(), at_once_);
  }).ok());
  ASSERT_EQ(Connect(relay_port_, first), 0);
  EXPECT_TRUE(Eventually([&] { return taken == 2; }));
}

TEST_F(RelayTest, ClosingGivesNewConnectionsTimeForTheirFirstRequest) {
  Open();
  Fd client, server;
  ConnectThrough(client, server);
  std::thread closing([&] { relay_.Close(absl::Seconds(20), at_once_); });
  ASSERT_TRUE(Eventually([&] {
    Fd none;
    return Connect(relay_port_, none) == ECONNREFUSED;
  }));
  Send(client.get(), kGet);
  EXPECT_EQ(ReadSome(server.get()), kGet);
  Send(server.get(), kAnswer);
  EXPECT_EQ(ReadSome(client.get()), kAnswer);
  closing.join();
  EXPECT_EQ(relay_.Stats("edge").cut(), 0);
}

TEST_F(RelayTest, ClosingWaitsForBusyOnesNoLongerThanUntilItMustEndAtOnce) {
  Open();
  Fd busy, busy_server;
  ConnectThrough(busy, busy_server);
  Send(busy.get(), kGet);
  ReadSome(busy_server.get());
  const absl::Time asked = absl::Now();
  std::thread closing([&] { relay_.Close(absl::Seconds(60), at_once_); });
  at_once_ = true;
  closing.join();
  EXPECT_LT(absl::Now() - asked, absl::Seconds(30));
  EXPECT_EQ(relay_.Stats("edge").cut(), 1);
}

TEST_F(RelayTest, MuchDataPassesWhole) {
  Open();
  Fd client, server;
  ConnectThrough(client, server);
  ASSERT_TRUE(relay_.SetFault(Delay(1), 1).ok());
  constexpr size_t kSize = 32 << 20;
  std::thread sender([&] {
    const std::string piece(1 << 20, 'x');
    for (size_t i = 0; i < kSize / piece.size(); ++i) Send(server.get(), piece);
  });
  size_t got = 0;
  while (got < kSize) {
    char buffer[65536];
    const ssize_t size = read(client.get(), buffer, sizeof(buffer));
    ASSERT_GT(size, 0);
    got += static_cast<size_t>(size);
  }
  sender.join();
  EXPECT_EQ(got, kSize);
}

TEST_F(RelayTest, OwnAnswersThatNobodyTakesAreNotPiledUp) {
  Open();
  Fd client, server;
  ConnectThrough(client, server);
  Fault stall, http;
  stall.mutable_stall()->set_edge("edge");
  http.mutable_http()->set_edge("edge");
  http.mutable_http()->set_status(503);
  http.mutable_http()->set_percent(100);
  http.mutable_http()->set_body(std::string(64 << 10, 'x'));
  ASSERT_TRUE(relay_.SetFault(stall, 1).ok());
  ASSERT_TRUE(relay_.SetFault(http, 1).ok());
  std::string requests;
  for (int i = 0; i < 2000; ++i) requests += kGet;
  Send(client.get(), requests);
  const auto answers = [&] { return relay_.FaultEvidence("edge", Fault::kHttp).calls(); };
  ASSERT_TRUE(Eventually([&] { return answers() > 0; }));
  for (int i = 0; i < 200; ++i) ASSERT_TRUE(relay_.SetFault(Delay(1, DIRECTION_REQUEST), 1).ok());  // moves it
  EXPECT_LT(answers(), 150);
  ASSERT_TRUE(relay_.ClearFault("edge", Fault::kStall).ok());
  std::thread reader([&] {
    char buffer[65536];
    while (read(client.get(), buffer, sizeof(buffer)) > 0) {
    }
  });
  EXPECT_TRUE(Eventually([&] { return Calls().size() == 2000; }));
  shutdown(client.get(), SHUT_RDWR);
  reader.join();
}

TEST_F(RelayTest, AddressesStayWhenNewOnesCannotBeWatched) {
  Open();
  rlimit limit;
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &limit), 0);
  const rlimit none = {3, limit.rlim_max};
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &none), 0);
  const absl::Status status = relay_.SetAddresses("edge", {Local(upstream_port_), Local(1)});
  setrlimit(RLIMIT_NOFILE, &limit);
  EXPECT_FALSE(status.ok());
  Fd client, server;
  ConnectThrough(client, server);
  Send(client.get(), "x");
  EXPECT_EQ(ReadSome(server.get()), "x");
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &none), 0);
  EXPECT_FALSE(relay_.SetAddresses("edge", {Local(1), Local(upstream_port_)}).ok());
  setrlimit(RLIMIT_NOFILE, &limit);
  Fd other, other_server;
  ConnectThrough(other, other_server);
}

TEST_F(RelayTest, AddressThatIsTakenIsAClearError) {
  Open();
  Relay::EdgeOptions edge;
  edge.name = "other";
  edge.to = {Local(upstream_port_)};
  edge.relay_at = Local(upstream_port_);
  const absl::Status status = relay_.Open(edge, ns_);
  EXPECT_FALSE(status.ok());
  EXPECT_NE(std::string(status.message()).find("cannot listen on 127.0.0.1"), std::string::npos) << status;
}

}  // namespace
}  // namespace squall
