// Redirection by BPF with real processes in real cgroups and network namespaces. Needs root: without, every test says that
// it was left out.
#include "agent/net/intercept.h"

#include <gtest/gtest.h>

#include <cerrno>
#include <fstream>
#include <optional>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "agent/net/intercept_clients.h"
#include "agent/net/relay.h"
#include "agent/net/test_peers.h"
#include "agent/process/cgroup.h"

namespace squall {
namespace {

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

TEST_F(InterceptTest, SocketThatIsConnectedAnewSeesItsNewPeer) {
  Server server(own_, AF_INET), other(own_, AF_INET);
  Redirect(server.address, own_, cgroup_->path());
  const pid_t client = fork();
  if (client == 0) {
    std::ofstream(cgroup_->path() + "/cgroup.procs") << "0" << std::flush;
    const int fd = socket(AF_INET, SOCK_STREAM, 0);
    sockaddr_storage to;
    sockaddr nobody = {};
    nobody.sa_family = AF_UNSPEC;
    socklen_t length = server.address.ToSockaddr(to);
    const bool first = connect(fd, reinterpret_cast<sockaddr*>(&to), length) == 0 && connect(fd, &nobody, sizeof(nobody)) == 0;
    length = other.address.ToSockaddr(to);
    if (!first || connect(fd, reinterpret_cast<sockaddr*>(&to), length) != 0) _exit(2);
    getpeername(fd, reinterpret_cast<sockaddr*>(&to), &length);
    _exit(FromSockaddr(to) == other.address ? 0 : 1);
  }
  int status = 0;
  waitpid(client, &status, 0);
  EXPECT_EQ(WEXITSTATUS(status), 0);
}

TEST_F(InterceptTest, WhatCannotGetToTheLoopbackIsLeftAlone) {
  Child service(cgroup_->path()), peer;
  ASSERT_EQ(service.LeaveNamespace(), 0);
  ASSERT_EQ(peer.LeaveNamespace(), 0);
  const auto in = [](const Child& child, const std::string& command) {
    return system(absl::StrCat("nsenter -t ", child.pid(), " -n sh -c '", command, "'").c_str());
  };
  constexpr int kDevice = 77;
  ASSERT_EQ(in(service, absl::StrCat("ip link set lo up && ip link add near index ", kDevice, " type veth peer name far netns ",
                                     peer.pid(), " && ip addr add 10.77.0.1/24 dev near && ip addr add fe80::1/64 dev near nodad && "
                                     "ip link set near up")), 0);
  ASSERT_EQ(in(peer, "ip addr add 10.77.0.2/24 dev far && ip addr add fe80::2/64 dev far nodad && ip link set far up"), 0);
  for (const char* at : {"10.77.0.2:80", "[fe80::2]:80"}) {
    SCOPED_TRACE(at);
    const Address there = Parse(at);
    const int listener = peer.Socket(there.Family(), SOCK_STREAM);
    ASSERT_EQ(peer.Listen(listener, Parse(there.IsV4() ? "0.0.0.0:80" : "[::]:80")), 0);
    const NetNamespace ns = *NetNamespace::Of(service.pid());
    Redirect(AnyAddress(80), ns, cgroup_->path());
    const int bound = service.Socket(there.Family(), SOCK_STREAM);
    ASSERT_EQ(service.Set(bound, SOL_SOCKET, SO_BINDTOIFINDEX, kDevice), 0);
    EXPECT_EQ(service.Connect(bound, there), 0);
    EXPECT_EQ(Connections(), 0);
    service.Close(bound);
    peer.Close(peer.Accept(listener));
    peer.Close(listener);
    relay_.reset();
    intercept_.reset();
  }
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

TEST_F(InterceptTest, FaultRefusesConnectsAndEveryAttemptIsCounted) {
  Server server(own_, AF_INET), v6(own_, AF_INET6);
  for (const Address& address : {server.address, v6.address}) {
    Redirect(address, own_, cgroup_->path());
    Fault fault;
    fault.mutable_refuse()->set_edge("edge");
    pid_t one = 0, other = 0;
    EXPECT_STREQ(RunClient(address, InsideAs(one)).answer, "hi");
    ASSERT_TRUE(relay_->SetFault(fault, 1).ok());
    EXPECT_EQ(RunClient(address, InsideAs(other)).error, ECONNREFUSED);
    EXPECT_EQ(RunClient(address, Inside()).error, ECONNREFUSED);
    EXPECT_STREQ(RunClient(address, {}).answer, "hi") << "a bystander";
    EXPECT_EQ(relay_->FaultEvidence("edge", Fault::kRefuse).refused(), 2);
    const EdgeStats stats = relay_->Stats("edge");
    EXPECT_EQ(stats.refused(), 0) << "that would be the dependency's";
    EXPECT_EQ(stats.attempts(), 3);
    EXPECT_EQ(stats.attempts_by().at(static_cast<uint32_t>(one)), 1);
    EXPECT_EQ(stats.attempts_by().at(static_cast<uint32_t>(other)), 1);
    EXPECT_TRUE(relay_->ClearFault("edge", Fault::kRefuse).ok());
    EXPECT_TRUE(relay_->ClearFault("edge", Fault::kRefuse).ok());
    EXPECT_STREQ(RunClient(address, Inside()).answer, "hi");
    EXPECT_EQ(relay_->FaultEvidence("edge", Fault::kRefuse).refused(), 2) << "evidence outlives the fault";
    relay_.reset();
  }
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

TEST_F(InterceptTest, WhatWasCountedCanBeReadWhenAllIsClosed) {
  Server server(own_, AF_INET);
  Redirect(server.address, own_, cgroup_->path());
  RunClient(server.address, Inside());
  server.Stop();
  for (int i = 0; i < 500 && RunClient(server.address, Inside()).error != ECONNREFUSED; ++i) absl::SleepFor(absl::Milliseconds(5));
  const EdgeStats before = relay_->Stats("edge");
  EXPECT_GT(before.attempts(), 0);
  EXPECT_GT(before.refused(), 0);
  intercept_->Detach();
  std::atomic<bool> at_once = true;
  relay_->Close(absl::ZeroDuration(), at_once);
  EXPECT_EQ(relay_->Stats("edge").attempts(), before.attempts());
  EXPECT_EQ(relay_->Stats("edge").refused(), before.refused());
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
