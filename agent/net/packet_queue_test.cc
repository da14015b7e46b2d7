// The packet queue on real sockets, in a network namespace of this program's own with two ways to a peer: loopback, and a pair
// of interfaces to another namespace.
#include "agent/net/packet_queue.h"

#include <gtest/gtest.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <map>
#include <thread>

#include "absl/strings/str_cat.h"
#include "agent/net/live_reject.h"
#include "agent/process/cgroup.h"
#include "base/clock.h"
#include "base/fd.h"

namespace squall {
namespace {

constexpr int64_t kMs = 1'000'000;
using What = PacketAction::What;

void Do(const std::string& command) { ASSERT_EQ(system(command.c_str()), 0) << command; }

// A forked process, ended with this object and with the test.
class Child {
 public:
  explicit Child(const std::function<void()>& work) {
    pid_ = fork();
    if (pid_ != 0) return;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    work();
    _exit(0);
  }
  ~Child() { Kill(); }
  void Kill() {
    if (pid_ <= 0) return;
    kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
    pid_ = 0;
  }
  pid_t pid() const { return pid_; }

 private:
  pid_t pid_ = 0;
};

Fd Bound(int family, int type, const Address& at) {
  Fd fd(socket(family, type | SOCK_CLOEXEC, 0));
  const int one = 1;
  setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
  sockaddr_storage storage;
  const socklen_t length = at.ToSockaddr(storage);
  EXPECT_EQ(bind(fd.get(), reinterpret_cast<sockaddr*>(&storage), length), 0) << at.ToString() << strerror(errno);
  return fd;
}

// Sends back what it gets, over UDP and TCP, at each of the addresses. Never returns.
void Echo(const std::vector<Address>& addresses) {
  std::vector<Fd> fds;
  std::vector<pollfd> polled;
  for (const Address& at : addresses) {
    for (const int type : {SOCK_DGRAM, SOCK_STREAM}) {
      fds.push_back(Bound(at.Family(), type, at));
      if (type == SOCK_STREAM) listen(fds.back().get(), 16);
      polled.push_back({fds.back().get(), POLLIN, 0});
    }
  }
  std::vector<char> buffer(1 << 16);
  while (true) {
    poll(polled.data(), polled.size(), -1);
    const size_t count = polled.size();
    for (size_t i = 0; i < count; ++i) {
      if (polled[i].revents == 0) continue;
      const int fd = polled[i].fd;
      if (i >= fds.size()) {  // a connection
        const ssize_t size = recv(fd, buffer.data(), buffer.size(), 0);
        if (size > 0) {
          (void)!send(fd, buffer.data(), static_cast<size_t>(size), MSG_NOSIGNAL);
        } else {
          close(fd);
          polled[i].fd = -1;
        }
      } else if (i % 2 == 1) {
        polled.push_back({accept(fd, nullptr, nullptr), POLLIN, 0});
      } else {
        sockaddr_storage from;
        socklen_t length = sizeof(from);
        const ssize_t size = recvfrom(fd, buffer.data(), buffer.size(), 0, reinterpret_cast<sockaddr*>(&from), &length);
        if (size >= 0) sendto(fd, buffer.data(), static_cast<size_t>(size), 0, reinterpret_cast<sockaddr*>(&from), length);
      }
    }
  }
}

constexpr uint16_t kPort = 42001;
// The ways of the tests: loopback and another host, IPv4 and IPv6.
const char* const kWays[] = {"127.0.0.1", "[::1]", "10.77.0.2", "[fd77::2]"};
Address At(const std::string& host) { return ParseAddress(absl::StrCat(host, ":", kPort)).value(); }

// Namespaces and echoing peers for all tests.
class World : public ::testing::Environment {
 public:
  void SetUp() override {
    if (geteuid() != 0 || unshare(CLONE_NEWNET) != 0) return;
    Do("ip link set lo up");
    int ready[2], go[2];
    ASSERT_EQ(pipe(ready), 0);
    ASSERT_EQ(pipe(go), 0);
    far_ = std::make_unique<Child>([&] {
      char byte = 0;
      if (unshare(CLONE_NEWNET) != 0 || write(ready[1], &byte, 1) != 1 || read(go[0], &byte, 1) != 1) _exit(1);
      Do("ip addr add 10.77.0.2/24 dev far && ip addr add fd77::2/64 dev far nodad && ip link set far up");
      Echo({At(kWays[2]), At(kWays[3])});
    });
    char byte = 0;
    ASSERT_EQ(read(ready[0], &byte, 1), 1);
    Do("ip link add near type veth peer name far");
    Do(absl::StrCat("ip link set far netns ", far_->pid()));
    Do("ip addr add 10.77.0.1/24 dev near && ip addr add fd77::1/64 dev near nodad && ip link set near up");
    ASSERT_EQ(write(go[1], &byte, 1), 1);
    here_ = std::make_unique<Child>([] { Echo({At(kWays[0]), At(kWays[1])}); });
    for (const int fd : {ready[0], ready[1], go[0], go[1]}) close(fd);
    made = true;
  }
  void TearDown() override {
    here_.reset();
    far_.reset();
  }
  static bool made;

 private:
  std::unique_ptr<Child> far_, here_;
};
bool World::made = false;

// A socket that is connected to the echoing peer, with segments as on a wire, also over loopback. Waits until the peer is there.
Fd Connected(int type, const Address& to) {
  sockaddr_storage storage;
  const socklen_t length = to.ToSockaddr(storage);
  for (int i = 0; i < 500; ++i) {
    Fd fd(socket(to.Family(), type | SOCK_CLOEXEC, 0));
    const int one = 1, segment = 1400;
    if (type == SOCK_STREAM) {
      setsockopt(fd.get(), IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
      setsockopt(fd.get(), IPPROTO_TCP, TCP_MAXSEG, &segment, sizeof(segment));
    }
    if (connect(fd.get(), reinterpret_cast<sockaddr*>(&storage), length) == 0) return fd;
    usleep(10'000);
  }
  ADD_FAILURE() << "no peer at " << to.ToString();
  return Fd();
}

bool Readable(const Fd& fd, int64_t within_ns) {
  pollfd polled = {fd.get(), POLLIN, 0};
  return poll(&polled, 1, static_cast<int>(within_ns / kMs)) == 1;
}

void Send(const Fd& fd, const std::string& text) {
  EXPECT_EQ(send(fd.get(), text.data(), text.size(), MSG_NOSIGNAL), static_cast<ssize_t>(text.size())) << strerror(errno);
}

// Empty when nothing came in time, or the connection ended.
std::string Receive(const Fd& fd, int64_t within_ns = 5000 * kMs) {
  std::string text(1 << 16, '\0');
  const ssize_t size = Readable(fd, within_ns) ? recv(fd.get(), text.data(), text.size(), 0) : 0;
  text.resize(size > 0 ? static_cast<size_t>(size) : 0);
  return text;
}

// How long one message takes there and back; -1 when it does not come back in time.
int64_t RoundTrip(const Fd& fd, int64_t within_ns = 5000 * kMs) {
  const int64_t start = BootNanos();
  Send(fd, "ping");
  return Receive(fd, within_ns).empty() ? -1 : BootNanos() - start;
}

int64_t FastestRoundTrip(const Fd& fd) {
  int64_t fastest = INT64_MAX;
  for (int i = 0; i < 10; ++i) {
    const int64_t took = RoundTrip(fd);
    if (took >= 0) fastest = std::min(fastest, took);
  }
  return fastest;
}

// Sends a stream there and back, and returns what came back.
std::string Stream(const Fd& fd, const std::string& sent) {
  std::string got;
  std::thread sender([&] {
    for (size_t at = 0; at < sent.size();) {
      const ssize_t size = send(fd.get(), sent.data() + at, std::min<size_t>(sent.size() - at, 1400), MSG_NOSIGNAL);
      if (size <= 0) return;
      at += static_cast<size_t>(size);
    }
  });
  while (got.size() < sent.size()) {
    const std::string more = Receive(fd, 10'000 * kMs);
    if (more.empty()) break;
    got += more;
  }
  shutdown(fd.get(), SHUT_RDWR);
  sender.join();
  return got;
}

std::string Letters(size_t size) {
  std::string text(size, '\0');
  for (size_t i = 0; i < size; ++i) text[i] = static_cast<char>('a' + i * 7 % 26 + (i >> 8) % 3);
  return text;
}

PacketAction Action(What what, int protocol, const Address& to, bool request, bool response, double percent = 100) {
  PacketAction action;
  action.to = {to};
  action.protocol = protocol;
  action.what = what;
  action.on_request = request;
  action.on_response = response;
  action.percent = percent;
  action.seed = 7;
  return action;
}

PacketAction Delay(int protocol, const Address& to, bool request, bool response, int64_t delay_ns) {
  PacketAction action = Action(What::kDelay, protocol, to, request, response);
  action.delay_ns = [delay_ns] { return delay_ns; };
  action.requested_ns = delay_ns;
  return action;
}

PacketQueue::Target OfThisProcess() {
  PacketQueue::Target target;
  target.flows = std::make_shared<OwnedFlows>(SocketDiag::Open(NetNamespace::Own().value()).value());
  target.flows->SetProcesses({ReadStat(getpid())->id});
  return target;
}

class PacketQueueTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (World::made) return;
    printf("LEFT OUT: packet_queue_test: network namespaces need root\n");
    GTEST_SKIP();
  }
  void TearDown() override {
    if (!World::made) return;
    queue_.reset();
    EXPECT_EQ(NftTable::Names(ns_).value(), std::vector<std::string>());
    std::ifstream queues("/proc/thread-self/net/netfilter/nfnetlink_queue");
    EXPECT_EQ(std::string(std::istreambuf_iterator<char>(queues), {}), "");
  }
  void Set(const std::string& name, PacketAction action) {
    const absl::Status status = queue_->Set(name, std::move(action));
    ASSERT_TRUE(status.ok()) << status;
  }
  void Clear(const std::string& name) {
    const absl::Status status = queue_->Clear(name);
    ASSERT_TRUE(status.ok()) << status;
  }

  const NetNamespace ns_ = NetNamespace::Own().value();
  std::unique_ptr<PacketQueue> queue_ = World::made ? std::make_unique<PacketQueue>(ns_, OfThisProcess()) : nullptr;
};

TEST_F(PacketQueueTest, WouldWorkHere) {
  EXPECT_EQ(PacketQueue::WhyNot(), "");
  EXPECT_EQ(LiveReject::WhyNot(), "");
}

TEST_F(PacketQueueTest, DoublesDatagramsEachWay) {
  for (const char* way : kWays) {
    for (const bool request : {true, false}) {
      SCOPED_TRACE(absl::StrCat(way, request ? " request" : " response"));
      const Fd fd = Connected(SOCK_DGRAM, At(way));
      Set("twice", Action(What::kDuplicate, IPPROTO_UDP, At(way), request, !request));
      std::map<std::string, int> got;
      for (int i = 0; i < 20; ++i) {
        Send(fd, absl::StrCat("datagram ", i));
        ++got[Receive(fd)];
        ++got[Receive(fd)];
      }
      EXPECT_EQ(got.size(), 20u);
      for (const auto& [text, count] : got) EXPECT_EQ(count, 2) << text;
      EXPECT_FALSE(Readable(fd, 20 * kMs));
      Clear("twice");
      const Evidence evidence = queue_->EvidenceOf("twice");
      // Both answers to a doubled request cross the edge, but not in this direction.
      EXPECT_EQ(evidence.hit_to_dependency(), request ? 20 : 0);
      EXPECT_EQ(evidence.hit_to_service(), request ? 0 : 20);
      EXPECT_EQ(evidence.achieved_percent(), 100);
      Send(fd, "once");
      EXPECT_EQ(Receive(fd), "once");
      EXPECT_FALSE(Readable(fd, 20 * kMs));
    }
  }
}

TEST_F(PacketQueueTest, NothingIsDoubledOnceThatIsCleared) {
  const Fd fd = Connected(SOCK_DGRAM, At(kWays[2]));
  Set("twice", Action(What::kDuplicate, IPPROTO_UDP, At(kWays[2]), true, false));
  Set("late", Delay(IPPROTO_UDP, At(kWays[2]), true, false, 10'000 * kMs));
  Send(fd, "held");
  usleep(50'000);
  Clear("twice");
  Clear("twice");
  Clear("late");
  EXPECT_EQ(Receive(fd), "held");
  EXPECT_FALSE(Readable(fd, 100 * kMs));
  EXPECT_EQ(queue_->EvidenceOf("twice").hit_to_dependency(), 0);
}

TEST_F(PacketQueueTest, LetsLaterDatagramsOvertake) {
  const Fd fd = Connected(SOCK_DGRAM, At(kWays[1]));
  PacketAction action = Action(What::kReorder, IPPROTO_UDP, At(kWays[1]), true, false, 30);
  action.delay_ns = [] { return 20 * kMs; };
  Set("mixed", std::move(action));
  std::vector<int> got;
  for (int i = 0; i < 100; ++i) {
    Send(fd, absl::StrCat(i));
    usleep(1000);
  }
  while (Readable(fd, 200 * kMs)) got.push_back(atoi(Receive(fd).c_str()));
  Clear("mixed");
  EXPECT_FALSE(std::is_sorted(got.begin(), got.end()));
  std::sort(got.begin(), got.end());
  EXPECT_EQ(got.size(), 100u);
  EXPECT_EQ(std::unique(got.begin(), got.end()), got.end());
  EXPECT_NEAR(queue_->EvidenceOf("mixed").achieved_percent(), 30, 15);
}

TEST_F(PacketQueueTest, GoesOnWithOtherValuesOnceTheyAreChanged) {
  const Fd fd = Connected(SOCK_DGRAM, At(kWays[0]));
  EXPECT_EQ(queue_->Change("twice", [](PacketAction&) { FAIL(); }).code(), absl::StatusCode::kNotFound);
  Set("twice", Action(What::kDuplicate, IPPROTO_UDP, At(kWays[0]), true, false, 0));
  const auto copies = [&] {
    int got = 0;
    for (int i = 0; i < 200; ++i) {
      Send(fd, "datagram");
      got += !Receive(fd).empty();
    }
    while (Readable(fd, 50 * kMs)) got += !Receive(fd).empty();
    return got - 200;
  };
  EXPECT_EQ(copies(), 0);
  ASSERT_TRUE(queue_->Change("twice", [](PacketAction& action) { action.percent = 100; }).ok());
  EXPECT_EQ(copies(), 200);
  ASSERT_TRUE(queue_->Change("twice", [](PacketAction& action) { action.percent = 50; }).ok());
  EXPECT_NEAR(copies(), 100, 40);
  const Evidence evidence = queue_->EvidenceOf("twice");
  EXPECT_EQ(evidence.requested_percent(), 50);
  EXPECT_EQ(evidence.packets_to_dependency(), 600);
  EXPECT_NEAR(evidence.hit_to_dependency(), 300, 40);
  Clear("twice");
  EXPECT_EQ(queue_->Change("twice", [](PacketAction&) { FAIL(); }).code(), absl::StatusCode::kNotFound);

  auto delay = std::make_shared<std::atomic<int64_t>>(0);
  PacketAction slow = Delay(IPPROTO_UDP, At(kWays[0]), true, false, 0);
  slow.delay_ns = [delay] { return delay->load(); };
  Set("slow", std::move(slow));
  for (const int64_t ms : {20, 60, 40}) {
    ASSERT_TRUE(queue_->Change("slow", [&](PacketAction& action) {
                        *delay = ms * kMs;
                        action.requested_ns = ms * kMs;
                      }).ok());
    EXPECT_GE(RoundTrip(fd), ms * kMs);
    EXPECT_EQ(queue_->EvidenceOf("slow").requested_ns(), ms * kMs);
    EXPECT_GE(queue_->EvidenceOf("slow").achieved_p50_ns(), (ms - 1) * kMs);
    EXPECT_EQ(queue_->EvidenceOf("slow").achieved_p50_ns(), queue_->EvidenceOf("slow").achieved_p99_ns()) << "of this one alone";
  }
  Clear("slow");
}

TEST_F(PacketQueueTest, DamagesDatagramsSoThatTheKernelNoticesOrDoesNot) {
  for (const char* way : kWays) {
    for (const bool request : {true, false}) {
      SCOPED_TRACE(absl::StrCat(way, request ? " request" : " response"));
      const Fd fd = Connected(SOCK_DGRAM, At(way));
      Set("damaged", Action(What::kCorrupt, IPPROTO_UDP, At(way), request, !request));
      Send(fd, "lost");
      EXPECT_FALSE(Readable(fd, 30 * kMs));
      Clear("damaged");
      PacketAction right = Action(What::kCorrupt, IPPROTO_UDP, At(way), request, !request);
      right.right_checksum = true;
      Set("unnoticed", std::move(right));
      const std::string sent = "some text that is damaged";
      Send(fd, sent);
      const std::string got = Receive(fd);
      Clear("unnoticed");
      ASSERT_EQ(got.size(), sent.size());
      int bits = 0;
      for (size_t i = 0; i < got.size(); ++i) bits += __builtin_popcount(static_cast<unsigned char>(got[i] ^ sent[i]));
      EXPECT_EQ(bits, 1);
      EXPECT_EQ(queue_->EvidenceOf("damaged").hit_to_dependency() + queue_->EvidenceOf("damaged").hit_to_service(), 1);
    }
  }
}

TEST_F(PacketQueueTest, KeepsStreamsIntactUnderDoubledReorderedAndDamagedPackets) {
  const std::string sent = Letters(300'000);
  for (const char* way : kWays) {
    SCOPED_TRACE(way);
    const Fd fd = Connected(SOCK_STREAM, At(way));
    Set("twice", Action(What::kDuplicate, IPPROTO_TCP, At(way), true, true, 10));
    PacketAction mixed = Action(What::kReorder, IPPROTO_TCP, At(way), true, true, 5);
    mixed.delay_ns = [] { return 2 * kMs; };
    Set("mixed", std::move(mixed));
    Set("damaged", Action(What::kCorrupt, IPPROTO_TCP, At(way), true, true, 2));
    EXPECT_TRUE(Stream(fd, sent) == sent);
    for (const char* name : {"twice", "mixed", "damaged"}) {
      Clear(name);
      const Evidence evidence = queue_->EvidenceOf(name);
      EXPECT_GT(evidence.hit_to_dependency() + evidence.hit_to_service(), 0) << name;
    }
  }
}

TEST_F(PacketQueueTest, HandsDamagedStreamsToTheApplicationWhereTheChecksumIsRight) {
  const std::string sent = Letters(100'000);
  for (const char* way : {kWays[0], kWays[3]}) {
    SCOPED_TRACE(way);
    const Fd fd = Connected(SOCK_STREAM, At(way));
    PacketAction action = Action(What::kCorrupt, IPPROTO_TCP, At(way), false, true, 20);
    action.right_checksum = true;
    Set("unnoticed", std::move(action));
    const std::string got = Stream(fd, sent);
    Clear("unnoticed");
    ASSERT_EQ(got.size(), sent.size());
    int64_t bits = 0;
    for (size_t i = 0; i < got.size(); ++i) bits += __builtin_popcount(static_cast<unsigned char>(got[i] ^ sent[i]));
    EXPECT_GT(bits, 0);
    EXPECT_LE(bits, queue_->EvidenceOf("unnoticed").hit_to_service());  // what was sent again is damaged for nobody
  }
}

// Asks for round trips in a process of its own, for a bystander.
class Bystander {
 public:
  Bystander(int type, const Address& to, const std::string& cgroup = "") {
    EXPECT_EQ(pipe(result_), 0);
    EXPECT_EQ(pipe(go_), 0);
    child_ = std::make_unique<Child>([&] {
      if (!cgroup.empty()) std::ofstream(cgroup + "/cgroup.procs") << "0" << std::flush;
      const Fd fd = Connected(type, to);
      char byte = 0;
      while (read(go_[0], &byte, 1) == 1) {
        const int64_t took = FastestRoundTrip(fd);
        if (write(result_[1], &took, sizeof(took)) < 0) return;
      }
    });
  }
  ~Bystander() {
    for (const int fd : {result_[0], result_[1], go_[0], go_[1]}) close(fd);
  }
  int64_t RoundTrip() {
    int64_t took = -1;
    EXPECT_EQ(write(go_[1], "x", 1), 1);
    EXPECT_EQ(read(result_[0], &took, sizeof(took)), static_cast<ssize_t>(sizeof(took)));
    return took;
  }
  pid_t pid() const { return child_->pid(); }

 private:
  int result_[2], go_[2];
  std::unique_ptr<Child> child_;
};

TEST_F(PacketQueueTest, HoldsBackLiveConnectionsAndDatagramsOfTheProcessAndOfNobodyElse) {
  for (const char* way : kWays) {
    for (const int type : {SOCK_STREAM, SOCK_DGRAM}) {
      SCOPED_TRACE(absl::StrCat(way, type == SOCK_STREAM ? " TCP" : " UDP"));
      const int protocol = type == SOCK_STREAM ? IPPROTO_TCP : IPPROTO_UDP;
      const Fd fd = Connected(type, At(way));
      Bystander bystander(type, At(way));
      EXPECT_LT(bystander.RoundTrip(), 20 * kMs);
      EXPECT_LT(FastestRoundTrip(fd), 20 * kMs);
      Set("slow", Delay(protocol, At(way), false, true, 30 * kMs));
      EXPECT_GE(RoundTrip(fd), 30 * kMs);
      EXPECT_LT(bystander.RoundTrip(), 20 * kMs);
      const Fd fresh = Connected(type, At(way));
      EXPECT_GE(RoundTrip(fresh), 30 * kMs);
      Clear("slow");
      Clear("slow");  // healing twice is safe
      EXPECT_LT(FastestRoundTrip(fd), 20 * kMs);
      const Evidence evidence = queue_->EvidenceOf("slow");
      EXPECT_GE(evidence.achieved_p50_ns(), 30 * kMs);
      EXPECT_EQ(evidence.requested_ns(), 30 * kMs);
      EXPECT_EQ(evidence.direct_reached(), 2);
      EXPECT_GE(evidence.hit_to_service(), 2);
      EXPECT_EQ(evidence.hit_to_dependency(), 0);
    }
  }
}

TEST_F(PacketQueueTest, KnowsTheServiceByItsCgroup) {
  absl::StatusOr<Cgroup> cgroup = Cgroup::Make("packet-queue-test");
  ASSERT_TRUE(cgroup.ok()) << cgroup.status();
  PacketQueue::Target target;
  target.cgroup = MatchCgroup(cgroup->path()).value();
  queue_ = std::make_unique<PacketQueue>(ns_, target);
  for (const char* way : kWays) {
    for (const int type : {SOCK_STREAM, SOCK_DGRAM}) {
      SCOPED_TRACE(absl::StrCat(way, type == SOCK_STREAM ? " TCP" : " UDP"));
      Bystander inside(type, At(way), cgroup->path()), outside(type, At(way));
      EXPECT_LT(inside.RoundTrip(), 20 * kMs);
      // An edge to any address, both ways.
      Set("slow", Delay(type == SOCK_STREAM ? IPPROTO_TCP : IPPROTO_UDP, Address{{}, kPort}, true, true, 12 * kMs));
      EXPECT_GE(inside.RoundTrip(), 24 * kMs);
      EXPECT_LT(outside.RoundTrip(), 20 * kMs);
      Clear("slow");
      const Evidence evidence = queue_->EvidenceOf("slow");
      EXPECT_GE(evidence.hit_to_dependency(), 10);
      EXPECT_GE(evidence.hit_to_service(), 10);
    }
  }
  EXPECT_TRUE(cgroup->Remove().ok());
}

TEST_F(PacketQueueTest, PassesOnAtOnceWhatItHeldWhenTheFaultIsTakenAway) {
  const Fd fd = Connected(SOCK_DGRAM, At(kWays[0]));
  Set("slow", Delay(IPPROTO_UDP, At(kWays[0]), true, false, 600'000 * kMs));
  Set("twice", Action(What::kDuplicate, IPPROTO_UDP, At(kWays[0]), false, true));
  for (int i = 0; i < 50; ++i) Send(fd, absl::StrCat(i));
  EXPECT_FALSE(Readable(fd, 50 * kMs));
  Clear("slow");
  for (int i = 0; i < 100; ++i) EXPECT_EQ(Receive(fd), absl::StrCat(i / 2));  // in order, and the other fault acts on
  EXPECT_LT(FastestRoundTrip(fd), 20 * kMs);
  Clear("twice");
}

TEST_F(PacketQueueTest, AddsUpFaultsAndKeepsTheOrderOfAFlowUnderJitter) {
  const Fd fd = Connected(SOCK_DGRAM, At(kWays[0]));
  PacketAction jitter = Delay(IPPROTO_UDP, At(kWays[0]), true, false, 0);
  jitter.delay_ns = [n = 0]() mutable { return (n++ % 2 == 0 ? 30 : 1) * kMs; };
  Set("jitter", std::move(jitter));
  Set("slow", Delay(IPPROTO_UDP, At(kWays[0]), true, false, 20 * kMs));
  const int64_t start = BootNanos();
  for (int i = 0; i < 50; ++i) Send(fd, absl::StrCat(i));
  for (int i = 0; i < 50; ++i) {
    EXPECT_EQ(Receive(fd), absl::StrCat(i));
    EXPECT_GE(BootNanos() - start, 50 * kMs);
  }
  Clear("slow");
  Clear("jitter");
}

TEST_F(PacketQueueTest, FollowsAnEdgeThatLeadsElsewhere) {
  const Fd v4 = Connected(SOCK_DGRAM, At(kWays[0])), v6 = Connected(SOCK_DGRAM, At(kWays[1]));
  Set("slow", Delay(IPPROTO_UDP, At(kWays[0]), true, false, 30 * kMs));
  EXPECT_GE(RoundTrip(v4), 30 * kMs);
  EXPECT_LT(FastestRoundTrip(v6), 20 * kMs);
  ASSERT_TRUE(queue_->SetRemotes("slow", {At(kWays[1])}).ok());
  EXPECT_LT(FastestRoundTrip(v4), 20 * kMs);
  EXPECT_GE(RoundTrip(v6), 30 * kMs);
  Clear("slow");
}

TEST_F(PacketQueueTest, LeavesNothingWhenItCannotBegin) {
  PacketAction action = Delay(IPPROTO_UDP, At(kWays[0]), true, true, 30 * kMs);
  for (uint16_t port = 1; port < 5000; ++port) action.to.push_back(Address{{}, port});
  EXPECT_EQ(queue_->Set("slow", std::move(action)).code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(NftTable::Names(ns_).value(), std::vector<std::string>());
  EXPECT_LT(FastestRoundTrip(Connected(SOCK_DGRAM, At(kWays[0]))), 20 * kMs);
}

TEST_F(PacketQueueTest, LeavesNeitherTableNorDelayWhenItsHolderIsKilled) {
  const Fd fd = Connected(SOCK_STREAM, At(kWays[0]));
  int ready[2];
  ASSERT_EQ(pipe(ready), 0);
  const ProcessId target = ReadStat(getpid())->id;
  Child holder([&] {
    PacketQueue::Target of_parent;
    of_parent.flows = std::make_shared<OwnedFlows>(SocketDiag::Open(ns_).value());
    of_parent.flows->SetProcesses({target});
    PacketQueue queue(ns_, of_parent);
    if (!queue.Set("slow", Delay(IPPROTO_TCP, At(kWays[0]), true, true, 500 * kMs)).ok()) _exit(1);
    if (write(ready[1], "x", 1) != 1) _exit(1);
    pause();
  });
  char byte;
  ASSERT_EQ(read(ready[0], &byte, 1), 1);
  EXPECT_EQ(RoundTrip(fd, 100 * kMs), -1);  // held back
  EXPECT_EQ(NftTable::Names(ns_)->size(), 1u);
  holder.Kill();
  EXPECT_EQ(NftTable::Names(ns_).value(), std::vector<std::string>());
  EXPECT_EQ(Receive(fd), "ping");  // what was dropped with the holder is sent again
  EXPECT_LT(FastestRoundTrip(fd), 20 * kMs);
  close(ready[0]);
  close(ready[1]);
}

std::vector<LiveSocket> Connections(const Address& to) {
  SocketFilter filter;
  filter.udp = false;
  filter.remotes = {to};
  return SocketsOf({ReadStat(getpid())->id}, NetNamespace::Own().value(), filter).value();
}

bool NoTableWithin(int64_t within_ns) {
  const NetNamespace ns = NetNamespace::Own().value();
  const int64_t until = BootNanos() + within_ns;
  while (!NftTable::Names(ns).value().empty()) {
    if (BootNanos() >= until) return false;
    usleep(1000);
  }
  return true;
}

TEST_F(PacketQueueTest, LiveRejectResetsConnectionsThatAreThereAndNoOthers) {
  for (const char* way : kWays) {
    SCOPED_TRACE(way);
    const Fd idle = Connected(SOCK_STREAM, At(way)), busy = Connected(SOCK_STREAM, At(way));
    Bystander bystander(SOCK_STREAM, At(way));
    EXPECT_LT(bystander.RoundTrip(), 20 * kMs);
    EXPECT_GT(RoundTrip(busy), 0);
    const absl::StatusOr<std::unique_ptr<LiveReject>> reject = LiveReject::Start(ns_, Connections(At(way)));
    ASSERT_TRUE(reject.ok()) << reject.status();
    // At once, though neither says anything.
    for (const Fd* fd : {&idle, &busy}) {
      ASSERT_TRUE(Readable(*fd, 2000 * kMs));
      char byte;
      EXPECT_EQ(recv(fd->get(), &byte, 1, 0), -1);
      EXPECT_EQ(errno, ECONNRESET);
    }
    EXPECT_EQ((*reject)->Cut(), 2);
    EXPECT_TRUE(NoTableWithin(500 * kMs)) << "its rules would hit whoever gets the same ends";
    EXPECT_GT(RoundTrip(Connected(SOCK_STREAM, At(way))), 0);  // a new one is none of its business
    EXPECT_LT(bystander.RoundTrip(), 20 * kMs);
    EXPECT_TRUE((*reject)->Stop().ok());
    EXPECT_TRUE((*reject)->Stop().ok());
    EXPECT_EQ((*reject)->Cut(), 2);
  }
}

TEST_F(PacketQueueTest, LiveRejectLeavesNobodyInWaitForTheSameEnds) {
  LiveSocket gone;
  {
    const Fd fd = Connected(SOCK_STREAM, At(kWays[0]));
    gone = Connections(At(kWays[0])).at(0);
    const linger reset = {1, 0};
    setsockopt(fd.get(), SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
  }
  const std::unique_ptr<LiveReject> reject = LiveReject::Start(ns_, {gone}).value();
  EXPECT_TRUE(NoTableWithin(3000 * kMs));
  EXPECT_TRUE(reject->Stop().ok());
}

TEST_F(PacketQueueTest, LiveRejectResetsLargePools) {
  std::vector<Fd> pool(3000);
  rlimit files = {8192, 8192};
  if (setrlimit(RLIMIT_NOFILE, &files) != 0) GTEST_SKIP() << "no room for so many connections";
  Child echo([&] {
    const Address at = ParseAddress("127.0.0.1:42002").value();
    const Fd listener = Bound(AF_INET, SOCK_STREAM, at);
    listen(listener.get(), 4096);
    while (true) accept(listener.get(), nullptr, nullptr);
  });
  const Address at = ParseAddress("127.0.0.1:42002").value();
  for (Fd& fd : pool) fd = Connected(SOCK_STREAM, at);
  const int64_t start = BootNanos();
  const absl::StatusOr<std::unique_ptr<LiveReject>> reject = LiveReject::Start(ns_, Connections(at));
  ASSERT_TRUE(reject.ok()) << reject.status();
  EXPECT_TRUE(NoTableWithin(5000 * kMs));
  printf("3000 connections reset in %.0f ms\n", static_cast<double>(BootNanos() - start) / kMs);
  EXPECT_EQ((*reject)->Cut(), 3000);
  EXPECT_TRUE((*reject)->Stop().ok());
}

}  // namespace
}  // namespace squall

int main(int argc, char** argv) {
  ::testing::InitGoogleTest(&argc, argv);
  ::testing::AddGlobalTestEnvironment(new squall::World);
  return RUN_ALL_TESTS();
}
