#include "base/ramp.h"

#include <gmock/gmock.h>
#include <google/protobuf/text_format.h>
#include <google/protobuf/util/message_differencer.h>
#include <gtest/gtest.h>

#include <string>

#include "base/durations.h"

namespace squall {
namespace {

Fault Of(const std::string& text) {
  Fault fault;
  EXPECT_TRUE(google::protobuf::TextFormat::ParseFromString(text, &fault)) << text;
  return fault;
}

absl::Duration DelayAt(const Fault& fault, double seconds) {
  return ToDuration(RampedAt(fault, absl::Seconds(seconds)).latency().delay());
}

TEST(RampedAt, GoesFromTheFirstValueToTheLastAndHolds) {
  const Fault fault = Of(R"(latency { edge: "e" delay { nanos: 5 } jitter { nanos: 7 } } for { seconds: 60 }
                            ramp { delay { nanos: 50000000 } delay { seconds: 2 } over { seconds: 30 } })");
  EXPECT_EQ(DelayAt(fault, -1), absl::Milliseconds(50));
  EXPECT_EQ(DelayAt(fault, 0), absl::Milliseconds(50));
  EXPECT_EQ(DelayAt(fault, 15), absl::Milliseconds(1025));
  EXPECT_EQ(DelayAt(fault, 30), absl::Seconds(2));
  EXPECT_EQ(DelayAt(fault, 60), absl::Seconds(2));
  absl::Duration before = absl::Milliseconds(50);
  for (int step = 1; step <= 120; ++step) {
    const absl::Duration now = DelayAt(fault, 0.25 * step);
    EXPECT_NEAR(absl::ToDoubleNanoseconds(now - before), 16'250'000, 2) << step;
    before = now;
  }
  EXPECT_EQ(RampedAt(fault, absl::Seconds(9)).latency().jitter().nanos(), 7) << "nothing else changes";
}

TEST(RampedAt, FallsTooAndTakesTheWholeFaultWhereNothingElseIsSaid) {
  const Fault fault = Of(R"(bandwidth { edge: "e" rate: 1 } for { seconds: 10 } ramp { rate: 1000 rate: 500 })");
  EXPECT_EQ(RampLength(fault), absl::Seconds(10));
  EXPECT_EQ(RampedAt(fault, absl::ZeroDuration()).bandwidth().rate(), 1000);
  EXPECT_EQ(RampedAt(fault, absl::Seconds(5)).bandwidth().rate(), 750);
  EXPECT_EQ(RampedAt(fault, absl::Seconds(10)).bandwidth().rate(), 500);
}

TEST(RampedAt, ChangesWhateverTheRampNames) {
  const auto half = [](const std::string& text) { return RampedAt(Of(text + " for { seconds: 10 }"), absl::Seconds(5)); };
  EXPECT_EQ(half("loss { percent: 1 } ramp { percent: 10 percent: 20 }").loss().percent(), 15);
  EXPECT_EQ(half("reorder { percent: 1 } ramp { percent: 10 percent: 20 }").reorder().percent(), 15);
  EXPECT_EQ(half("surge { times: 3 } ramp { times: 1 times: 4 }").surge().times(), 2.5);
  EXPECT_EQ(half("cpu { load: 3 } ramp { load: 10 load: 90 }").cpu().load(), 50);
  EXPECT_EQ(half("cpu { quota: 3 } ramp { quota: 80 quota: 10 }").cpu().quota(), 45);
  EXPECT_EQ(half("dns { } ramp { delay { } delay { seconds: 2 } }").dns().delay().seconds(), 1);
}

TEST(RampedAt, LeavesAloneWhatItDoesNotFit) {
  for (const char* text : {
           R"(latency { delay { seconds: 1 } } for { seconds: 10 })",
           R"(latency { delay { seconds: 1 } } ramp { } for { seconds: 10 })",
           R"(latency { delay { seconds: 1 } } ramp { rate: 1 rate: 2 })",
           R"(latency { delay { seconds: 1 } } ramp { delay { seconds: 2 } })",
           R"(latency { delay { seconds: 1 } } ramp { delay { seconds: 2 } delay { seconds: 3 } delay { seconds: 4 } })",
           R"(latency { delay { seconds: 1 } } ramp { delay { seconds: 2 } delay { seconds: 3 } percent: 1 percent: 2 })",
           R"(cpu { quota: 10 } ramp { load: 1 load: 2 })",
           R"(kill { } ramp { percent: 1 percent: 2 })",
           R"(ramp { percent: 1 percent: 2 })",
       }) {
    const Fault fault = Of(text);
    EXPECT_EQ(RampedFieldOf(fault).kind, nullptr) << text;
    EXPECT_TRUE(google::protobuf::util::MessageDifferencer::Equals(RampedAt(fault, absl::Seconds(5)), fault)) << text;
  }
}

TEST(RampedAt, WithoutALengthIsAtTheLast) {
  EXPECT_EQ(DelayAt(Of("latency { } ramp { delay { seconds: 2 } delay { seconds: 3 } }"), 0), absl::Seconds(3));
}

}  // namespace
}  // namespace squall
