#include "controller/process_faults.h"

#include <string>

#include "gmock/gmock.h"
#include "google/protobuf/text_format.h"
#include "gtest/gtest.h"

namespace squall {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

Fault Of(const std::string& text) {
  Fault fault;
  EXPECT_TRUE(google::protobuf::TextFormat::ParseFromString(text, &fault)) << text;
  return fault;
}

// shop is run by squall, till is attached to; far is on another host.
Scenario Shop() {
  Scenario scenario;
  EXPECT_TRUE(google::protobuf::TextFormat::ParseFromString(R"(
    services { name: "shop" run: "bin/shop" }
    services { name: "till" attach { listen: 8080 } }
    services { name: "far" on: "other" attach { listen: 8080 } }
  )", &scenario));
  return scenario;
}

std::string Fight(const std::string& a, const std::string& b) {
  const std::string one = FightOverProcess(Shop(), Of(a), Of(b));
  EXPECT_EQ(one, FightOverProcess(Shop(), Of(b), Of(a))) << "whichever of them is first";
  return one;
}

TEST(DescribeProcessFault, IsAPhrase) {
  for (const auto& [fault, phrase] : std::vector<std::pair<std::string, std::string>>{
           {R"(kill { service: "shop" signal: "SIGKILL" })", "SIGKILL to shop"},
           {R"(kill { service: "shop" signal: "SIGTERM" grace { seconds: 2 } restart_after { seconds: 4 } })",
            "SIGTERM to shop, SIGKILL 2 s later to what still runs, started again after 4 s"},
           {R"(kill { service: "shop" signal: "SIGKILL" count: 1 })", "SIGKILL to one process of shop, chosen at random"},
           {R"(kill { service: "shop" signal: "SIGKILL" count: 3 supervisor_within { seconds: 10 } })",
            "SIGKILL to 3 processes of shop, chosen at random, back within 10 s by its supervisor"},
           {R"(pause { service: "shop" every { seconds: 1 } })", "shop is stopped"},
           {R"(pause { service: "shop" each { nanos: 200000000 } every { seconds: 2 } })",
            "shop is stopped for 200 ms at a time, 2 s apart on average"},
           {R"(cpu { service: "shop" quota: 20 })", "shop gets 20 % of the processor time that it may use"},
           {R"(cpu { service: "shop" load: 75 cores: 2 })", "75 % of each of 2 cores that shop may run on kept busy"},
           {R"(memory { service: "shop" limit: 268435456 })", "at most 256 MiB for shop"},
           {R"(memory { service: "shop" leave: 1073741824 })", "the memory of the host of shop is taken until 1 GiB are left"},
           {R"(disk { service: "shop" path: "/srv/data" })", "the filesystem of /srv/data is filled until nothing is left"},
           {R"(disk { service: "shop" path: "/srv/data" leave: 1048576 })", "the filesystem of /srv/data is filled until 1 MiB are left"},
           {R"(fds { service: "shop" })", "shop may open no more descriptors"},
           {R"(fds { service: "shop" leave: 1 })", "shop may open 1 more descriptor"},
           {R"(pids { service: "shop" leave: 5 })", "shop may start 5 more processes or threads"},
       }) {
    EXPECT_EQ(DescribeProcessFault(Of(fault)), phrase);
  }
}

TEST(ProcessMechanism, IsOfTheServiceOrOfItsHost) {
  EXPECT_THAT(ProcessMechanism(Shop(), Of(R"(pause { service: "shop" })")).scope, HasSubstr("process: all processes of shop, no other"));
  EXPECT_THAT(ProcessMechanism(Shop(), Of(R"(fds { service: "shop" })")).scope, HasSubstr("process: each process of shop, no other"));
  EXPECT_THAT(ProcessMechanism(Shop(), Of(R"(memory { service: "shop" leave: 1 })")).scope, HasSubstr("host: "));
  EXPECT_THAT(ProcessMechanism(Shop(), Of(R"(memory { service: "shop" limit: 1 })")).scope, HasSubstr("process: "));
  EXPECT_THAT(ProcessMechanism(Shop(), Of(R"(disk { service: "shop" path: "/srv" })")).scope, HasSubstr("host: all that write"));
}

// A cgroup of squall's own goes with the service in it; one that was there is put back.
TEST(ProcessMechanism, SaysWhoUndoesALimitWhenTheAgentDies) {
  for (const char* kind : {"memory { limit: 1 ", "pids { ", "cpu { quota: 20 "}) {
    const auto on = [&](const char* service) { return ProcessMechanism(Shop(), Of(std::string(kind) + "service: \"" + service + "\" }")); };
    EXPECT_THAT(on("shop").through, HasSubstr("in a cgroup of the service's own"));
    EXPECT_THAT(on("shop").undone_by, HasSubstr("the cgroup goes with the service, which dies with the agent"));
    EXPECT_THAT(on("till").through, HasSubstr("in the service's cgroup where it is alone there"));
    EXPECT_THAT(on("till").undone_by, HasSubstr("the guardian does it when the agent dies"));
  }
}

TEST(ProcessMechanism, OfAKillSaysWhoStartsTheServiceAgain) {
  const auto undone_by = [](const std::string& more) {
    return ProcessMechanism(Shop(), Of(R"(kill { service: "shop" signal: "SIGKILL" )" + more + "}")).undone_by;
  };
  EXPECT_EQ(undone_by(""), "nothing to undo: squall leaves it dead");
  EXPECT_EQ(undone_by("count: 1"), "nothing to undo: squall starts none of them again");
  EXPECT_EQ(undone_by("restart_after { seconds: 4 }"), "started again after 4 s");
  EXPECT_THAT(undone_by("count: 1 supervisor_within { seconds: 10 }"), HasSubstr("its own supervisor; squall waits for up to 10 s"));
}

TEST(IsHostFault, IsWhatAllOnTheHostFeel) {
  for (const char* fault : {"cpu { load: 75 }", "memory { leave: 1 }", "disk { path: \"/srv\" }"}) EXPECT_TRUE(IsHostFault(Of(fault))) << fault;
  for (const char* fault : {"cpu { quota: 20 }", "memory { limit: 1 }", "fds { }", "pids { }", "pause { }", "kill { }", "surge { }", ""}) {
    EXPECT_FALSE(IsHostFault(Of(fault))) << fault;
  }
}

TEST(FightOverProcess, IsWhereTheSameIsSetTwice) {
  EXPECT_EQ(Fight(R"(pause { service: "shop" })", R"(pause { service: "shop" each { seconds: 1 } })"),
            "stop shop at the same time, and the first to end lets it go on");
  EXPECT_EQ(Fight(R"(memory { service: "shop" limit: 1 })", R"(memory { service: "shop" limit: 2 })"), "limit the memory of shop at the same time");
  EXPECT_EQ(Fight(R"(fds { service: "shop" })", R"(fds { service: "shop" leave: 2 })"), "limit the descriptors of shop at the same time");
  EXPECT_EQ(Fight(R"(pids { service: "shop" })", R"(pids { service: "shop" leave: 2 })"), "limit the tasks of shop at the same time");
  EXPECT_EQ(Fight(R"(cpu { service: "shop" quota: 20 })", R"(cpu { service: "shop" quota: 30 })"), "set the quota of shop at the same time");
  EXPECT_EQ(Fight(R"(disk { service: "shop" path: "/srv" })", R"(disk { service: "till" path: "/srv" })"),
            "fill the filesystem of /srv at the same time");
}

TEST(FightOverProcess, IsNotWhereServicesHostsOrThingsDiffer) {
  for (const char* fault : {"pause { service: \"%\" }", "memory { service: \"%\" limit: 1 }", "fds { service: \"%\" }", "pids { service: \"%\" }"}) {
    const auto on = [&](const char* service) {
      std::string text = fault;
      return text.replace(text.find('%'), 1, service);
    };
    EXPECT_THAT(Fight(on("shop"), on("shop")), Not(IsEmpty())) << fault;
    EXPECT_THAT(Fight(on("shop"), on("till")), IsEmpty()) << fault;
    EXPECT_THAT(Fight(on("shop"), R"(cpu { service: "shop" quota: 20 })"), IsEmpty()) << fault;
  }
  EXPECT_THAT(Fight(R"(memory { service: "shop" leave: 1 })", R"(memory { service: "till" leave: 2 })"), HasSubstr("of one host"));
  EXPECT_THAT(Fight(R"(memory { service: "shop" leave: 1 })", R"(memory { service: "far" leave: 2 })"), IsEmpty());
  EXPECT_THAT(Fight(R"(memory { service: "shop" leave: 1 })", R"(memory { service: "shop" limit: 2 })"), IsEmpty());
  EXPECT_THAT(Fight(R"(cpu { service: "shop" quota: 20 })", R"(cpu { service: "shop" load: 30 })"), IsEmpty());
  EXPECT_THAT(Fight(R"(surge { load: "a" times: 2 })", R"(surge { load: "a" times: 3 })"), IsEmpty());
}

// A long garbage collection may well be killed between two stops.
TEST(FightOverProcess, IsWhereSomethingIsKilledThatIsStoppedForAllTheTime) {
  EXPECT_THAT(Fight(R"(kill { service: "shop" })", R"(pause { service: "shop" })"), HasSubstr("one of them has it stopped"));
  EXPECT_THAT(Fight(R"(kill { service: "shop" })", R"(pause { service: "shop" each { seconds: 1 } })"), IsEmpty());
  EXPECT_THAT(Fight(R"(kill { service: "shop" })", R"(pause { service: "till" })"), IsEmpty());
}

TEST(LeavesDead, IsAKillOfAllAfterWhichNobodyStartsItAgain) {
  EXPECT_TRUE(LeavesDead(Of("kill { }")));
  EXPECT_FALSE(LeavesDead(Of("kill { restart_after { } }")));
  EXPECT_FALSE(LeavesDead(Of("kill { supervisor_within { seconds: 1 } }")));
  EXPECT_FALSE(LeavesDead(Of("kill { count: 1 }")));
  EXPECT_FALSE(LeavesDead(Of("pause { }")));
}

}  // namespace
}  // namespace squall
