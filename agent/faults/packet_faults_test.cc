// loss, blackhole, partition and refuse as faults of a run, on a real process in a cgroup of its own and a real peer. Which packets
// are hit is tested with agent/net/packets.h, and refusing with agent/net/intercept.h.
#include <gtest/gtest.h>

#include <optional>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "agent/faults/fault.h"
#include "agent/faults/queued_edges.h"
#include "agent/net/test_peers.h"
#include "agent/process/cgroup.h"

namespace squall {
namespace {

constexpr absl::Duration kSilence = absl::Milliseconds(150);

// What a client sees of a fault: of a connection that was there, and of a new one.
struct Shape {
  std::string name;
  std::function<void(Fault&)> set;
  bool live_goes_on = false;
  int new_connect = EAGAIN;  // it hangs
};

std::vector<Shape> Shapes() {
  return {
      {"Blackhole", [](Fault& fault) { fault.mutable_blackhole()->set_edge("peer"); }},
      {"Loss",
       [](Fault& fault) {
         fault.mutable_loss()->set_edge("peer");
         fault.mutable_loss()->set_percent(100);
         fault.mutable_loss()->set_direction(DIRECTION_BOTH);
       }},
      {"Partition",
       [](Fault& fault) {
         fault.mutable_partition()->set_edge("peer");
         fault.mutable_partition()->set_direction(DIRECTION_BOTH);
         fault.mutable_partition()->set_answer(Partition::ANSWER_DROP);
       }},
      {"PartitionRejectsNewConnections",
       [](Fault& fault) {
         fault.mutable_partition()->set_edge("peer");
         fault.mutable_partition()->set_direction(DIRECTION_BOTH);
         fault.mutable_partition()->set_connections(Partition::CONNECTIONS_NEW);
         fault.mutable_partition()->set_answer(Partition::ANSWER_REJECT);
       },
       true, ECONNREFUSED},
      {"PartitionIsolates",
       [](Fault& fault) {
         fault.mutable_partition()->set_isolate("client");
         fault.mutable_partition()->set_direction(DIRECTION_BOTH);
         fault.mutable_partition()->set_answer(Partition::ANSWER_DROP);
       }},
      {"Refuse", [](Fault& fault) { fault.mutable_refuse()->set_edge("redirected"); }, true, ECONNREFUSED},
  };
}

class PacketFaults : public testing::TestWithParam<Shape> {
 protected:
  void SetUp() override {
    const std::string why_not = Intercept::WhyNot(/*by_process=*/false);
    if (!why_not.empty()) {
      printf("LEFT OUT: packet_faults_test: %s\n", why_not.c_str());
      GTEST_SKIP();
    }
    server_.emplace(AF_INET6);
    cgroup_.emplace(Cgroup::Make("packet-faults").value());
    client_.emplace(cgroup_->path());
    if (GetParam().name == "Refuse") {
      intercept_ = Intercept::Attach(cgroup_->path(), /*by_process=*/false).value();
      relay_ = std::make_unique<Relay>([](const std::string&, const SeenCall&) {});
      Relay::EdgeOptions edge;
      edge.name = "redirected";
      edge.to = {server_->address};
      edge.parse_http = false;
      edge.intercept = intercept_.get();
      ASSERT_TRUE(relay_->Open(edge, own_).ok());
      ASSERT_TRUE(intercept_->SetNamespace(own_).ok());
    } else {
      packets_ = Packets::Attach(cgroup_->path(), /*by_process=*/false).value();
      ASSERT_TRUE(packets_->SetEdge("peer", {false, {server_->address}}).ok());
      places_.of_edge["peer"] = places_.of_service["client"] = packets_.get();
    }
    live_ = client_->Socket(AF_INET6, SOCK_STREAM);
    ASSERT_EQ(client_->Connect(live_, server_->address), 0);
    ASSERT_TRUE(client_->Echoes(live_, "before"));
  }
  void TearDown() override {
    relay_.reset();
    client_.reset();
    if (cgroup_) {
      EXPECT_TRUE(cgroup_->Remove().ok());
    }
  }

  std::unique_ptr<ActiveFault> Make(const Fault& fault) {
    FaultContext context;
    context.relay = relay_ ? relay_.get() : &none_;
    context.packets = &places_;
    context.seed = 1;
    return MakeFault(fault, context);
  }
  int ConnectAnew(absl::Duration wait = absl::Seconds(5)) {
    return client_->Connect(client_->Socket(AF_INET6, SOCK_STREAM), server_->address, wait);
  }

  const NetNamespace own_ = *NetNamespace::Own();
  Relay none_ = Relay([](const std::string&, const SeenCall&) {});
  std::optional<EchoServer> server_;
  std::optional<Cgroup> cgroup_;
  std::optional<Child> client_;
  std::unique_ptr<Intercept> intercept_;
  std::unique_ptr<Relay> relay_;
  std::unique_ptr<Packets> packets_;
  PacketPlaces places_;
  int live_ = -1;
};

INSTANTIATE_TEST_SUITE_P(Kinds, PacketFaults, testing::ValuesIn(Shapes()), [](const auto& shape) { return shape.param.name; });

TEST_P(PacketFaults, InjectsAndHealsTwiceSafely) {
  Fault fault;
  GetParam().set(fault);
  const std::unique_ptr<ActiveFault> active = Make(fault);
  ASSERT_TRUE(active->Inject().ok());
  EXPECT_EQ(client_->Echoes(live_, "during", kSilence), GetParam().live_goes_on);
  EXPECT_EQ(ConnectAnew(kSilence), GetParam().new_connect);
  Child bystander;
  const int other = bystander.Socket(AF_INET6, SOCK_STREAM);
  EXPECT_EQ(bystander.Connect(other, server_->address), 0);
  EXPECT_TRUE(bystander.Echoes(other, "undisturbed"));
  const Evidence seen = active->Seen();
  EXPECT_GT(seen.hit_to_dependency() + seen.refused(), 0);
  EXPECT_TRUE(active->Heal(HealFor::kFaultOver).ok());
  EXPECT_TRUE(active->Heal(HealFor::kRunOver).ok());
  if (!GetParam().live_goes_on) {
    EXPECT_EQ(client_->Receive(live_), "during") << "sent again";
  }
  EXPECT_TRUE(client_->Echoes(live_, "after"));
  EXPECT_EQ(ConnectAnew(), 0);
}

TEST_P(PacketFaults, FailedInjectionLeavesNothing) {
  Fault fault;
  GetParam().set(fault);
  if (fault.has_refuse()) fault.mutable_refuse()->set_edge("stranger");
  if (fault.has_loss()) fault.mutable_loss()->set_edge("stranger");
  if (fault.has_blackhole()) fault.mutable_blackhole()->set_edge("stranger");
  if (fault.has_partition() && !fault.partition().isolate().empty()) {
    fault.mutable_partition()->set_isolate("stranger");
  } else if (fault.has_partition()) {
    fault.mutable_partition()->set_edge("stranger");
  }
  const std::unique_ptr<ActiveFault> active = Make(fault);
  EXPECT_FALSE(active->Inject().ok());
  EXPECT_TRUE(active->Heal(HealFor::kRunOver).ok());
  EXPECT_TRUE(client_->Echoes(live_, "undisturbed"));
  EXPECT_EQ(ConnectAnew(), 0);
}

TEST(Isolation, HearsNoResetsOfItsPeers) {
  if (geteuid() != 0) GTEST_SKIP() << "LEFT OUT: a service that is cut off needs root";
  Child service;
  auto peer = std::make_unique<Child>();
  const int listener = peer->Socket(AF_INET, SOCK_STREAM), fd = service.Socket(AF_INET, SOCK_STREAM);
  ASSERT_EQ(peer->Listen(listener, LoopbackOf(AF_INET)), 0);
  ASSERT_EQ(service.Connect(fd, peer->Local(listener)), 0);
  ASSERT_GE(peer->Accept(listener), 0);
  ASSERT_EQ(service.Send(fd, "unread"), 6);
  const std::unique_ptr<Packets> packets = Packets::Attach(CgroupV2Mount().value(), /*by_process=*/true).value();
  ASSERT_TRUE(packets->SetProcesses({service.id()}).ok());
  PacketPlaces places;
  places.of_service["orders"] = packets.get();
  Relay relay([](const std::string&, const SeenCall&) {});
  FaultContext context;
  context.relay = &relay;
  context.packets = &places;
  Fault fault;
  fault.mutable_partition()->set_isolate("orders");
  fault.mutable_partition()->set_direction(DIRECTION_BOTH);
  fault.mutable_partition()->set_answer(Partition::ANSWER_REJECT);
  const std::unique_ptr<ActiveFault> active = MakeFault(fault, context);
  ASSERT_TRUE(active->Inject().ok());
  peer.reset();  // with bytes unread, which its kernel answers with a RST
  EXPECT_EQ(service.Receive(fd, kSilence), "");
  EXPECT_EQ(service.Send(fd, "x"), 1);
  EXPECT_GT(active->Seen().hit_to_service(), 0);
  EXPECT_TRUE(active->Heal(HealFor::kFaultOver).ok());
}

// Faults that reach the connections that a service has from before the run, which no relay carries. The service is its own
// dependency, in a network namespace of its own.
class DirectFaults : public testing::Test {
 protected:
  void SetUp() override {
    if (geteuid() != 0) {
      printf("LEFT OUT: packet_faults_test: network namespaces need root\n");
      GTEST_SKIP();
    }
    ASSERT_EQ(service_.LeaveNamespace(), 0);
    // One connection at a time: the next has the same ends.
    ASSERT_EQ(system(absl::StrCat("nsenter -t ", service_.pid(), " -n sh -c 'ip link set lo up && echo 45000 45000 > "
                                  "/proc/sys/net/ipv4/ip_local_port_range'").c_str()), 0);
    listener_ = service_.Socket(AF_INET, SOCK_STREAM);
    const Address at = ParseAddress("127.0.0.1:5432").value();
    ASSERT_EQ(service_.Listen(listener_, at), 0);
    Service service;
    service.set_name("orders");
    service.mutable_attach()->set_pid(service_.pid());
    services_["orders"] = std::make_unique<RunningService>(service, RunningService::Context{"/", "test", nullptr, nullptr, &events_});
    const absl::Status claimed = services_["orders"]->Claim();
    ASSERT_TRUE(claimed.ok()) << claimed;
    Edge edge;
    edge.set_name("db");
    edge.set_from("orders");
    ASSERT_TRUE(queued_.SetAddresses(edge, {at}).ok());
    Relay::EdgeOptions options;
    options.name = "db";
    options.to = {at};
    options.parse_http = false;
    options.relay_at = LoopbackOf(AF_INET);
    ASSERT_TRUE(relay_.Open(options, own_).ok());
  }

  // The service's socket, and the dependency's.
  std::pair<int, int> Connect() {
    const int fd = service_.Socket(AF_INET, SOCK_STREAM);
    EXPECT_EQ(service_.Connect(fd, ParseAddress("127.0.0.1:5432").value()), 0);
    return {fd, service_.Accept(listener_)};
  }
  bool Passes(std::pair<int, int> connection) {
    return service_.Send(connection.second, "row") == 3 && service_.Receive(connection.first) == "row";
  }
  std::unique_ptr<ActiveFault> Make(const Fault& fault) {
    FaultContext context;
    context.relay = &relay_;
    context.services = &services_;
    context.queued_edges = &queued_;
    context.seed = 1;
    return MakeFault(fault, context);
  }
  static Fault ResetOf() {
    Fault fault;
    fault.mutable_reset()->set_edge("db");
    fault.mutable_reset()->set_existing(true);
    return fault;
  }

  const NetNamespace own_ = *NetNamespace::Own();
  Child service_;
  int listener_ = -1;
  Events events_;
  std::map<std::string, std::unique_ptr<RunningService>> services_;
  Relay relay_ = Relay([](const std::string&, const SeenCall&) {});
  QueuedEdges queued_ = QueuedEdges(&services_, &relay_);
};

TEST_F(DirectFaults, LateResetSparesWhoHasTheSameEndsByThen) {
  const auto [fd, accepted] = Connect();
  Fault fault = ResetOf();
  fault.mutable_reset()->mutable_after()->set_nanos(300'000'000);
  const std::unique_ptr<ActiveFault> active = Make(fault);
  ASSERT_TRUE(active->Inject().ok());
  service_.Close(accepted);
  EXPECT_EQ(service_.Receive(fd), "");
  service_.Close(fd);
  const auto later = Connect();
  absl::SleepFor(absl::Milliseconds(500));
  EXPECT_TRUE(Passes(later));
  EXPECT_EQ(active->Seen().cut(), 0);
  EXPECT_EQ(active->Seen().direct_unreached(), 0);
  EXPECT_TRUE(active->Heal(HealFor::kFaultOver).ok());
}

TEST_F(DirectFaults, ResetAfterBytesOfTheDependency) {
  const auto connection = Connect();
  Fault fault = ResetOf();
  fault.mutable_reset()->set_after_bytes(5);
  const std::unique_ptr<ActiveFault> active = Make(fault);
  ASSERT_TRUE(active->Inject().ok());
  EXPECT_TRUE(Passes(connection));
  absl::SleepFor(absl::Milliseconds(200));
  EXPECT_EQ(active->Seen().cut(), 0);
  EXPECT_TRUE(Passes(connection));
  absl::SleepFor(absl::Milliseconds(500));
  EXPECT_EQ(active->Seen().cut(), 1);
  EXPECT_EQ(service_.Send(connection.first, "x"), -ECONNRESET);
  EXPECT_TRUE(active->Heal(HealFor::kFaultOver).ok());
}

}  // namespace
}  // namespace squall
