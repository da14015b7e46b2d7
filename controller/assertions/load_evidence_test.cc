#include "controller/assertions/load_evidence.h"

#include "gmock/gmock.h"
#include "google/protobuf/text_format.h"
#include "gtest/gtest.h"

namespace squall {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;

template <typename Message>
Message Of(const std::string& text) {
  Message message;
  EXPECT_TRUE(google::protobuf::TextFormat::ParseFromString(text, &message)) << text;
  return message;
}

std::string Gate(const Fault& fault, const std::string& evidence) {
  const std::optional<Obstacle> obstacle = LoadGate(fault, Of<Evidence>(evidence));
  return obstacle ? obstacle->reason : "";
}

TEST(AbandonEvidence, IsThatSomebodyHungUp) {
  const Fault abandon = Of<Fault>(R"(name: "rude" abandon { load: "checkout" share: 30 patience { nanos: 50000000 } } for { seconds: 5 })");
  EXPECT_EQ(LoadSeen(abandon, Of<Evidence>("requests: 4000 abandoned: 1200")), "1,200 of 4,000 requests hung up after 50 ms (30 % asked)");
  // What is answered earlier is answered.
  EXPECT_THAT(Gate(abandon, "requests: 4000 abandoned: 1"), IsEmpty());
  EXPECT_THAT(Gate(abandon, "requests: 4000"), HasSubstr("of 4,000 requests of load checkout none waited longer than 50 ms"));
  EXPECT_THAT(Gate(abandon, ""), HasSubstr("no request of load checkout was sent"));
}

TEST(SurgeEvidence, IsNineTenthsOfWhatWasAskedAtTheLeast) {
  const Fault surge = Of<Fault>(R"(name: "rush" surge { load: "checkout" times: 3 } for { seconds: 5 })");
  const std::string asked = "base_rate: 200 requested_requests_rate: 600 ";
  EXPECT_EQ(LoadSeen(surge, Of<Evidence>(asked + "achieved_requests_rate: 598")), "3.0 times the load: 598/s sent of 600/s asked, 200/s without it");
  EXPECT_THAT(Gate(surge, asked + "achieved_requests_rate: 540"), IsEmpty());
  EXPECT_THAT(Gate(surge, asked + "achieved_requests_rate: 539"), HasSubstr("539/s of 600/s were sent"));
  EXPECT_THAT(Gate(surge, ""), HasSubstr("rested while it acted"));
  EXPECT_EQ(LoadSeen(surge, Evidence()), "the load rested");
}

// A count of a few is exact to a request or two, whatever share that is.
TEST(SurgeEvidence, OfAFewRequestsMayMissThree) {
  const Fault surge = Of<Fault>(R"(name: "rush" surge { load: "checkout" times: 3 } for { nanos: 500000000 })");
  EXPECT_THAT(Gate(surge, "base_rate: 10 requested_requests_rate: 30 achieved_requests_rate: 24"), IsEmpty());
  EXPECT_THAT(Gate(surge, "base_rate: 10 requested_requests_rate: 30 achieved_requests_rate: 23"), HasSubstr("23/s of 30/s"));
  EXPECT_THAT(Gate(surge, "base_rate: 2 requested_requests_rate: 6"), HasSubstr("0/s of 6/s")) << "nothing at all";
}

}  // namespace
}  // namespace squall
