#include "controller/load_faults.h"

#include "gmock/gmock.h"
#include "google/protobuf/text_format.h"
#include "gtest/gtest.h"

namespace squall {
namespace {

using ::testing::HasSubstr;

template <typename Message>
Message Of(const std::string& text) {
  Message message;
  EXPECT_TRUE(google::protobuf::TextFormat::ParseFromString(text, &message)) << text;
  return message;
}

TEST(DescribeLoadFault, IsAPhrase) {
  EXPECT_EQ(DescribeLoadFault(Of<Fault>(R"(abandon { load: "checkout" share: 100 patience { nanos: 50000000 } })")),
            "clients of checkout hang up after 50 ms");
  EXPECT_EQ(DescribeLoadFault(Of<Fault>(R"(abandon { load: "checkout" share: 10 patience { seconds: 1 } })")),
            "10 % of the clients of checkout hang up after 1 s");
  EXPECT_EQ(DescribeLoadFault(Of<Fault>(R"(surge { load: "checkout" times: 2.5 })")), "2.5 times the load of checkout");
}

TEST(LoadMechanism, IsOfThatLoad) {
  for (const char* fault : {R"(abandon { load: "checkout" })", R"(surge { load: "checkout" })"}) {
    EXPECT_THAT(LoadMechanism(Of<Fault>(fault)).scope, HasSubstr("load: requests of checkout, of no other load"));
    EXPECT_THAT(LoadMechanism(Of<Fault>(fault)).undone_by, HasSubstr("the load generator dies with the agent"));
  }
}

TEST(MostOffered, IsTheHighestStepAndOfAPlanForALimiterTheLast) {
  EXPECT_EQ(MostOffered(Of<Load>("rate: 200")), 200);
  EXPECT_EQ(MostOffered(Of<Load>("steps { rate: 100 } steps { rate: 700 } steps { rate: 300 }")), 700);
  EXPECT_EQ(MostOffered(Of<Load>("rate: 50 steps { rate: 50 } steps { rate: 2000 } steps { rate: 40 }")), 40);
}

}  // namespace
}  // namespace squall
