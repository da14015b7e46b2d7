// Real sockets of real processes. Ending connections needs root: without, those tests say that they were left out.
#include "agent/net/live_sockets.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string>

namespace squall {
namespace {

Address Parse(const std::string& text) { return ParseAddress(text).value(); }

Address NameOf(int fd) {
  sockaddr_storage storage;
  socklen_t length = sizeof(storage);
  EXPECT_EQ(getsockname(fd, reinterpret_cast<sockaddr*>(&storage), &length), 0) << strerror(errno);
  return FromSockaddr(storage);
}

uint64_t CookieOf(int fd) {
  uint64_t cookie = 0;
  socklen_t length = sizeof(cookie);
  EXPECT_EQ(getsockopt(fd, SOL_SOCKET, SO_COOKIE, &cookie, &length), 0) << strerror(errno);
  return cookie;
}

uint64_t InodeOf(int fd) {
  struct stat status;
  EXPECT_EQ(fstat(fd, &status), 0);
  return status.st_ino;
}

// To a free port of the address, whose own port does not count.
Fd Bound(const std::string& address, int type) {
  Address at = Parse(address);
  at.port = 0;
  Fd fd(socket(at.Family(), type | SOCK_CLOEXEC, 0));
  sockaddr_storage storage;
  const socklen_t length = at.ToSockaddr(storage);
  EXPECT_EQ(bind(fd.get(), reinterpret_cast<sockaddr*>(&storage), length), 0) << address << ": " << strerror(errno);
  if (type == SOCK_STREAM) {
    EXPECT_EQ(listen(fd.get(), 64), 0);
  }
  return fd;
}

Fd Connected(const Address& to, int type, bool v4_mapped = false) {
  Fd fd(socket(v4_mapped ? AF_INET6 : to.Family(), type | SOCK_CLOEXEC, 0));
  sockaddr_storage storage = {};
  socklen_t length = to.ToSockaddr(storage);
  if (v4_mapped) {
    auto* v6 = reinterpret_cast<sockaddr_in6*>(&storage);
    *v6 = {};
    v6->sin6_family = AF_INET6;
    v6->sin6_port = htons(to.port);
    v6->sin6_addr = to.ip;
    length = sizeof(*v6);
  }
  EXPECT_EQ(connect(fd.get(), reinterpret_cast<sockaddr*>(&storage), length), 0) << strerror(errno);
  return fd;
}

Fd Accepted(const Fd& listener) { return Fd(accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC)); }

// A process of its own that holds one connection to an address.
class Bystander {
 public:
  explicit Bystander(const Address& to) {
    int made[2];
    EXPECT_EQ(pipe2(made, O_CLOEXEC), 0);
    pid_ = fork();
    if (pid_ == 0) {
      const Fd fd = Connected(to, SOCK_STREAM);
      (void)!write(made[1], "x", 1);
      pause();
      _exit(0);
    }
    close(made[1]);
    char byte;
    EXPECT_EQ(read(made[0], &byte, 1), 1);
    close(made[0]);
  }
  ~Bystander() {
    kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
  }
  ProcessId id() const { return ReadStat(pid_)->id; }

 private:
  pid_t pid_;
};

std::vector<ProcessId> Self() { return {ReadStat(getpid())->id}; }

std::vector<LiveSocket> Mine(const SocketFilter& filter = {}) {
  const absl::StatusOr<std::vector<LiveSocket>> sockets = SocketsOf(Self(), NetNamespace::Own().value(), filter);
  EXPECT_TRUE(sockets.ok()) << sockets.status();
  return sockets.ok() ? *sockets : std::vector<LiveSocket>{};
}

const LiveSocket* Find(const std::vector<LiveSocket>& sockets, int fd) {
  const auto found = std::find_if(sockets.begin(), sockets.end(),
                                  [&](const LiveSocket& socket) { return socket.inode == InodeOf(fd); });
  return found == sockets.end() ? nullptr : &*found;
}

TEST(LiveSockets, FindsEachKindOfSocketWithTheCookieThatTheSocketItselfTells) {
  const Fd listen4 = Bound("127.0.0.1:1", SOCK_STREAM), listen6 = Bound("[::1]:1", SOCK_STREAM);
  const Fd udp4 = Bound("127.0.0.1:1", SOCK_DGRAM), udp6 = Bound("[::1]:1", SOCK_DGRAM);
  const Address tcp4_at = NameOf(listen4.get()), tcp6_at = NameOf(listen6.get());
  const Fd tcp4 = Connected(tcp4_at, SOCK_STREAM), tcp6 = Connected(tcp6_at, SOCK_STREAM);
  const Fd mapped = Connected(tcp4_at, SOCK_STREAM, /*v4_mapped=*/true);
  const Fd udp_connected = Connected(NameOf(udp4.get()), SOCK_DGRAM);
  const Fd udp_mapped = Connected(NameOf(udp4.get()), SOCK_DGRAM, /*v4_mapped=*/true);
  const Fd accepted = Accepted(listen4);
  const std::vector<LiveSocket> sockets = Mine();
  struct Case {
    const char* name;
    int fd;
    int protocol;
    int family;
    Address remote;
  };
  for (const Case& each : {
           Case{"tcp4", tcp4.get(), IPPROTO_TCP, AF_INET, tcp4_at},
           Case{"tcp6", tcp6.get(), IPPROTO_TCP, AF_INET6, tcp6_at},
           Case{"v4-mapped tcp", mapped.get(), IPPROTO_TCP, AF_INET6, tcp4_at},
           Case{"accepted", accepted.get(), IPPROTO_TCP, AF_INET, NameOf(tcp4.get())},
           Case{"udp4", udp4.get(), IPPROTO_UDP, AF_INET, Address{}},
           Case{"udp6", udp6.get(), IPPROTO_UDP, AF_INET6, Address{}},
           Case{"connected udp", udp_connected.get(), IPPROTO_UDP, AF_INET, NameOf(udp4.get())},
           Case{"connected v4-mapped udp", udp_mapped.get(), IPPROTO_UDP, AF_INET6, NameOf(udp4.get())},
       }) {
    SCOPED_TRACE(each.name);
    const LiveSocket* found = Find(sockets, each.fd);
    ASSERT_NE(found, nullptr);
    EXPECT_EQ(found->cookie, CookieOf(each.fd));
    EXPECT_EQ(found->protocol, each.protocol);
    EXPECT_EQ(found->family, each.family);
    EXPECT_EQ(found->local, NameOf(each.fd)) << found->local.ToString();
    EXPECT_EQ(found->remote, each.remote) << found->remote.ToString();
    EXPECT_EQ(found->state, found->protocol == IPPROTO_TCP || found->remote.port != 0 ? 1 : 7);
  }
  EXPECT_EQ(Find(sockets, listen4.get()), nullptr);
  SocketFilter listening;
  listening.listening = true;
  EXPECT_NE(Find(Mine(listening), listen4.get()), nullptr);
}

TEST(LiveSockets, LeavesOutThoseOfABystanderAndFindsThemWhenItIsAskedFor) {
  const Fd listener = Bound("127.0.0.1:1", SOCK_STREAM);
  const Address at = NameOf(listener.get());
  const Bystander bystander(at);  // a child: it would have what this has already
  const Fd own = Connected(at, SOCK_STREAM);
  SocketFilter filter;
  filter.remotes = {at};
  const std::vector<LiveSocket> mine = Mine(filter);
  ASSERT_EQ(mine.size(), 1u);
  EXPECT_EQ(mine[0].inode, InodeOf(own.get()));
  const auto theirs = SocketsOf({bystander.id()}, NetNamespace::Own().value(), filter);
  ASSERT_TRUE(theirs.ok()) << theirs.status();
  ASSERT_EQ(theirs->size(), 1u);
  EXPECT_NE((*theirs)[0].cookie, mine[0].cookie);
}

TEST(LiveSockets, FiltersByEachOfSeveralRemotes) {
  const Fd first = Bound("127.0.0.1:1", SOCK_STREAM), second = Bound("[::1]:1", SOCK_STREAM);
  const Fd third = Bound("127.0.0.2:1", SOCK_STREAM);
  const Address at1 = NameOf(first.get()), at2 = NameOf(second.get()), at3 = NameOf(third.get());
  const Fd one = Connected(at1, SOCK_STREAM), two = Connected(at2, SOCK_STREAM), three = Connected(at3, SOCK_STREAM);
  const Fd mapped = Connected(at1, SOCK_STREAM, /*v4_mapped=*/true);
  const auto found = [&](std::vector<Address> remotes) {
    SocketFilter filter;
    filter.remotes = std::move(remotes);
    const std::vector<LiveSocket> sockets = Mine(filter);
    std::string names;
    for (const auto& [fd, name] : {std::pair(one.get(), "1"), {two.get(), "2"}, {three.get(), "3"}, {mapped.get(), "m"}}) {
      if (Find(sockets, fd) != nullptr) names += name;
    }
    return names;
  };
  EXPECT_EQ(found({at1}), "1m");
  EXPECT_EQ(found({at2}), "2");
  EXPECT_EQ(found({at3, at2, at1}), "123m");
  Address any = at3;
  any.ip = in6addr_any;
  EXPECT_EQ(found({any}), "3");
  Address other = at1;
  other.ip = at3.ip;
  EXPECT_EQ(found({other, at2}), "2");
}

TEST(LiveSockets, CountsThePayloadOfEachDirection) {
  const Fd listener = Bound("127.0.0.1:1", SOCK_STREAM);
  const Fd client = Connected(NameOf(listener.get()), SOCK_STREAM);
  const Fd server = Accepted(listener);
  const std::string request(1000, 'x'), answer(5000, 'y');
  ASSERT_EQ(send(client.get(), request.data(), request.size(), 0), 1000);
  std::string buffer(10'000, '\0');
  ASSERT_EQ(recv(server.get(), buffer.data(), 1000, MSG_WAITALL), 1000);
  // The acknowledgement of the request goes with the answer.
  ASSERT_EQ(send(server.get(), answer.data(), answer.size(), 0), 5000);
  ASSERT_EQ(recv(client.get(), buffer.data(), 5000, MSG_WAITALL), 5000);
  SocketFilter filter;
  filter.bytes = true;
  const std::vector<LiveSocket> sockets = Mine(filter);
  const LiveSocket* found = Find(sockets, client.get());
  ASSERT_NE(found, nullptr);
  EXPECT_GE(found->bytes_to_remote, 1000);  // the kernel counts the SYN too
  EXPECT_LE(found->bytes_to_remote, 1001);
  EXPECT_EQ(found->bytes_from_remote, 5000);
}

TEST(LiveSockets, TellsTheCgroupInWhichTheSocketWasMade) {
  const Fd listener = Bound("127.0.0.1:1", SOCK_STREAM);
  const Fd client = Connected(NameOf(listener.get()), SOCK_STREAM);
  const std::vector<LiveSocket> sockets = Mine();
  const LiveSocket* found = Find(sockets, client.get());
  ASSERT_NE(found, nullptr);
  EXPECT_NE(found->cgroup_id, 0u);
}

TEST(LiveSockets, HaveNoneForAProcessThatIsGone) {
  ProcessId gone;
  {
    const Fd listener = Bound("127.0.0.1:1", SOCK_STREAM);
    const Bystander bystander(NameOf(listener.get()));
    gone = bystander.id();
  }
  const auto sockets = SocketsOf({gone}, NetNamespace::Own().value());
  ASSERT_TRUE(sockets.ok()) << sockets.status();
  EXPECT_TRUE(sockets->empty());
}

// What a connection gets whose socket was ended.
int ErrorOf(const Fd& fd) {
  pollfd ready = {fd.get(), POLLIN, 0};
  EXPECT_EQ(poll(&ready, 1, 5'000), 1);
  char byte;
  return recv(fd.get(), &byte, 1, MSG_DONTWAIT) < 0 ? errno : 0;
}

TEST(LiveSockets, EndsAConnectionAndNoOther) {
  const NetNamespace ns = NetNamespace::Own().value();
  const absl::Status can = SocketDiag::CanDestroy(ns);
  if (geteuid() != 0) {
    EXPECT_EQ(can.code(), absl::StatusCode::kPermissionDenied) << can;
    printf("LEFT OUT: ending connections needs root\n");
    GTEST_SKIP();
  }
  ASSERT_TRUE(can.ok()) << can;
  for (const char* address : {"127.0.0.1:1", "[::1]:1", "mapped"}) {
    SCOPED_TRACE(address);
    const bool mapped = strcmp(address, "mapped") == 0;
    const Fd listener = Bound(mapped ? "127.0.0.1:1" : address, SOCK_STREAM);
    const Fd client = Connected(NameOf(listener.get()), SOCK_STREAM, mapped);
    const Fd server = Accepted(listener);
    const Fd other = Connected(NameOf(listener.get()), SOCK_STREAM, mapped);
    const Fd other_server = Accepted(listener);
    absl::StatusOr<SocketDiag> diag = SocketDiag::Open(ns);
    ASSERT_TRUE(diag.ok()) << diag.status();
    const std::vector<LiveSocket> sockets = Mine();
    const LiveSocket* found = Find(sockets, client.get());
    ASSERT_NE(found, nullptr);
    const absl::Status ended = diag->Destroy(*found);
    ASSERT_TRUE(ended.ok()) << ended;
    EXPECT_EQ(ErrorOf(client), ECONNABORTED);
    EXPECT_EQ(ErrorOf(server), ECONNRESET);
    const absl::Status again = diag->Destroy(*found);
    EXPECT_TRUE(again.ok()) << again;
    ASSERT_EQ(send(other.get(), "x", 1, 0), 1);
    char byte;
    EXPECT_EQ(recv(other_server.get(), &byte, 1, 0), 1);
  }
}

TEST(LiveSockets, DoesNotEndAConnectionOfTheSameAddressesWithAnotherCookie) {
  if (geteuid() != 0) {
    printf("LEFT OUT: ending connections needs root\n");
    GTEST_SKIP();
  }
  const Fd listener = Bound("127.0.0.1:1", SOCK_STREAM);
  const Fd client = Connected(NameOf(listener.get()), SOCK_STREAM);
  const Fd server = Accepted(listener);
  const std::vector<LiveSocket> sockets = Mine();
  LiveSocket other = *Find(sockets, client.get());
  ++other.cookie;
  EXPECT_TRUE(SocketDiag::Open(NetNamespace::Own().value())->Destroy(other).ok());
  ASSERT_EQ(send(client.get(), "x", 1, 0), 1);
  char byte;
  EXPECT_EQ(recv(server.get(), &byte, 1, 0), 1);
}

}  // namespace
}  // namespace squall
