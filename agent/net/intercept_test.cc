// Redirection by BPF with real processes in real cgroups and network namespaces. Needs root: without, every test says that
// it was left out.
#include "agent/net/intercept.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/wait.h>

#include <cerrno>
#include <cstring>
#include <optional>

#include "absl/time/clock.h"
#include "agent/net/relay.h"
#include "agent/process/cgroup.h"

namespace squall {
namespace {

Address Parse(const std::string& text) { return ResolveAddress(text).value().front(); }

// What a client process saw.
struct Seen {
  int error = 0;             // errno of connect
  Address peer;              // getpeername
  char answer[16] = {};      // what the server sent
};

// A server that says "hi" to whoever connects, in a process of its own.
class Server {
 public:
  Server(const NetNamespace& ns, int family) {
    Fd fd = ns.Socket(family, SOCK_STREAM).value();
    Address any;
    if (family == AF_INET) any = Parse("127.0.0.1:1");
    if (family == AF_INET6) any = Parse("[::1]:1");
    any.port = 0;
    sockaddr_storage storage;
    socklen_t length = any.ToSockaddr(storage);
    EXPECT_EQ(bind(fd.get(), reinterpret_cast<sockaddr*>(&storage), length), 0) << strerror(errno);
    EXPECT_EQ(listen(fd.get(), 64), 0);
    length = sizeof(storage);
    getsockname(fd.get(), reinterpret_cast<sockaddr*>(&storage), &length);
    address = FromSockaddr(storage);
    pid_ = fork();
    if (pid_ == 0) {
      while (true) {
        const int client = accept(fd.get(), nullptr, nullptr);
        (void)!write(client, "hi", 2);
        close(client);
      }
    }
  }
  ~Server() { Stop(); }
  void Stop() {
    if (pid_ <= 0) return;
    kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
    pid_ = 0;
  }
  Address address;

 private:
  pid_t pid_ = 0;
};

struct ClientOptions {
  std::string cgroup;       // enters it first
  std::string moves_to;     // enters this after it has made a socket in the other, and makes the one that counts there
  bool v4_mapped = false;   // an IPv6 socket for an IPv4 address
  const NetNamespace* ns = nullptr;
  std::function<void(pid_t)> before;  // called with the client's pid before it makes its socket
};

Seen RunClient(const Address& to, const ClientOptions& options) {
  int result[2], go[2];
  EXPECT_EQ(pipe2(result, O_CLOEXEC), 0);
  EXPECT_EQ(pipe2(go, O_CLOEXEC), 0);
  const std::string procs = options.cgroup + "/cgroup.procs";
  const pid_t pid = fork();
  if (pid == 0) {
    Seen seen;
    char byte;
    (void)!read(go[0], &byte, 1);
    if (!options.cgroup.empty()) {
      const int fd = open(procs.c_str(), O_WRONLY);
      if (write(fd, "0", 1) != 1) _exit(1);
    }
    if (!options.moves_to.empty()) {
      socket(to.Family(), SOCK_STREAM, 0);
      const int procs_fd = open((options.moves_to + "/cgroup.procs").c_str(), O_WRONLY);
      if (write(procs_fd, "0", 1) != 1) _exit(1);
    }
    int fd = -1;
    const int family = options.v4_mapped ? AF_INET6 : to.Family();
    if (options.ns != nullptr) {
      fd = options.ns->Socket(family, SOCK_STREAM)->Release();
    } else {
      fd = socket(family, SOCK_STREAM, 0);
    }
    sockaddr_storage storage;
    socklen_t length = to.ToSockaddr(storage);
    if (options.v4_mapped) {
      auto* v6 = reinterpret_cast<sockaddr_in6*>(&storage);
      *v6 = {};
      v6->sin6_family = AF_INET6;
      v6->sin6_port = htons(to.port);
      v6->sin6_addr = to.ip;
      length = sizeof(sockaddr_in6);
    }
    if (connect(fd, reinterpret_cast<sockaddr*>(&storage), length) != 0) {
      seen.error = errno;
    } else {
      length = sizeof(storage);
      getpeername(fd, reinterpret_cast<sockaddr*>(&storage), &length);
      seen.peer = FromSockaddr(storage);
      (void)!read(fd, seen.answer, sizeof(seen.answer) - 1);
    }
    (void)!write(result[1], &seen, sizeof(seen));
    _exit(0);
  }
  close(result[1]);
  if (options.before) options.before(pid);
  (void)!write(go[1], "x", 1);
  Seen seen;
  EXPECT_EQ(read(result[0], &seen, sizeof(seen)), static_cast<ssize_t>(sizeof(seen)));
  waitpid(pid, nullptr, 0);
  for (const int fd : {result[0], go[0], go[1]}) close(fd);
  return seen;
}

// A network namespace of the test's own, with its loopback up, kept by a sleeping child.
class OwnNamespace {
 public:
  OwnNamespace() {
    int ready[2];
    EXPECT_EQ(pipe(ready), 0);
    pid_ = fork();
    if (pid_ == 0) {
      if (unshare(CLONE_NEWNET) != 0) _exit(1);
      const int fd = socket(AF_INET, SOCK_DGRAM, 0);
      ifreq request = {};
      strcpy(request.ifr_name, "lo");
      request.ifr_flags = IFF_UP;
      ioctl(fd, SIOCSIFFLAGS, &request);
      (void)!write(ready[1], "x", 1);
      pause();
    }
    char byte;
    EXPECT_EQ(read(ready[0], &byte, 1), 1);
    close(ready[0]);
    close(ready[1]);
    ns.emplace(NetNamespace::Of(pid_).value());
  }
  ~OwnNamespace() {
    kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
  }
  std::optional<NetNamespace> ns;

 private:
  pid_t pid_;
};

class InterceptTest : public ::testing::Test {
 protected:
  void SetUp() override {
    const std::string why_not = Intercept::WhyNot(/*by_process=*/true);
    if (!why_not.empty()) {
      printf("LEFT OUT: intercept_test: %s\n", why_not.c_str());
      GTEST_SKIP() << why_not;
    }
    cgroup_.emplace(Cgroup::Make("intercept-test").value());
  }
  void TearDown() override {
    relay_.reset();  // it speaks to the interception as long as it lives
    intercept_.reset();
    if (cgroup_) {
      EXPECT_TRUE(cgroup_->Remove().ok());
    }
  }

  void Redirect(const Address& to, const NetNamespace& ns, const std::string& cgroup_path, bool by_process = false) {
    auto attached = Intercept::Attach(cgroup_path, by_process);
    ASSERT_TRUE(attached.ok()) << attached.status();
    intercept_ = *std::move(attached);
    relay_ = std::make_unique<Relay>([this](const std::string&, const SeenCall& call) {
      const absl::MutexLock lock(&mutex_);
      sources_.push_back(call.source_pid);
    });
    Relay::EdgeOptions edge;
    edge.name = "edge";
    edge.to = {to};
    edge.intercept = intercept_.get();
    absl::Status status = relay_->Open(edge, ns);
    ASSERT_TRUE(status.ok()) << status;
    status = intercept_->SetNamespace(ns);
    ASSERT_TRUE(status.ok()) << status;
  }
  int64_t Connections() { return relay_->Stats("edge").connections(); }
  ClientOptions Inside() { return {cgroup_->path(), "", false, nullptr, nullptr}; }

  // Who made the connections that are over.
  std::vector<uint32_t> Sources(size_t at_least) {
    absl::MutexLock lock(&mutex_);
    const auto enough = [&] { return sources_.size() >= at_least; };
    mutex_.AwaitWithTimeout(absl::Condition(&enough), absl::Seconds(10));
    return sources_;
  }
  // The pid of the client is noted there.
  ClientOptions InsideAs(pid_t& pid) {
    ClientOptions options = Inside();
    options.before = [&pid](pid_t client) { pid = client; };
    return options;
  }

  absl::Mutex mutex_;
  std::vector<uint32_t> sources_;
  const NetNamespace own_ = *NetNamespace::Own();
  std::optional<Cgroup> cgroup_;
  std::unique_ptr<Intercept> intercept_;
  std::unique_ptr<Relay> relay_;
};

TEST_F(InterceptTest, ConnectGoesThroughTheRelayAndTheTargetSeesTheAddressItAskedFor) {
  Server server(own_, AF_INET);
  Redirect(server.address, own_, cgroup_->path());
  const Seen seen = RunClient(server.address, Inside());
  EXPECT_EQ(seen.error, 0);
  EXPECT_STREQ(seen.answer, "hi");
  EXPECT_EQ(seen.peer, server.address) << seen.peer.ToString();
  EXPECT_EQ(Connections(), 1);
}

TEST_F(InterceptTest, WorksForIPv6) {
  Server server(own_, AF_INET6);
  Redirect(server.address, own_, cgroup_->path());
  const Seen seen = RunClient(server.address, Inside());
  EXPECT_STREQ(seen.answer, "hi");
  EXPECT_EQ(seen.peer, server.address) << seen.peer.ToString();
  EXPECT_EQ(Connections(), 1);
}

TEST_F(InterceptTest, WorksForIPv4OverAnIPv6Socket) {
  Server server(own_, AF_INET);
  Redirect(server.address, own_, cgroup_->path());
  ClientOptions options = Inside();
  options.v4_mapped = true;
  const Seen seen = RunClient(server.address, options);
  EXPECT_STREQ(seen.answer, "hi");
  EXPECT_EQ(seen.peer, server.address) << seen.peer.ToString();
  EXPECT_EQ(Connections(), 1);
}

TEST_F(InterceptTest, BystanderOutsideOfTheCgroupIsNotRedirected) {
  Server server(own_, AF_INET);
  Redirect(server.address, own_, cgroup_->path());
  EXPECT_STREQ(RunClient(server.address, {}).answer, "hi");
  EXPECT_EQ(Connections(), 0);
}

TEST_F(InterceptTest, OtherAddressesAreLeftAlone) {
  Server server(own_, AF_INET), other(own_, AF_INET);
  Redirect(server.address, own_, cgroup_->path());
  EXPECT_STREQ(RunClient(other.address, Inside()).answer, "hi");
  EXPECT_EQ(Connections(), 0);
}

TEST_F(InterceptTest, WhatTheDependencyRefusesIsRefused) {
  Server server(own_, AF_INET);
  Redirect(server.address, own_, cgroup_->path());
  server.Stop();
  int error = 0;
  for (int i = 0; i < 1000 && error != ECONNREFUSED; ++i) {
    error = RunClient(server.address, Inside()).error;
    absl::SleepFor(absl::Milliseconds(1));
  }
  EXPECT_EQ(error, ECONNREFUSED);
  const int64_t through = Connections();
  const int64_t before = relay_->Stats("edge").refused();
  pid_t one = 0, other = 0;
  EXPECT_EQ(RunClient(server.address, InsideAs(one)).error, ECONNREFUSED);
  EXPECT_EQ(RunClient(server.address, InsideAs(other)).error, ECONNREFUSED);
  EXPECT_EQ(Connections(), through) << "the hook refuses: nothing reaches the relay any more";
  const EdgeStats stats = relay_->Stats("edge");
  EXPECT_EQ(stats.refused(), before + 2);
  EXPECT_EQ(stats.refused_by().at(static_cast<uint32_t>(one)), 1);
  EXPECT_EQ(stats.refused_by().at(static_cast<uint32_t>(other)), 1);
}

TEST_F(InterceptTest, EachCallIsToldWithTheProcessThatMadeIt) {
  Server server(own_, AF_INET);
  Redirect(server.address, own_, cgroup_->path());
  pid_t one = 0, other = 0;
  RunClient(server.address, InsideAs(one));
  RunClient(server.address, InsideAs(other));
  EXPECT_NE(one, other);
  EXPECT_EQ(Sources(2), (std::vector<uint32_t>{static_cast<uint32_t>(one), static_cast<uint32_t>(other)}));
}

TEST_F(InterceptTest, DetachedRedirectsNothing) {
  Server server(own_, AF_INET);
  Redirect(server.address, own_, cgroup_->path());
  intercept_->Detach();
  const Seen seen = RunClient(server.address, Inside());
  EXPECT_STREQ(seen.answer, "hi");
  EXPECT_EQ(Connections(), 0);
}

TEST_F(InterceptTest, WorksInsideAnotherNetworkNamespace) {
  OwnNamespace other;
  Server inside(*other.ns, AF_INET);
  Redirect(inside.address, *other.ns, cgroup_->path());
  ClientOptions options = Inside();
  options.ns = &*other.ns;
  const Seen seen = RunClient(inside.address, options);
  EXPECT_STREQ(seen.answer, "hi");
  EXPECT_EQ(Connections(), 1);
  // The same address in another namespace is another place.
  Server outside(own_, AF_INET);
  EXPECT_EQ(RunClient(outside.address, Inside()).error, 0);
  EXPECT_EQ(Connections(), 1);
}

TEST_F(InterceptTest, OfAServiceThatRunsAlreadyOnlyItsProcessesAreRedirected) {
  Server server(own_, AF_INET);
  // All clients share the cgroup: what tells them apart is the process.
  Redirect(server.address, own_, cgroup_->path(), /*by_process=*/true);
  ClientOptions target = Inside();
  target.before = [&](pid_t pid) { EXPECT_TRUE(intercept_->SetProcesses({pid}).ok()); };
  EXPECT_STREQ(RunClient(server.address, target).answer, "hi");
  EXPECT_EQ(Connections(), 1);
  EXPECT_STREQ(RunClient(server.address, Inside()).answer, "hi");
  EXPECT_EQ(Connections(), 1);
}

TEST_F(InterceptTest, AtTheRootAProcessIsFollowedFromOneCgroupToAnotherAndItsNeighboursAreNot) {
  Server server(own_, AF_INET);
  Redirect(server.address, own_, *CgroupV2Mount(), /*by_process=*/true);
  Cgroup other = Cgroup::Make("intercept-test-other").value();
  ClientOptions moved = Inside();
  moved.moves_to = other.path();
  moved.before = [&](pid_t pid) { EXPECT_TRUE(intercept_->SetProcesses({pid}).ok()); };
  EXPECT_STREQ(RunClient(server.address, moved).answer, "hi");
  EXPECT_EQ(Connections(), 1);
  for (const std::string& cgroup : {cgroup_->path(), other.path(), std::string()}) {
    ClientOptions neighbour;
    neighbour.cgroup = cgroup;
    EXPECT_STREQ(RunClient(server.address, neighbour).answer, "hi");
    EXPECT_EQ(Connections(), 1) << cgroup;
  }
  EXPECT_TRUE(other.Remove().ok());
}

TEST_F(InterceptTest, StrangerAtTheRelaysDoorIsSentAway) {
  Server server(own_, AF_INET);
  Redirect(server.address, own_, cgroup_->path());
  for (const pid_t pid : {getpid()}) {
    for (const int port : ListeningPorts({ReadStat(pid)->id})) {
      if (port == server.address.port) continue;
      EXPECT_STREQ(RunClient(Parse("127.0.0.1:" + std::to_string(port)), {}).answer, "");
    }
  }
  EXPECT_EQ(Connections(), 0);
}

}  // namespace
}  // namespace squall
