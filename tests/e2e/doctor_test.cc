// What works on a host, and whether it is as it was.
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "google/protobuf/util/json_util.h"
#include "proto/agent.pb.h"
#include "proto/verdict.pb.h"
#include "tests/e2e/harness.h"

namespace squall {
namespace {

template <typename Message>
Message FromJson(const std::string& json) {
  Message message;
  EXPECT_TRUE(google::protobuf::util::JsonStringToMessage(json, &message).ok()) << json;
  return message;
}

TEST(DoctorTest, SaysOfEveryFaultWhetherItWorksAndLeavesNothing) {
  const std::vector<std::string> before = Residue();
  const Checkout checkout;
  Process doctor({checkout.squall(), "doctor", "--json"});
  const int code = doctor.Wait(absl::Seconds(30));
  const auto reply = FromJson<DiagnoseReply>(doctor.Output());
  EXPECT_EQ(reply.faults_size(), Fault::descriptor()->FindOneofByName("kind")->field_count());
  bool all = true;
  for (const Diagnosis& fault : reply.faults()) all &= fault.works() == Diagnosis::YES;
  EXPECT_EQ(code, all ? 0 : 2);
  EXPECT_EQ(ResidueSince(before), std::vector<std::string>());

  Process text({checkout.squall(), "doctor"});
  EXPECT_EQ(text.Wait(absl::Seconds(30)), code);
  for (const absl::string_view line : absl::StrSplit(text.Output(), '\n')) {
    if (!absl::StrContains(line, "/")) EXPECT_LE(line.size(), 90u) << line;  // marks are three bytes each
  }
}

TEST(DoctorTest, AsAnOrdinaryUserSaysWhatRootWouldAdd) {
  const Checkout checkout;
  Process::Options options;
  options.user = checkout.ForOrdinaryUser();
  Process doctor({checkout.squall(), "doctor", "--json"}, options);
  EXPECT_EQ(doctor.Wait(absl::Seconds(30)), 2);
  const auto reply = FromJson<DiagnoseReply>(doctor.Output());
  for (const Diagnosis& fault : reply.faults()) {
    if (fault.fault() == "latency") EXPECT_EQ(fault.works(), Diagnosis::PARTLY) << "relay_at needs no root";
    if (fault.fault() == "loss") {
      EXPECT_EQ(fault.works(), Diagnosis::NO);
      EXPECT_EQ(fault.remedy(), "run the agent as root");
    }
  }
}

TEST(DoctorTest, WithNobodyToAskIsAFailureOfTheHarness) {
  const Checkout checkout;
  Process unknown({checkout.squall(), "doctor", "--agent=nobody"});
  EXPECT_EQ(unknown.Wait(absl::Seconds(30)), 3);
  EXPECT_TRUE(absl::StrContains(unknown.Output(), "agent nobody is not known here; list it in agents.yaml")) << unknown.Output();
}

class DigestTest : public testing::Test {
 protected:
  // A short run of a service that does `before` first, and what stands in its verdicts.
  RunResult Run(const std::string& before) {
    const std::string script = checkout_.Write("shop.sh", absl::StrCat(before, "\nexec ", checkout_.target("recommend"), " --port=", port_, "\n"));
    const std::string path = checkout_.Write("digest.yaml", absl::StrCat(R"(squall: 1
name: digest
services:
  shop:
    run: [sh, ")", script, R"("]
    ready: {tcp: "127.0.0.1:)", port_, R"("}
load:
  ask:
    http: {url: "http://127.0.0.1:)", port_, R"(/"}
    rate: 100/s
faults:
  - cpu: {service: shop, load: 10%, cores: 1}
    for: 300ms
assert:
  - recovery: {within: 1s}
)"));
    Process run(checkout_.Run({path}));
    exit_code_ = run.Wait(absl::Seconds(60));
    output_ = run.Output();
    return FromJson<RunResult>(ReadFile(checkout_.OnlyRun() + "/verdicts.json"));
  }

  const Checkout checkout_;
  const int port_ = FreePort();
  int exit_code_ = -1;
  std::string output_;
};

TEST_F(DigestTest, EveryReportSaysThatTheHostIsAsBefore) {
  const RunResult result = Run("");
  ASSERT_EQ(result.digested_hosts_size(), 1) << output_;
  EXPECT_GT(result.digested_hosts(0).compared().at("processes"), 1);
  EXPECT_TRUE(absl::StrContains(output_, "host as before: ")) << output_;
  for (const HostChange& change : result.host_changes()) EXPECT_FALSE(change.by_squall()) << change.ShortDebugString();
  EXPECT_TRUE(absl::StrContains(ReadFile(checkout_.OnlyRun() + "/report.html"), "host as before: "));
}

TEST_F(DigestTest, WhatSquallLeavesIsExitCodeFiveWithTheCommandThatRemovesIt) {
  // The service leaves behind what looks like the agent's own: the agent is its parent.
  if (!IsRoot()) GTEST_SKIP() << "LEFT OUT: in /dev/shm as another user";
  const std::string left = "/dev/shm/squall-left-$PPID-$(sed 's/.*) //' /proc/$PPID/stat | cut -d' ' -f20)";
  const RunResult result = Run(absl::StrCat("touch ", left));
  EXPECT_EQ(exit_code_, 5) << output_;
  ASSERT_GE(result.host_changes_size(), 1) << output_;
  const HostChange& change = result.host_changes(0);
  EXPECT_TRUE(change.by_squall());
  EXPECT_EQ(change.command(), absl::StrCat("rm ", change.name()));
  EXPECT_TRUE(absl::StrContains(output_, "host NOT as before, 1 change of squall's")) << output_;
  unlink(change.name().c_str());
}

}  // namespace
}  // namespace squall
