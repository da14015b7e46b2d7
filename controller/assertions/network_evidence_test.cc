#include "controller/assertions/network_evidence.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>

#include "controller/network_faults.h"

namespace squall {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using google::protobuf::FieldDescriptor;

// A fault of every kind that acts on an edge, its evidence once it acted on one thing, and what the report says then.
struct Case {
  std::function<void(Evidence&)> acts;
  std::string seen;
};
const std::map<std::string, Case>& Cases() {
  static const auto* const cases = new std::map<std::string, Case>{
      {"latency", {[](Evidence& evidence) { evidence.set_connections(1); }, "1 connection held back"}},
      {"bandwidth", {[](Evidence& evidence) { evidence.set_connections(1), evidence.set_bytes(2048); }, "2 KiB on 1 connection held back"}},
      {"stall", {[](Evidence& evidence) { evidence.set_connections(1); }, "1 connection stalled"}},
      {"slice", {[](Evidence& evidence) { evidence.set_connections(1), evidence.set_pieces(7); }, "7 pieces on 1 connection"}},
      {"limit_data", {[](Evidence& evidence) { evidence.set_cut(1); }, "1 connection closed"}},
      {"reset", {[](Evidence& evidence) { evidence.set_cut(1); }, "1 connection reset"}},
      {"refuse", {[](Evidence& evidence) { evidence.set_refused(1); }, "1 connect refused"}},
      {"blackhole",
       {[](Evidence& evidence) { evidence.set_packets_to_dependency(1), evidence.set_hit_to_dependency(1); },
        "1 of 1 packet dropped (1 to the dependency, 0 to the service)"}},
      {"partition",
       {[](Evidence& evidence) { evidence.set_packets_to_service(2), evidence.set_hit_to_service(1); },
        "1 of 2 packets dropped (0 to the dependency, 1 to the service)"}},
      {"loss",
       {[](Evidence& evidence) {
          evidence.set_packets_to_dependency(100), evidence.set_hit_to_dependency(1);
          evidence.set_requested_percent(2), evidence.set_achieved_percent(1);
        },
        "1 of 100 packets lost (1 to the dependency, 0 to the service); 1 % of 2 % asked"}},
      {"duplicate", {[](Evidence& evidence) { evidence.set_packets_to_dependency(9), evidence.set_hit_to_dependency(1); }, "1 of 9 packets doubled"}},
      {"reorder", {[](Evidence& evidence) { evidence.set_packets_to_dependency(9), evidence.set_hit_to_dependency(1); }, "1 of 9 packets held back"}},
      {"corrupt", {[](Evidence& evidence) { evidence.set_packets_to_dependency(9), evidence.set_hit_to_dependency(1); }, "1 of 9 packets damaged"}},
      {"http",
       {[](Evidence& evidence) { evidence.set_calls(1), evidence.set_requested_percent(50), evidence.set_achieved_percent(25); },
        "1 call hit; 25 % of 50 % asked"}},
      {"grpc", {[](Evidence& evidence) { evidence.set_calls(3); }, "3 calls hit"}},
      {"tls", {[](Evidence& evidence) { evidence.set_connections(1), (*evidence.mutable_handshakes())["alert"] = 1; }, "1 handshake spoiled: 1 alert"}},
  };
  return *cases;
}

TEST(NetworkEvidence, OfEveryKindOpensTheGateOnceTheFaultActedAndNotBefore) {
  size_t kinds = 0;
  const auto* oneof = Fault::descriptor()->FindOneofByName("kind");
  for (int i = 0; i < oneof->field_count(); ++i) {
    const FieldDescriptor* field = oneof->field(i);
    Fault fault;
    fault.set_name("bad");
    google::protobuf::Message* message = fault.GetReflection()->MutableMessage(&fault, field);
    if (GroupOf(fault) != FaultGroup::kNetwork) continue;
    message->GetReflection()->SetString(message, message->GetDescriptor()->FindFieldByName("edge"), "recommend");
    SCOPED_TRACE(field->name());
    const auto found = Cases().find(field->name());
    ASSERT_NE(found, Cases().end()) << "a kind of fault without a case here";
    ++kinds;

    Evidence evidence;
    EXPECT_THAT(NetworkSeen(fault, evidence), HasSubstr("touched no traffic"));
    const std::optional<Obstacle> obstacle = NetworkGate(fault, evidence);
    ASSERT_TRUE(obstacle.has_value());
    EXPECT_THAT(obstacle->reason, AllOf(HasSubstr("fault bad touched no traffic: "), HasSubstr("edge recommend")));

    found->second.acts(evidence);
    EXPECT_THAT(NetworkSeen(fault, evidence), HasSubstr(found->second.seen));
    EXPECT_FALSE(NetworkGate(fault, evidence).has_value());
  }
  EXPECT_EQ(kinds, Cases().size());
}

// Packets that were seen and let through, or handshakes that it did not spoil, are not what it was to do.
TEST(NetworkEvidence, OfTrafficThatWasOnlySeenKeepsTheGateClosed) {
  Fault fault;
  fault.set_name("bad");
  Evidence evidence;
  evidence.set_packets_to_dependency(1000);
  evidence.set_packets_to_service(1000);
  for (const auto& set : std::vector<std::function<void()>>{[&] { fault.mutable_loss()->set_edge("recommend"); },
                                                            [&] { fault.mutable_partition()->set_edge("recommend"); },
                                                            [&] { fault.mutable_reorder()->set_edge("recommend"); }}) {
    set();
    EXPECT_TRUE(NetworkGate(fault, evidence).has_value()) << fault.DebugString();
  }
  fault.mutable_tls()->set_edge("recommend");
  evidence.Clear();
  (*evidence.mutable_handshakes())["no TLS"] = 4;
  EXPECT_THAT(NetworkGate(fault, evidence).value().reason, HasSubstr("spoiled no handshake"));
}

TEST(NetworkEvidence, OfAPartitionThatOnlyResetOrRefusedOpensTheGate) {
  Fault fault;
  fault.mutable_partition()->set_isolate("orders");
  Evidence evidence;
  EXPECT_THAT(NetworkGate(fault, evidence).value().reason, HasSubstr("service orders"));
  evidence.set_cut(1);
  EXPECT_FALSE(NetworkGate(fault, evidence).has_value());
  EXPECT_EQ(NetworkSeen(fault, evidence), "1 connection reset");
  evidence.Clear();
  evidence.set_refused(1);
  EXPECT_FALSE(NetworkGate(fault, evidence).has_value());
}

TEST(NetworkEvidence, SaysWhatTheKernelCountedForOthersToo) {
  Fault fault;
  fault.mutable_refuse()->set_edge("recommend");
  Evidence evidence;
  evidence.set_refused(12);
  evidence.set_refused_of_all(true);
  EXPECT_EQ(NetworkSeen(fault, evidence), "up to 12 connects refused (of all processes of the network namespace)");
}

TEST(NetworkEvidence, SaysWhichConnectionsItDidNotReach) {
  Fault fault;
  fault.mutable_stall()->set_edge("recommend");
  Evidence evidence;
  evidence.set_direct_unreached(2);
  EXPECT_EQ(NetworkSeen(fault, evidence), "touched no traffic; did not reach 2 connections from before the run");
  EXPECT_THAT(NetworkGate(fault, evidence).value().reason, HasSubstr("but on 2 connections from before the run"));
}

}  // namespace
}  // namespace squall
