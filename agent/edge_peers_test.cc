#include "agent/edge_peers.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <memory>
#include <thread>
#include <utility>

#include "absl/synchronization/notification.h"
#include "base/fd.h"

namespace squall {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::Pair;

constexpr int64_t kSecond = 1'000'000'000;

// A process that listens on a port of loopback, and does nothing else.
class Listener {
 public:
  explicit Listener(uint16_t port = 0) {
    const Fd fd(socket(AF_INET, SOCK_STREAM, 0));
    Address address = *ParseAddress("127.0.0.1:1");
    address.port = port;
    sockaddr_storage at = {};
    socklen_t size = address.ToSockaddr(at);
    const int on = 1;
    setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    EXPECT_EQ(bind(fd.get(), reinterpret_cast<sockaddr*>(&at), size), 0);
    EXPECT_EQ(listen(fd.get(), 1), 0);
    size = sizeof(at);
    EXPECT_EQ(getsockname(fd.get(), reinterpret_cast<sockaddr*>(&at), &size), 0);
    address_ = FromSockaddr(at);
    pid_ = fork();
    if (pid_ == 0) {
      alarm(60);  // should the test be killed
      while (true) pause();
    }
    id_ = ReadStat(pid_)->id;
  }
  ~Listener() { End(); }
  void End() {
    if (pid_ <= 0) return;
    kill(pid_, SIGKILL);
    waitpid(std::exchange(pid_, -1), nullptr, 0);
  }
  const Address& address() const { return address_; }
  const ProcessId& id() const { return id_; }

 private:
  Address address_;
  pid_t pid_ = -1;
  ProcessId id_;
};

TEST(EdgePeers, OneThatListensOnLoopbackIsFoundWhileHeLives) {
  Listener peer;
  EdgePeers peers;
  peers.SetAddresses("recommend", *NetNamespace::Own(), {peer.address()});
  EXPECT_THAT(peers.Look(0), ElementsAre(Pair("recommend", ElementsAre(peer.id()))));
  peer.End();
  EXPECT_THAT(peers.Look(kSecond), IsEmpty());
}

TEST(EdgePeers, OneThatStartsLaterIsFoundOnceItIsTimeToLookAgain) {
  auto peer = std::make_unique<Listener>();
  const Address address = peer->address();
  peer.reset();
  EdgePeers peers;
  peers.SetAddresses("recommend", *NetNamespace::Own(), {address});
  EXPECT_THAT(peers.Look(0), IsEmpty());
  peer = std::make_unique<Listener>(address.port);
  EXPECT_THAT(peers.Look(4 * kSecond), IsEmpty()) << "not before it is time";
  EXPECT_THAT(peers.Look(5 * kSecond), ElementsAre(Pair("recommend", ElementsAre(peer->id()))));
}

TEST(EdgePeers, SamePortOfAnotherHostIsNobodyHere) {
  Listener peer;
  Address elsewhere = *ParseAddress("192.0.2.1:80");
  elsewhere.port = peer.address().port;
  EdgePeers peers;
  peers.SetAddresses("recommend", *NetNamespace::Own(), {elsewhere});
  EXPECT_THAT(peers.Look(0), IsEmpty());
  peers.SetAddresses("recommend", *NetNamespace::Own(), {peer.address()});
  EXPECT_THAT(peers.Look(0), ElementsAre(Pair("recommend", ElementsAre(peer.id()))));
}

TEST(EdgePeers, SamePortOfAnotherNamespaceIsNobodyHere) {
  if (geteuid() != 0) GTEST_SKIP() << "LEFT OUT: edge_peers_test: another network namespace needs root";
  Listener peer;
  absl::Notification entered, seen;
  pid_t inside = 0;
  std::thread there([&] {
    EXPECT_EQ(unshare(CLONE_NEWNET), 0) << strerror(errno);
    inside = gettid();
    entered.Notify();
    seen.WaitForNotification();
  });
  entered.WaitForNotification();
  const absl::StatusOr<NetNamespace> elsewhere = NetNamespace::Of(inside);
  seen.Notify();
  there.join();
  ASSERT_TRUE(elsewhere.ok()) << elsewhere.status();
  EdgePeers peers;
  peers.SetAddresses("recommend", *elsewhere, {peer.address()});
  EXPECT_THAT(peers.Look(0), IsEmpty());
}

}  // namespace
}  // namespace squall
