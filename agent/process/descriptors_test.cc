// Of this process and children of it.
#include "agent/process/descriptors.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "absl/strings/str_cat.h"
#include "agent/process/puppet.h"
#include "agent/process/sample.h"

namespace squall {
namespace {

// A listener on loopback and the two ends of a connection to it.
struct Connection {
  Connection() {
    listener = Fd(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    client = Fd(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_in address = {};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t length = sizeof(address);
    EXPECT_EQ(bind(listener.get(), reinterpret_cast<sockaddr*>(&address), length), 0);
    EXPECT_EQ(listen(listener.get(), 8), 0);
    getsockname(listener.get(), reinterpret_cast<sockaddr*>(&address), &length);
    at = absl::StrCat("127.0.0.1:", ntohs(address.sin_port));
    EXPECT_EQ(connect(client.get(), reinterpret_cast<sockaddr*>(&address), length), 0);
    server = Fd(accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
  }
  Fd listener, client, server;
  std::string at;
};

std::vector<ProcessId> Self() { return {ReadStat(getpid())->id}; }

int32_t CountOf(const std::vector<FdCount>& all, const std::string& kind, const std::string& to, const std::string& state = "") {
  int32_t count = 0;
  for (const FdCount& fd : all) {
    if (fd.kind() == kind && fd.to() == to && fd.state() == state) count += fd.count();
  }
  return count;
}

TEST(Descriptors, TellsConnectionsByPeerAndWhatCameInByWhere) {
  const Connection one;
  std::vector<FdCount> all = DescriptorsOf(Self());
  EXPECT_EQ(CountOf(all, "tcp", one.at, "LISTEN"), 1);
  EXPECT_EQ(CountOf(all, "tcp", one.at, "ESTABLISHED"), 1);
  EXPECT_EQ(CountOf(all, "tcp", absl::StrCat("accepted at ", one.at), "ESTABLISHED"), 1);
  ServiceSample sample;
  CountSockets(all, sample);
  EXPECT_EQ(sample.sockets(), 3);
  EXPECT_EQ(sample.established(), 2);
  EXPECT_EQ(sample.close_wait(), 0);

  shutdown(one.server.get(), SHUT_WR);
  EXPECT_TRUE(Eventually([&] { return CountOf(DescriptorsOf(Self()), "tcp", one.at, "CLOSE_WAIT") == 1; }));
  CountSockets(DescriptorsOf(Self()), sample);
  EXPECT_EQ(sample.close_wait(), 1);
}

TEST(Descriptors, TellsOtherKindsByName) {
  const Fd event(eventfd(0, EFD_CLOEXEC)), epoll(epoll_create1(EPOLL_CLOEXEC));
  const Fd one(open("/proc/meminfo", O_RDONLY | O_CLOEXEC)), other(open("/proc/meminfo", O_RDONLY | O_CLOEXEC));
  int pair[2], ends[2];
  ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
  ASSERT_EQ(pipe2(ends, O_CLOEXEC), 0);
  const Fd a(pair[0]), b(pair[1]), c(ends[0]), d(ends[1]);
  const Fd raw(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const std::vector<FdCount> all = DescriptorsOf(Self());
  EXPECT_EQ(CountOf(all, "eventfd", ""), 1);
  EXPECT_EQ(CountOf(all, "eventpoll", ""), 1);
  EXPECT_EQ(CountOf(all, "file", "/proc/meminfo"), 2);
  EXPECT_EQ(CountOf(all, "unix", ""), 2);
  EXPECT_EQ(CountOf(all, "socket", ""), 1) << "neither bound nor connected: the kernel lists it nowhere";
  EXPECT_GE(CountOf(all, "pipe", ""), 2);
}

TEST(Descriptors, OfSeveralProcessesAreOneListWithTheMostFrequentFirst) {
  Puppet one, other;
  for (int number = 10; number < 30; ++number) one.Open(number);
  const std::vector<FdCount> all = DescriptorsOf({one.id(), other.id()});
  ASSERT_FALSE(all.empty());
  EXPECT_EQ(all[0].to(), "/dev/null");
  EXPECT_EQ(all[0].count(), 20 + 2 * 3);
}

TEST(Descriptors, OfAProcessThatIsGoneAreNone) {
  ProcessId gone;
  {
    Puppet puppet;
    gone = puppet.id();
  }
  EXPECT_TRUE(DescriptorsOf({gone}).empty());
}

TEST(Descriptors, BeyondTheBoundTheRestIsPutTogether) {
  std::vector<Fd> held;
  char path[] = "/tmp/squall-descriptors-XXXXXX";
  ASSERT_NE(mkdtemp(path), nullptr);
  for (int i = 0; i < 400; ++i) {
    const std::string file = absl::StrCat(path, "/", i);
    held.emplace_back(open(file.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
    unlink(file.c_str());
  }
  rmdir(path);
  const std::vector<FdCount> all = DescriptorsOf(Self());
  int32_t files = 0;
  for (const FdCount& fd : all) files += fd.kind() == "file" ? fd.count() : 0;
  EXPECT_GE(files, 400);
  EXPECT_LT(all.size(), 320u);
  EXPECT_GE(CountOf(all, "file", "others"), 80);
}

TEST(ListedSockets, ReadsAddressesOfBothFamiliesAndSkipsWhatIsMalformed) {
  std::map<uint64_t, ListedSocket> sockets;
  AddListedSockets("tcp",
                   "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
                   "   0: 0100007F:1F90 0200007F:2382 08 00000000:00000000 00:00000000 00000000     0        0 11 1\n"
                   "   1: 0100007F:1F9 broken\n"
                   "   2: 0100007F 0200007F 01 0 0 0 0 0 12 1\n"
                   "   3: ZZ00007F:1F90 0200007F:2382 FF 00000000:00000000 00:00000000 00000000     0        0 13 1\n\0\xFF\n",
                   sockets);
  AddListedSockets("tcp6",
                   "   0: 00000000000000000000000001000000:1F90 B80D0120000000000000000001000000:01BB 01 0:0 0:0 0 0 0 21 1\n"
                   "   1: 0000000000000000FFFF00000100007F:1F90 0000000000000000FFFF00000200007F:01BB 01 0:0 0:0 0 0 0 22 1\n",
                   sockets);
  EXPECT_EQ(sockets[11].local, "127.0.0.1:8080");
  EXPECT_EQ(sockets[11].peer, "127.0.0.2:9090");
  EXPECT_EQ(sockets[11].state, "CLOSE_WAIT");
  EXPECT_EQ(sockets[12].local, "") << "no port";
  EXPECT_EQ(sockets[13].local, "");
  EXPECT_EQ(sockets[13].state, "") << "a state that the kernel does not have";
  EXPECT_EQ(sockets[21].local, "[::1]:8080");
  EXPECT_EQ(sockets[21].peer, "[2001:db8::1]:443");
  EXPECT_EQ(sockets[22].peer, "127.0.0.2:443");
}

TEST(ServiceSample, TellsTheLeaderAndCountsSocketsOnlyWhereAsked) {
  const Connection one;
  Sampler sampler;
  const ProcessId self = Self()[0];
  const ServiceSample plain = sampler.Service("orders", Self(), self);
  EXPECT_EQ(plain.pid(), getpid());
  EXPECT_EQ(plain.started_ticks(), static_cast<int64_t>(self.start_ticks));
  EXPECT_EQ(plain.sockets(), 0);
  EXPECT_EQ(sampler.Service("orders", Self(), self, /*sockets=*/true).established(), 2);
}

}  // namespace
}  // namespace squall
