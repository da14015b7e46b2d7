#include "agent/load/trace.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace squall {
namespace {

using ::testing::StartsWith;

TEST(Trace, ParentHoldsPrefixAndNumberAsTheW3CWritesIt) {
  const std::string parent = Traceparent(0x4bf92f3577b34da6, 1234);
  EXPECT_EQ(parent.size(), 55u);
  EXPECT_THAT(parent, StartsWith("00-4bf92f3577b34da600000000000004d2-"));
  EXPECT_EQ(parent.substr(52), "-01");
  EXPECT_EQ(parent.find_first_not_of("0123456789abcdef-"), std::string::npos);
  EXPECT_NE(parent.substr(36, 16), "0000000000000000");
}

TEST(Trace, EveryRequestHasASpanOfItsOwn) {
  EXPECT_NE(Traceparent(5, 0).substr(36, 16), Traceparent(5, 1).substr(36, 16));
  EXPECT_NE(Traceparent(5, 0).substr(36, 16), Traceparent(6, 0).substr(36, 16));
}

TEST(Trace, PrefixFollowsFromRunLoadAndSeedAlone) {
  EXPECT_EQ(TracePrefix("run", "checkout", 7), TracePrefix("run", "checkout", 7));
  EXPECT_NE(TracePrefix("run", "checkout", 7), TracePrefix("run2", "checkout", 7));
  EXPECT_NE(TracePrefix("run", "checkout", 7), TracePrefix("run", "search", 7));
  EXPECT_NE(TracePrefix("run", "checkout", 7), TracePrefix("run", "checkout", 8));
}

}  // namespace
}  // namespace squall
