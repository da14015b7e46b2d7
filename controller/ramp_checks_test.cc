#include "controller/ramp_checks.h"

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "controller/plan.h"
#include "gmock/gmock.h"
#include "google/protobuf/text_format.h"
#include "gtest/gtest.h"

namespace squall {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

// The mistakes of a fault with this ramp, each in a line of its own for each path.
std::vector<std::string> Mistakes(const std::string& text) {
  Scenario scenario;
  Fault& fault = *scenario.add_faults();
  EXPECT_TRUE(google::protobuf::TextFormat::ParseFromString(text, &fault)) << text;
  Reading reading;
  reading.Place("faults[0].ramp", {1, 1});
  for (const char* field : {"delay", "rate", "percent", "load", "quota", "times", "over"}) {
    if (text.find(absl::StrCat(" ", field, ":"), text.find("ramp")) == std::string::npos &&
        text.find(absl::StrCat(" ", field, " {"), text.find("ramp")) == std::string::npos) {
      continue;
    }
    reading.Place(absl::StrCat("faults[0].ramp.", field), {2, 1});
  }
  CheckRamps(scenario, reading);
  std::vector<std::string> mistakes;
  for (const Mistake& mistake : reading.Mistakes()) mistakes.push_back(mistake.message);
  return mistakes;
}

TEST(CheckRamps, WhatFitsIsRight) {
  for (const char* text : {
           R"(latency { delay { } } for { seconds: 30 } ramp { delay { nanos: 50000000 } delay { seconds: 2 } over { seconds: 30 } })",
           R"(latency { delay { } } for { seconds: 30 } ramp { delay { seconds: 2 } delay { } })",
           R"(bandwidth { rate: 1 } for { seconds: 30 } ramp { rate: 10485760 rate: 65536 })",
           R"(loss { percent: 1 } for { seconds: 30 } ramp { percent: 0 percent: 20 })",
           R"(reorder { percent: 1 } for { seconds: 30 } ramp { percent: 5 percent: 20 })",
           R"(http { } for { seconds: 30 } ramp { percent: 5 percent: 20 })",
           R"(dns { } for { seconds: 30 } ramp { delay { } delay { seconds: 2 } })",
           R"(cpu { load: 10 } for { seconds: 30 } ramp { load: 0 load: 90 })",
           R"(cpu { quota: 10 } for { seconds: 30 } ramp { quota: 100 quota: 10 })",
           R"(surge { times: 2 } for { seconds: 30 } ramp { times: 1 times: 4 })",
           R"(latency { delay { } } for { seconds: 30 })",
       }) {
    EXPECT_THAT(Mistakes(text), IsEmpty()) << text;
  }
}

TEST(CheckRamps, NameOneValueThatTheFaultHas) {
  EXPECT_THAT(Mistakes("kill { } ramp { percent: 1 percent: 2 }"), ElementsAre("nothing in a kill fault can grow or fall; leave out ramp"));
  EXPECT_THAT(Mistakes("latency { } for { seconds: 30 } ramp { over { seconds: 1 } }"),
              ElementsAre("this ramp says nothing of what grows or falls; write for example delay: [50ms, 2s]"));
  EXPECT_THAT(Mistakes("latency { } for { seconds: 30 } ramp { rate: 1 rate: 2 }"),
              ElementsAre("this latency fault has no rate that could grow or fall; write delay, for example delay: [50ms, 2s]"));
  EXPECT_THAT(Mistakes("reorder { } for { seconds: 30 } ramp { percent: 1 percent: 2 delay { } delay { seconds: 1 } }"),
              ElementsAre("a ramp changes one value, and this one names delay and percent; leave out all but one"));
  EXPECT_THAT(Mistakes("cpu { quota: 10 } for { seconds: 30 } ramp { load: 1 load: 2 }"),
              ElementsAre("this cpu fault has no load that could grow or fall; write quota, for example quota: [80%, 10%]"));
}

TEST(CheckRamps, GoFromOneValueToAnother) {
  const std::string loss = "loss { percent: 1 } for { seconds: 30 } ramp {";
  EXPECT_THAT(Mistakes(loss + " percent: 1 }"),
              ElementsAre("a ramp goes from a first value to a last one, and this has 1; write for example percent: [1%, 20%]"));
  EXPECT_THAT(Mistakes(loss + " percent: 1 percent: 2 percent: 3 }"), ElementsAre(HasSubstr("and this has 3; write for example")));
  EXPECT_THAT(Mistakes(loss + " percent: 2 percent: 2 }"),
              ElementsAre("this ramp ends where it begins, at 2%; write two values that differ, or leave out ramp"));
}

TEST(CheckRamps, StayWithinTheBoundsOfTheValueOrDoNothing) {
  EXPECT_THAT(Mistakes("loss { percent: 1 } for { seconds: 30 } ramp { percent: 0.001 percent: 20 }"),
              ElementsAre("\"0.001%\" is too little; write 0.01% to 100%"));
  EXPECT_THAT(Mistakes("bandwidth { rate: 1 } for { seconds: 30 } ramp { rate: 100 rate: 1 }"),
              ElementsAre(HasSubstr("\"1B/s\" is too little; write 64B/s")));
  EXPECT_THAT(Mistakes("cpu { quota: 1 } for { seconds: 30 } ramp { quota: 150 quota: 10 }"),
              ElementsAre("\"150%\" is too much; write 1% to 99%"));
  EXPECT_THAT(Mistakes("surge { times: 2 } for { seconds: 30 } ramp { times: 0.5 times: 4 }"),
              ElementsAre("\"0.5\" is too little; write 1.01 to 1000"));
  EXPECT_THAT(Mistakes("latency { } for { seconds: 30 } ramp { delay { } delay { seconds: 601 } }"),
              ElementsAre("\"10m1s\" is too much; write 0s to 10m"));
}

TEST(CheckRamps, TakeNoLongerThanTheFault) {
  const std::string text = "latency { } for { seconds: 10 } ramp { delay { } delay { seconds: 1 } over ";
  EXPECT_THAT(Mistakes(text + "{ seconds: 10 } }"), IsEmpty());
  EXPECT_THAT(Mistakes(text + "{ seconds: 11 } }"),
              ElementsAre("this ramp takes 11 s and its fault lasts 10 s; write 10s or less, or a longer `for`"));
}

TEST(DescribeFault, TellsOfTheRamp) {
  const auto described = [](const std::string& text) {
    Fault fault;
    EXPECT_TRUE(google::protobuf::TextFormat::ParseFromString(text, &fault)) << text;
    return DescribeFault(fault);
  };
  EXPECT_EQ(described(R"(latency { edge: "recommend" delay { seconds: 9 } share: 100 } for { seconds: 60 }
                         ramp { delay { nanos: 50000000 } delay { seconds: 2 } over { seconds: 30 } })"),
            "50 ms on every response over recommend; delay 50 ms to 2 s over 30 s");
  EXPECT_EQ(described(R"(bandwidth { edge: "recommend" rate: 1 direction: DIRECTION_BOTH } for { seconds: 20 } ramp { rate: 1048576 rate: 65536 })"),
            "1 MiB/s each way over recommend; rate 1 MiB/s to 64 KiB/s over 20 s");
  EXPECT_EQ(described(R"(surge { load: "checkout" times: 9 } for { seconds: 20 } ramp { times: 1 times: 2.5 })"),
            "1 times the load of checkout; times 1 to 2.5 over 20 s");
  EXPECT_THAT(described(R"(loss { edge: "recommend" percent: 9 } for { seconds: 20 } ramp { percent: 1 percent: 20 })"),
              HasSubstr("; percent 1 % to 20 % over 20 s"));
}

}  // namespace
}  // namespace squall
