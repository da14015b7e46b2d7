// dns against a real resolver. What the resolver makes of each answer is tested beside it.
#include <gtest/gtest.h>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "agent/faults/fault.h"

#include "agent/net/dns_client.h"  // last: it includes ldns

namespace squall {
namespace {

class DnsTest : public ::testing::Test {
 protected:
  DnsTest() {
    // Nothing listens where it forwards to: what is not answered by the fault is not answered.
    at_ = ParseAddress("127.0.0.1:1").value();
    const Fd taken(socket(AF_INET, SOCK_STREAM, 0));
    sockaddr_storage storage;
    socklen_t length = at_.ToSockaddr(storage);
    reinterpret_cast<sockaddr_in&>(storage).sin_port = 0;
    EXPECT_EQ(bind(taken.get(), reinterpret_cast<sockaddr*>(&storage), length), 0);
    getsockname(taken.get(), reinterpret_cast<sockaddr*>(&storage), &length);
    at_ = FromSockaddr(storage);
  }
  void SetUp() override {
    resolvers_["orders"] = Resolver::Open(own_, {at_, ParseAddress("127.0.0.1:1").value(), nullptr}).value();
  }
  std::unique_ptr<ActiveFault> Make(const std::string& service, const std::string& address = "192.0.2.1") {
    Fault fault;
    fault.set_name("wrong");
    fault.mutable_dns()->set_service(service);
    fault.mutable_dns()->add_names("recommend.test");
    fault.mutable_dns()->set_answer(Dns::ANSWER_WRONG_ADDRESS);
    fault.mutable_dns()->add_addresses(address);
    FaultContext context;
    context.resolvers = &resolvers_;
    return MakeFault(fault, context);
  }
  std::string Ask() { return Told(DnsClient(at_, /*tcp=*/false).Ask(MakeQuery("recommend.test"), 100)); }

  const NetNamespace own_ = *NetNamespace::Own();
  Address at_;
  std::map<std::string, std::unique_ptr<Resolver>> resolvers_;
};

TEST_F(DnsTest, InjectedAnswersAndCounts) {
  const auto fault = Make("orders");
  ASSERT_TRUE(fault->Inject().ok());
  EXPECT_EQ(Ask(), "NOERROR 192.0.2.1");
  EXPECT_EQ(fault->Seen().answered().at("recommend.test A"), 1);
}

TEST_F(DnsTest, HealingTwiceIsSafe) {
  const auto fault = Make("orders");
  ASSERT_TRUE(fault->Inject().ok());
  EXPECT_TRUE(fault->Heal(HealFor::kFaultOver).ok());
  EXPECT_TRUE(fault->Heal(HealFor::kRunOver).ok());
  EXPECT_EQ(Ask(), "nothing");
}

TEST_F(DnsTest, InjectionThatFailsLeavesNothing) {
  const auto wrong = Make("orders", "nowhere");
  EXPECT_EQ(wrong->Inject().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_TRUE(wrong->Heal(HealFor::kFaultOver).ok());
  EXPECT_TRUE(wrong->Seen().answered().empty());
  const auto stranger = Make("basket");
  const absl::Status status = stranger->Inject();
  EXPECT_TRUE(absl::StrContains(status.message(), "queries of service basket are not redirected")) << status;
  EXPECT_TRUE(stranger->Heal(HealFor::kFaultOver).ok());
  EXPECT_EQ(Ask(), "nothing");
}

}  // namespace
}  // namespace squall
