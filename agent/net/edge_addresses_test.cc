// Edges of several addresses, of any address, and of addresses that change, with real processes in real cgroups and network
// namespaces; and beside other programs that use connect hooks. Needs root: without, every test that does says that it was
// left out.
#include <arpa/inet.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "agent/net/bpf.h"
#include "agent/net/intercept_clients.h"
#include "agent/net/neighbour.skel.h"
#include "agent/net/relay.h"
#include "agent/process/cgroup.h"
#include "agent/process/proc.h"

namespace squall {
namespace {

Address At(const std::string& host, uint16_t port) { return Parse(absl::StrCat(host, ":", port)); }

// To be bound to: on a port that is free.
Address Free(const std::string& host) {
  Address address = At(host, 1);
  address.port = 0;
  return address;
}

// Connects in turn to ADDRESS + 0, 1, 2 ... and returns how many were answered.
int ConnectToMany(const std::string& cgroup, const NetNamespace& ns, Address to, int count) {
  int result[2];
  EXPECT_EQ(pipe2(result, O_CLOEXEC), 0);
  const std::string procs = cgroup + "/cgroup.procs";
  const pid_t pid = fork();
  if (pid == 0) {
    CloseInheritedSockets();
    const int moved = open(procs.c_str(), O_WRONLY);
    if (write(moved, "0", 1) != 1) _exit(1);
    int answered = 0;
    uint32_t ip;
    memcpy(&ip, &to.ip.s6_addr[12], 4);
    for (int i = 0; i < count; ++i) {
      const uint32_t each = htonl(ntohl(ip) + static_cast<uint32_t>(i));
      memcpy(&to.ip.s6_addr[12], &each, 4);
      const Fd fd = ns.Socket(AF_INET, SOCK_STREAM).value();
      sockaddr_storage storage;
      const socklen_t length = to.ToSockaddr(storage);
      char byte;
      if (connect(fd.get(), reinterpret_cast<sockaddr*>(&storage), length) == 0) answered += read(fd.get(), &byte, 1) == 1;
    }
    (void)!write(result[1], &answered, sizeof(answered));
    _exit(0);
  }
  close(result[1]);
  int answered = -1;
  EXPECT_EQ(read(result[0], &answered, sizeof(answered)), static_cast<ssize_t>(sizeof(answered)));
  waitpid(pid, nullptr, 0);
  close(result[0]);
  return answered;
}

class EdgeAddresses : public ::testing::Test {
 protected:
  void SetUp() override {
    const std::string why_not = Intercept::WhyNot(/*by_process=*/true);
    if (!why_not.empty()) {
      printf("LEFT OUT: edge_addresses_test: %s\n", why_not.c_str());
      GTEST_SKIP() << why_not;
    }
    cgroup_.emplace(Cgroup::Make("edge-addresses-test").value());
  }
  void TearDown() override {
    relay_.reset();
    intercept_.reset();
    if (cgroup_) {
      EXPECT_TRUE(cgroup_->Remove().ok());
    }
  }

  void Open(const std::string& name, const std::vector<Address>& to) {
    if (intercept_ == nullptr) {
      intercept_ = Intercept::Attach(cgroup_->path(), /*by_process=*/false).value();
      ASSERT_TRUE(intercept_->SetNamespace(*ns_.ns).ok());
    }
    Relay::EdgeOptions edge;
    edge.name = name;
    edge.to = to;
    edge.intercept = intercept_.get();
    const absl::Status status = relay_->Open(edge, *ns_.ns);
    ASSERT_TRUE(status.ok()) << status;
  }
  int64_t Connections(const std::string& edge = "edge") { return relay_->Stats(edge).connections(); }
  Seen Connect(const Address& to, bool v4_mapped = false) {
    return RunClient(to, {cgroup_->path(), "", v4_mapped, &*ns_.ns, nullptr});
  }
  // Until a connect is refused, as it is a few milliseconds after the listener is gone. What comes before is told.
  bool IsRefusedSoon(const Address& to) {
    for (int i = 0; i < 200; ++i) {
      if (Connect(to).error == ECONNREFUSED) return true;
      absl::SleepFor(absl::Milliseconds(1));
    }
    return false;
  }

  OwnNamespace ns_;
  std::optional<Cgroup> cgroup_;
  std::unique_ptr<Intercept> intercept_;
  std::unique_ptr<Relay> relay_ = std::make_unique<Relay>([](const std::string&, const SeenCall&) {});
};

TEST_F(EdgeAddresses, OfASeveralfoldEdgeAreAllRedirected) {
  Server first(*ns_.ns, AF_INET), second(*ns_.ns, AF_INET6);
  Open("edge", {first.address, second.address});
  EXPECT_STREQ(Connect(first.address).answer, "hi");
  const Seen seen = Connect(second.address);
  EXPECT_STREQ(seen.answer, "hi");
  EXPECT_EQ(seen.peer, second.address) << seen.peer.ToString();
  EXPECT_EQ(Connections(), 2);
}

TEST_F(EdgeAddresses, OfAnyKindWithThePortAreRedirectedToWhereTheyWantedToGo) {
  Server one(*ns_.ns, AF_INET);
  const uint16_t port = one.address.port;
  Server other(*ns_.ns, At("127.0.0.2", port), "two"), six(*ns_.ns, At("[::1]", port), "six");
  Open("edge", {AnyAddress(port)});
  const std::vector<std::pair<Address, const char*>> places = {
      {one.address, "hi"}, {other.address, "two"}, {six.address, "six"}};
  for (const auto& [address, answer] : places) {
    const Seen seen = Connect(address);
    EXPECT_STREQ(seen.answer, answer);
    EXPECT_EQ(seen.peer, address) << seen.peer.ToString();
  }
  EXPECT_STREQ(Connect(other.address, /*v4_mapped=*/true).answer, "two");
  EXPECT_EQ(Connections(), 4);
  Server elsewhere(*ns_.ns, AF_INET);
  EXPECT_STREQ(Connect(elsewhere.address).answer, "hi");
  EXPECT_EQ(Connections(), 4) << "another port is no part of the edge";
}

TEST_F(EdgeAddresses, ThatAreWrittenOutWinOverAny) {
  Server one(*ns_.ns, AF_INET);
  Server other(*ns_.ns, At("127.0.0.2", one.address.port));
  Open("any", {AnyAddress(one.address.port)});
  EXPECT_STREQ(Connect(one.address).answer, "hi");
  EXPECT_EQ(Connections("any"), 1);
  // Also when any address has seen it already.
  Open("exact", {one.address});
  EXPECT_STREQ(Connect(one.address).answer, "hi");
  EXPECT_STREQ(Connect(other.address).answer, "hi");
  EXPECT_EQ(Connections("any"), 2);
  EXPECT_EQ(Connections("exact"), 1);
}

TEST_F(EdgeAddresses, AmongAnyThatRefuseAreRefusedEachByItself) {
  Server one(*ns_.ns, AF_INET);
  Server other(*ns_.ns, At("127.0.0.2", one.address.port)), six(*ns_.ns, At("[::1]", one.address.port));
  Open("edge", {AnyAddress(one.address.port)});
  for (const Server* server : {&one, &other, &six}) EXPECT_STREQ(Connect(server->address).answer, "hi");
  other.Stop();
  six.Stop();
  EXPECT_TRUE(IsRefusedSoon(other.address));
  EXPECT_TRUE(IsRefusedSoon(six.address));
  EXPECT_STREQ(Connect(one.address).answer, "hi");
  EXPECT_GE(relay_->Stats("edge").refused(), 2);
}

TEST_F(EdgeAddresses, OfAThousandAndMoreAreAllReachedAndNoRefusalIsForgotten) {
  Server anywhere(*ns_.ns, Free("0.0.0.0"));
  const uint16_t port = anywhere.address.port;
  Open("edge", {AnyAddress(port)});
  const Address first = At("127.1.0.0", port);
  EXPECT_EQ(ConnectToMany(cgroup_->path(), *ns_.ns, first, 1), 1);
  anywhere.Stop();
  EXPECT_TRUE(IsRefusedSoon(first));
  const int64_t refused = relay_->Stats("edge").refused();
  EXPECT_GT(refused, 0);
  Server again(*ns_.ns, At("0.0.0.0", port));
  const int64_t before = Connections();
  EXPECT_EQ(ConnectToMany(cgroup_->path(), *ns_.ns, At("127.1.1.0", port), 1030), 1030);
  EXPECT_EQ(Connections(), before + 1030);
  EXPECT_EQ(relay_->Stats("edge").refused(), refused) << "of an address that is not watched any more";
  EXPECT_STREQ(Connect(first).answer, "hi");
  EXPECT_EQ(Connections(), before + 1031);
}

TEST_F(EdgeAddresses, ThatAreNewAreRedirectedAndOldOnesStay) {
  Server old(*ns_.ns, AF_INET), young(*ns_.ns, AF_INET6);
  Open("edge", {old.address});
  EXPECT_STREQ(Connect(young.address).answer, "hi");
  EXPECT_EQ(Connections(), 0);
  ASSERT_TRUE(relay_->SetAddresses("edge", {young.address}).ok());
  EXPECT_STREQ(Connect(young.address).answer, "hi");
  EXPECT_STREQ(Connect(old.address).answer, "hi");
  EXPECT_EQ(Connections(), 2);
  EXPECT_EQ(relay_->SetAddresses("none", {old.address}).code(), absl::StatusCode::kNotFound);
}

// ---- without privileges

TEST(RelayAt, TakesTheFirstAddressThatAcceptsAndFollowsTheEdge) {
  const NetNamespace own = *NetNamespace::Own();
  Server first(own, AF_INET6), second(own, AF_INET), third(own, AF_INET);
  Relay relay([](const std::string&, const SeenCall&) {});
  Relay::EdgeOptions edge;
  edge.name = "edge";
  edge.to = {first.address, second.address};
  uint16_t port = 0;
  {
    const Server free(own, AF_INET);
    port = free.address.port;
  }
  edge.relay_at = At("127.0.0.1", port);
  const absl::Status opened = relay.Open(edge, own);
  ASSERT_TRUE(opened.ok()) << opened;
  EXPECT_STREQ(RunClient(*edge.relay_at, {}).answer, "hi");
  first.Stop();
  const auto answered_soon = [&] {
    for (int i = 0; i < 200; ++i) {
      if (std::string(RunClient(*edge.relay_at, {}).answer) == "hi") return true;
      absl::SleepFor(absl::Milliseconds(1));
    }
    return false;
  };
  EXPECT_TRUE(answered_soon()) << "the second takes over";
  second.Stop();
  bool refused = false;
  for (int i = 0; i < 200 && !refused; ++i) {
    refused = RunClient(*edge.relay_at, {}).error == ECONNREFUSED;
    absl::SleepFor(absl::Milliseconds(1));
  }
  EXPECT_TRUE(refused) << "nobody accepts";
  ASSERT_TRUE(relay.SetAddresses("edge", {third.address}).ok());
  EXPECT_TRUE(answered_soon()) << "the name leads elsewhere";
}

// ---- beside others

// A program of somebody else on connect hooks: counts, and translates one port.
class Neighbour {
 public:
  explicit Neighbour(const std::string& cgroup) {
    programs_ = LoadBpf<neighbour>([](neighbour&) {}).value();
    const Fd folder = OpenCgroup(cgroup).value();
    EXPECT_TRUE(links_.Attach(folder.get(), {programs_->progs.neighbour4, programs_->progs.neighbour6}).ok());
  }
  // Connects to port `from` go to `to`, and over IPv4 to that host where one is given.
  void Translate(uint16_t from, uint16_t to, const char* host = nullptr) {
    programs_->bss->from_port = from;
    programs_->bss->to_port = to;
    if (host != nullptr) programs_->bss->to_ip4 = inet_addr(host);
  }
  uint64_t Connects() const { return programs_->bss->connects; }

 private:
  BpfPrograms<neighbour> programs_;
  BpfLinks links_;
};

struct Order {
  const char* name;
  bool on_parent;
  bool first;  // attached before ours
};

class BesideOthers : public EdgeAddresses, public ::testing::WithParamInterface<Order> {
 protected:
  // A port on which nobody listens.
  uint16_t Unused() { return Server(*ns_.ns, AF_INET).address.port; }
  std::string Place() const {
    return GetParam().on_parent ? std::filesystem::path(cgroup_->path()).parent_path().string() : cgroup_->path();
  }
  // Attaches both, with the edge at `to`.
  void AttachBoth(const Address& to) {
    if (GetParam().first) neighbour_.emplace(Place());
    Open("edge", {to});
    if (!GetParam().first) neighbour_.emplace(Place());
  }
  std::optional<Neighbour> neighbour_;
};

INSTANTIATE_TEST_SUITE_P(All, BesideOthers,
                         ::testing::Values(Order{"OnTheSameCgroupAttachedBefore", false, true},
                                           Order{"OnTheSameCgroupAttachedAfter", false, false},
                                           Order{"OnTheParentAttachedBefore", true, true},
                                           Order{"OnTheParentAttachedAfter", true, false}),
                         [](const auto& order) { return std::string(order.param.name); });

TEST_P(BesideOthers, BothWorkAndTheOtherGoesOnWhenOursIsGone) {
  for (const int family : {AF_INET, AF_INET6}) {
    Server ours(*ns_.ns, family), theirs(*ns_.ns, family);
    AttachBoth(ours.address);
    Address translated = theirs.address;
    translated.port = Unused();
    neighbour_->Translate(translated.port, theirs.address.port);
    const int64_t through = Connections();

    EXPECT_STREQ(Connect(ours.address).answer, "hi");
    EXPECT_EQ(Connections(), through + 1);
    EXPECT_EQ(neighbour_->Connects(), 1u) << "it sees what we redirect";
    EXPECT_STREQ(Connect(translated).answer, "hi") << "what it translates goes where it says";
    EXPECT_EQ(Connections(), through + 1) << "and not through our relay";
    ours.Stop();
    EXPECT_TRUE(IsRefusedSoon(ours.address)) << "our refusal is not undone by it";
    Server again(*ns_.ns, ours.address);

    intercept_->Detach();
    const uint64_t before = neighbour_->Connects();
    const Seen direct = Connect(ours.address);
    EXPECT_STREQ(direct.answer, "hi") << strerror(direct.error);
    EXPECT_STREQ(Connect(translated).answer, "hi");
    EXPECT_EQ(neighbour_->Connects(), before + 2);
    neighbour_.reset();
    relay_.reset();  // before what it redirects through
    intercept_.reset();
    relay_ = std::make_unique<Relay>([](const std::string&, const SeenCall&) {});
  }
}

// What is translated *to* the edge's address is seen by the one that comes later: programs of a cgroup run before those of its
// parent, and those of one cgroup in the order in which they were attached.
TEST_P(BesideOthers, WhatIsTranslatedToTheEdgesAddressIsOursIfTheOtherComesFirst) {
  Server server(*ns_.ns, AF_INET);
  AttachBoth(server.address);
  Address asked = server.address;
  asked.port = Unused();
  neighbour_->Translate(asked.port, server.address.port);
  EXPECT_STREQ(Connect(asked).answer, "hi");
  const bool it_comes_first = GetParam().first && !GetParam().on_parent;
  EXPECT_EQ(Connections(), it_comes_first ? 1 : 0);
}

// A mesh that translates for the whole host, the agent included: the edge is what the service asks for. The connect of the relay
// is translated as the service's would be.
TEST_F(EdgeAddresses, OfAServiceThatTheWholeHostTranslatesIsWhatIsAskedFor) {
  const std::string host = std::filesystem::path(cgroup_->path()).parent_path().string();
  const std::string before = CgroupsOf(getpid()).front();
  std::ofstream(host + "/cgroup.procs") << "0" << std::flush;  // before the relay makes its sockets
  Neighbour mesh(host);
  Server backend(*ns_.ns, AF_INET);
  const Address asked = At("198.51.100.7", 4711);
  Open("edge", {asked});
  mesh.Translate(asked.port, backend.address.port, "127.0.0.1");
  const Seen seen = Connect(asked);
  EXPECT_STREQ(seen.answer, "hi");
  EXPECT_EQ(seen.peer, asked) << seen.peer.ToString();
  EXPECT_EQ(Connections(), 1);
  EXPECT_EQ(mesh.Connects(), 2u) << "the service's, which goes to the relay, and the relay's";
  std::ofstream(*CgroupV2Mount() + before + "/cgroup.procs") << "0" << std::flush;
}

}  // namespace
}  // namespace squall
