// The faults that the relay does by itself, on real connections through it, without privileges, IPv4 and IPv6. Beside the edge
// that they act on there is another one that must see nothing.
#include <gtest/gtest.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>

#include <cerrno>
#include <random>
#include <thread>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "agent/faults/fault.h"
#include "base/clock.h"
#include "base/durations.h"

namespace squall {
namespace {

constexpr int kPatienceMs = 5000;  // a safety net, not an expectation

Fd ListenAt(const Address& at, Address* chosen) {
  Fd fd(socket(at.Family(), SOCK_STREAM | SOCK_CLOEXEC, 0));
  const int one = 1;
  setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
  sockaddr_storage storage;
  socklen_t length = at.ToSockaddr(storage);
  if (at.Family() == AF_INET) {
    reinterpret_cast<sockaddr_in&>(storage).sin_port = 0;
  } else {
    reinterpret_cast<sockaddr_in6&>(storage).sin6_port = 0;
  }
  EXPECT_EQ(bind(fd.get(), reinterpret_cast<sockaddr*>(&storage), length), 0) << strerror(errno);
  EXPECT_EQ(listen(fd.get(), 128), 0);
  getsockname(fd.get(), reinterpret_cast<sockaddr*>(&storage), &length);
  *chosen = FromSockaddr(storage);
  return fd;
}

// errno of the connect, 0 when it succeeded.
int Connect(const Address& to, Fd& fd) {
  fd = Fd(socket(to.Family(), SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_storage storage;
  const socklen_t length = to.ToSockaddr(storage);
  return connect(fd.get(), reinterpret_cast<sockaddr*>(&storage), length) == 0 ? 0 : errno;
}

bool Readable(int fd, int ms) {
  pollfd one = {fd, POLLIN, 0};
  return poll(&one, 1, ms) > 0;
}

// What comes next: bytes, "EOF", an errno's text, or "silence".
std::string Next(int fd, int ms = kPatienceMs) {
  if (!Readable(fd, ms)) return "silence";
  char buffer[4096];
  const ssize_t size = read(fd, buffer, sizeof(buffer));
  if (size == 0) return "EOF";
  return size < 0 ? strerror(errno) : std::string(buffer, static_cast<size_t>(size));
}

// So many bytes, or fewer when it ends before.
std::string ReadAll(int fd, size_t count) {
  std::string all;
  while (all.size() < count) {
    const std::string some = Next(fd);
    if (some == "EOF" || some == "silence" || some == strerror(ECONNRESET)) return all + some;
    all += some;
  }
  return all;
}

void Send(int fd, const std::string& text) {
  ASSERT_EQ(send(fd, text.data(), text.size(), MSG_NOSIGNAL), static_cast<ssize_t>(text.size()));
}

template <typename Condition>
bool Eventually(Condition condition) {
  for (int i = 0; i < kPatienceMs; ++i) {
    if (condition()) return true;
    absl::SleepFor(absl::Milliseconds(1));
  }
  return false;
}

// A connection through the relay, with both ends in hand.
struct Line {
  Fd client, server;
};

class RelayFaultsTest : public ::testing::TestWithParam<const char*> {
 protected:
  struct End {
    Address upstream, relay;
    Fd listener;
  };

  void SetUp() override {
    context_.relay = &relay_;
    context_.seed = 1;
    for (const char* name : {"edge", "beside"}) {
      End& end = ends_[name];
      const Address any = ParseAddress(absl::StrCat(GetParam(), ":1")).value();
      end.listener = ListenAt(any, &end.upstream);
      ListenAt(any, &end.relay);  // closed at once: it is free
      Relay::EdgeOptions options;
      options.name = name;
      options.to = {end.upstream};
      options.relay_at = end.relay;
      const absl::Status status = relay_.Open(options, ns_);
      ASSERT_TRUE(status.ok()) << status;
    }
    beside_ = Dial("beside");
  }
  void TearDown() override {
    Send(beside_.client.get(), "as ever");
    EXPECT_EQ(Next(beside_.server.get()), "as ever");
    Send(beside_.server.get(), "and back");
    EXPECT_EQ(Next(beside_.client.get()), "and back");
    Fd another;
    EXPECT_EQ(Connect(ends_["beside"].relay, another), 0);
  }

  Line Dial(const std::string& name = "edge") {
    Line line;
    EXPECT_EQ(Connect(ends_[name].relay, line.client), 0);
    line.server = Fd(accept(ends_[name].listener.get(), nullptr, nullptr));
    EXPECT_TRUE(line.server);
    return line;
  }
  std::unique_ptr<ActiveFault> Inject(const Fault& fault) {
    auto active = MakeFault(fault, context_);
    const absl::Status status = active->Inject();
    EXPECT_TRUE(status.ok()) << status;
    return active;
  }
  void HealTwice(ActiveFault& fault) {
    EXPECT_TRUE(fault.Heal(HealFor::kFaultOver).ok());
    EXPECT_TRUE(fault.Heal(HealFor::kRunOver).ok());
  }
  void ExpectAsBefore(Line& line) {
    Send(line.client.get(), "request");
    EXPECT_EQ(Next(line.server.get()), "request");
    Send(line.server.get(), "answer");
    EXPECT_EQ(Next(line.client.get()), "answer");
  }
  void ExpectAsBefore() {
    Line line = Dial();
    ExpectAsBefore(line);
  }

  // One of every kind, on this edge.
  static std::vector<Fault> All(const std::string& edge) {
    std::vector<Fault> all(8);
    all[0].mutable_latency()->set_edge(edge);
    all[0].mutable_latency()->mutable_delay()->set_seconds(600);
    all[1].mutable_bandwidth()->set_edge(edge);
    all[1].mutable_bandwidth()->set_rate(64);
    all[1].mutable_bandwidth()->set_burst(1);
    all[2].mutable_slice()->set_edge(edge);
    all[2].mutable_slice()->set_size(1);
    all[2].mutable_slice()->mutable_delay()->set_seconds(600);
    all[3].mutable_stall()->set_edge(edge);
    all[4].mutable_limit_data()->set_edge(edge);
    all[4].mutable_limit_data()->set_bytes(1'000'000);
    all[5].mutable_reset()->set_edge(edge);
    all[5].mutable_reset()->set_after_bytes(1'000'000);
    all[6].mutable_blackhole()->set_edge(edge);
    all[7].mutable_refuse()->set_edge(edge);
    return all;
  }

  NetNamespace ns_ = *NetNamespace::Own();
  Relay relay_{[](const std::string&, const SeenCall&) {}};
  FaultContext context_;
  std::map<std::string, End> ends_;
  Line beside_;
};

INSTANTIATE_TEST_SUITE_P(Families, RelayFaultsTest, ::testing::Values("127.0.0.1", "[::1]"),
                         [](const auto& family) { return std::string(family.index == 0 ? "IPv4" : "IPv6"); });

TEST_P(RelayFaultsTest, HealTwiceAndConnectionsOldAndNewAreAsBefore) {
  Line old = Dial();
  for (const Fault& fault : All("edge")) {
    const absl::Status set = relay_.SetFault(fault, 1);
    ASSERT_TRUE(set.ok()) << set;
    EXPECT_TRUE(relay_.ClearFault("edge", fault.kind_case()).ok());
    EXPECT_TRUE(relay_.ClearFault("edge", fault.kind_case()).ok());
    ExpectAsBefore(old);
    ExpectAsBefore();
  }
}

TEST_P(RelayFaultsTest, FailedInjectionLeavesNothing) {
  Line old = Dial();
  for (const Fault& fault : All("nowhere")) {
    EXPECT_TRUE(absl::IsNotFound(relay_.SetFault(fault, 1)));
    EXPECT_TRUE(relay_.ClearFault("nowhere", fault.kind_case()).ok());
    ExpectAsBefore(old);
  }
  ExpectAsBefore();
}

TEST_P(RelayFaultsTest, HealingReleasesAtOnceWhatWasHeldOnOldAndNewConnections) {
  // Those that hold back, each for longer than anybody would wait.
  for (const size_t kind : {0, 1, 2, 3}) {
    Line old = Dial();
    const Fault fault = All("edge")[kind];
    const auto active = Inject(fault);
    Line fresh = Dial();
    const std::string answer(400, 'a');
    for (Line* line : {&old, &fresh}) {
      Send(line->server.get(), answer);
      shutdown(line->server.get(), SHUT_WR);
    }
    ASSERT_TRUE(Eventually([&] { return active->Seen().connections() == 2; })) << kind;
    EXPECT_TRUE(active->Heal(HealFor::kFaultOver).ok());
    for (Line* line : {&old, &fresh}) EXPECT_EQ(ReadAll(line->client.get(), answer.size() + 1), answer + "EOF") << kind;
    HealTwice(*active);
  }
}

TEST_P(RelayFaultsTest, BandwidthIsKeptAndSaysWhatItAchieved) {
  Line line = Dial();
  Fault fault;
  fault.mutable_bandwidth()->set_edge("edge");
  fault.mutable_bandwidth()->set_rate(1 << 20);
  const auto active = Inject(fault);
  const std::string sent(400 << 10, 'x');
  std::thread sender([&] { Send(line.server.get(), sent); });
  const int64_t begin = BootNanos();
  EXPECT_EQ(ReadAll(line.client.get(), sent.size()), sent);
  EXPECT_GE(BootNanos() - begin, 350'000'000);  // 400 KiB less the burst, at 1 MiB/s
  sender.join();
  EXPECT_EQ(active->Seen().connections(), 1);
  EXPECT_GT(active->Seen().bytes(), 300 << 10);
  HealTwice(*active);
}

TEST_P(RelayFaultsTest, StallPassesSoMuchAndThenNeitherBytesNorFinNorReset) {
  Line closed = Dial(), reset = Dial();
  Fault fault;
  fault.mutable_stall()->set_edge("edge");
  fault.mutable_stall()->set_after_bytes(4);
  const auto active = Inject(fault);
  for (Line* line : {&closed, &reset}) {
    Send(line->client.get(), "request");
    EXPECT_EQ(Next(line->server.get()), "request");
    Send(line->server.get(), "answer");
    EXPECT_EQ(ReadAll(line->client.get(), 4), "answ");
  }
  closed.server.Reset();
  const linger at_once = {1, 0};
  setsockopt(reset.server.get(), SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
  reset.server.Reset();
  EXPECT_EQ(Next(closed.client.get(), 100), "silence");
  EXPECT_EQ(Next(reset.client.get(), 1), "silence");
  EXPECT_EQ(active->Seen().connections(), 2);
  EXPECT_EQ(active->Seen().bytes(), 4);
  HealTwice(*active);
  EXPECT_EQ(ReadAll(closed.client.get(), 3), "erEOF");
  EXPECT_EQ(ReadAll(reset.client.get(), 3), absl::StrCat("er", strerror(ECONNRESET)));
}

TEST_P(RelayFaultsTest, SliceDripsInPiecesOfTheirOwn) {
  Line line = Dial();
  Fault fault;
  fault.mutable_slice()->set_edge("edge");
  fault.mutable_slice()->set_size(3);
  fault.mutable_slice()->mutable_delay()->set_nanos(20'000'000);
  const auto active = Inject(fault);
  Send(line.server.get(), "abcdefgh");
  const int64_t begin = BootNanos();
  EXPECT_EQ(Next(line.client.get()), "abc");
  EXPECT_EQ(Next(line.client.get()), "def");
  EXPECT_EQ(Next(line.client.get()), "gh");
  EXPECT_GE(BootNanos() - begin, 38'000'000);
  EXPECT_EQ(active->Seen().pieces(), 3);
  EXPECT_EQ(active->Seen().connections(), 1);
  HealTwice(*active);
}

TEST_P(RelayFaultsTest, LimitDataEndsInOrderInMidStreamEvenWhenTheClientSendsMore) {
  Line line = Dial();
  Fault fault;
  fault.mutable_limit_data()->set_edge("edge");
  fault.mutable_limit_data()->set_bytes(5);
  const auto active = Inject(fault);
  Send(line.client.get(), "request");
  EXPECT_EQ(Next(line.server.get()), "request");
  Send(line.server.get(), "answer");
  EXPECT_EQ(ReadAll(line.client.get(), 6), "answeEOF");
  // It is not answered with a reset, after which sending fails.
  Send(line.client.get(), "what is wrong?");
  absl::SleepFor(absl::Milliseconds(20));
  Send(line.client.get(), "hello?");
  EXPECT_EQ(Next(line.server.get()), "EOF");
  EXPECT_EQ(active->Seen().cut(), 1);
  line = Line();
  // None of it: new connections end where they begin.
  fault.mutable_limit_data()->set_bytes(0);
  const auto none = Inject(fault);
  Fd client;
  EXPECT_EQ(Connect(ends_["edge"].relay, client), 0);
  EXPECT_EQ(Next(client.get()), "EOF");
  HealTwice(*none);
}

TEST_P(RelayFaultsTest, ResetHitsConnectionsOldAndNewAfterTimeAndBytes) {
  Line old = Dial();
  Fault fault;
  fault.mutable_reset()->set_edge("edge");
  fault.mutable_reset()->set_existing(true);
  fault.mutable_reset()->mutable_after()->set_nanos(50'000'000);
  fault.mutable_reset()->set_after_bytes(4);
  const auto active = Inject(fault);
  Line fresh = Dial();
  EXPECT_EQ(Next(old.client.get(), 80), "silence");
  for (Line* line : {&old, &fresh}) {
    Send(line->server.get(), "answer");
    EXPECT_EQ(ReadAll(line->client.get(), 6), absl::StrCat("answ", strerror(ECONNRESET)));
    EXPECT_EQ(Next(line->server.get()), strerror(ECONNRESET));
  }
  EXPECT_EQ(active->Seen().cut(), 2);
  HealTwice(*active);
  ExpectAsBefore();
}

TEST_P(RelayFaultsTest, ResetOfNewConnectionsSparesTheOldOnes) {
  Line old = Dial();
  Fault fault;
  fault.mutable_reset()->set_edge("edge");
  const auto active = Inject(fault);
  Fd client;
  EXPECT_EQ(Connect(ends_["edge"].relay, client), 0);
  EXPECT_EQ(Next(client.get()), strerror(ECONNRESET));
  ExpectAsBefore(old);
  EXPECT_EQ(active->Seen().cut(), 1);
  HealTwice(*active);
}

TEST_P(RelayFaultsTest, BlackholeAcceptsAndNothingPassesEitherWay) {
  Line old = Dial();
  Fault fault;
  fault.mutable_blackhole()->set_edge("edge");
  ASSERT_TRUE(relay_.SetFault(fault, 1).ok());
  Fd fresh;
  ASSERT_EQ(Connect(ends_["edge"].relay, fresh), 0);
  Send(fresh.get(), "hello");
  Send(old.client.get(), "request");
  Send(old.server.get(), "push");
  EXPECT_EQ(Next(old.server.get(), 50), "silence");
  EXPECT_EQ(Next(old.client.get(), 1), "silence");
  EXPECT_EQ(Next(fresh.get(), 1), "silence");
  EXPECT_FALSE(Readable(ends_["edge"].listener.get(), 1)) << "the dependency must not notice";
  EXPECT_EQ(relay_.FaultEvidence("edge", Fault::kBlackhole).connections(), 2);
  EXPECT_TRUE(relay_.ClearFault("edge", Fault::kBlackhole).ok());
  EXPECT_EQ(Next(old.server.get()), "request");
  EXPECT_EQ(Next(old.client.get()), "push");
  const Fd server(accept(ends_["edge"].listener.get(), nullptr, nullptr));
  EXPECT_EQ(Next(server.get()), "hello");
}

TEST_P(RelayFaultsTest, BlackholeOfADependencyThatIsGoneIsSilentToo) {
  Fault fault;
  fault.mutable_blackhole()->set_edge("edge");
  ASSERT_TRUE(relay_.SetFault(fault, 1).ok());
  ends_["edge"].listener.Reset();
  absl::SleepFor(absl::Milliseconds(30));  // several looks at the dependency
  Fd client;
  EXPECT_EQ(Connect(ends_["edge"].relay, client), 0);
  EXPECT_TRUE(relay_.ClearFault("edge", Fault::kBlackhole).ok());
  EXPECT_TRUE(Eventually([&] { return Connect(ends_["edge"].relay, client) == ECONNREFUSED; }));
}

TEST_P(RelayFaultsTest, RefuseTurnsNewConnectionsAwayAndLetsOldOnesGoOn) {
  Line old = Dial();
  Fault fault;
  fault.mutable_refuse()->set_edge("edge");
  ASSERT_TRUE(relay_.SetFault(fault, 1).ok());
  Fd client;
  EXPECT_EQ(Connect(ends_["edge"].relay, client), ECONNREFUSED);
  absl::SleepFor(absl::Milliseconds(20));  // a look at the dependency does not open it again
  EXPECT_EQ(Connect(ends_["edge"].relay, client), ECONNREFUSED);
  ExpectAsBefore(old);
  const Evidence during = relay_.FaultEvidence("edge", Fault::kRefuse);
  EXPECT_GE(during.refused(), 2);
  EXPECT_TRUE(during.refused_of_all());
  EXPECT_TRUE(relay_.ClearFault("edge", Fault::kRefuse).ok());
  ExpectAsBefore();
  const int64_t refused = relay_.FaultEvidence("edge", Fault::kRefuse).refused();
  EXPECT_GE(refused, during.refused());
  // What fails afterwards is not its doing.
  Address nobody;
  ListenAt(ends_["edge"].upstream, &nobody);  // closed at once
  EXPECT_EQ(Connect(nobody, client), ECONNREFUSED);
  EXPECT_EQ(relay_.FaultEvidence("edge", Fault::kRefuse).refused(), refused);
}

// Known bytes flow both ways on connections old and new while faults of all kinds that end nothing come and go.
TEST_P(RelayFaultsTest, InEveryOrderKeepEveryByte) {
  constexpr size_t kSize = 3 << 20;
  const auto text = [](uint64_t seed) {
    std::mt19937_64 random(seed);
    std::string bytes(kSize, 0);
    for (char& byte : bytes) byte = static_cast<char>(random());
    return bytes;
  };
  std::vector<Line> lines;
  std::vector<std::thread> flows;
  std::atomic<int> whole = 0;
  const auto flow = [&](int from, int to, uint64_t seed) {
    flows.emplace_back([&, from, seed] {
      const std::string bytes = text(seed);
      for (size_t at = 0; at < kSize;) {
        const ssize_t size = send(from, bytes.data() + at, std::min<size_t>(9973, kSize - at), MSG_NOSIGNAL);
        if (size <= 0) return;
        at += static_cast<size_t>(size);
        if (at % 7 == 0) absl::SleepFor(absl::Microseconds(300));
      }
      shutdown(from, SHUT_WR);
    });
    flows.emplace_back([&, to, seed] {
      const std::string bytes = text(seed);
      std::string got(kSize, 0);
      size_t at = 0;
      for (ssize_t size = 1; at < kSize && size > 0; at += static_cast<size_t>(std::max<ssize_t>(0, size))) {
        size = read(to, got.data() + at, kSize - at);
      }
      char more;
      whole += at == kSize && got == bytes && read(to, &more, 1) == 0;
    });
  };
  lines.reserve(4);
  std::mt19937_64 random(5);
  std::vector<Fault> faults = All("edge");
  faults[0].mutable_latency()->mutable_delay()->set_seconds(0);
  faults[0].mutable_latency()->mutable_delay()->set_nanos(5'000'000);
  faults[0].mutable_latency()->mutable_jitter()->set_nanos(5'000'000);
  faults[0].mutable_latency()->set_direction(DIRECTION_BOTH);
  faults[1].mutable_bandwidth()->set_rate(5 << 20);
  faults[1].mutable_bandwidth()->set_burst(0);
  faults[2].mutable_slice()->set_size(1000);
  faults[2].mutable_slice()->set_variation(900);
  *faults[2].mutable_slice()->mutable_delay() = FromDuration(absl::Microseconds(200));
  faults[2].mutable_slice()->set_direction(DIRECTION_BOTH);
  faults[3].mutable_stall()->set_after_bytes(10'000);
  faults[3].mutable_stall()->set_direction(DIRECTION_BOTH);
  faults[3].mutable_stall()->set_share(50);
  faults[4] = faults[6];  // the black hole
  for (int step = 0; step < 150; ++step) {
    if (step % 10 == 0 && lines.size() < 4) {
      ASSERT_TRUE(relay_.ClearFault("edge", Fault::kBlackhole).ok());
      lines.push_back(Dial());
      flow(lines.back().client.get(), lines.back().server.get(), static_cast<uint64_t>(2 * step));
      flow(lines.back().server.get(), lines.back().client.get(), static_cast<uint64_t>(2 * step + 1));
    }
    const Fault& fault = faults[random() % 5];
    if (random() % 2 == 0) {
      ASSERT_TRUE(relay_.SetFault(fault, random()).ok());
    } else {
      ASSERT_TRUE(relay_.ClearFault("edge", fault.kind_case()).ok());
    }
    absl::SleepFor(absl::Milliseconds(random() % 8));
  }
  std::shuffle(faults.begin(), faults.begin() + 5, random);
  for (size_t i = 0; i < 5; ++i) ASSERT_TRUE(relay_.ClearFault("edge", faults[i].kind_case()).ok());
  for (std::thread& thread : flows) thread.join();
  EXPECT_EQ(whole, 8);
}

}  // namespace
}  // namespace squall
