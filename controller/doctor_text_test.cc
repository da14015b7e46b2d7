#include "controller/doctor_text.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "controller/report/escape.h"

namespace squall {
namespace {

using testing::HasSubstr;
using testing::Not;

DiagnoseReply Sample() {
  DiagnoseReply reply;
  reply.mutable_host()->set_host("shop-1");
  reply.mutable_host()->set_user("uid 1000, not root");
  reply.mutable_host()->set_kernel("Linux 6.1.0-25-amd64 x86_64");
  reply.mutable_host()->set_cgroups("hybrid: v1 with cpu, memory, pids, freezer; v2 at /sys/fs/cgroup/unified without controllers");
  reply.mutable_host()->set_names("name servers are asked, on port 53");
  const auto add = [&](const char* fault, Diagnosis::Works works, const char* through, const char* why_not, const char* remedy) {
    Diagnosis& diagnosis = *reply.add_faults();
    diagnosis.set_fault(fault);
    diagnosis.set_works(works);
    diagnosis.set_through(through);
    diagnosis.set_why_not(why_not);
    diagnosis.set_remedy(remedy);
  };
  add("latency", Diagnosis::PARTLY, "a relay with an address of its own (relay_at)",
      "services that squall runs, services that run already, datagrams: redirecting connects needs root",
      "run the agent as root; or without, write relay_at: \"HOST:PORT\" on the edge");
  add("kill", Diagnosis::YES, "signals", "", "");
  add("loss", Diagnosis::NO, "", "redirecting connects needs root", "run the agent as root");
  return reply;
}

TEST(DoctorText, FitsIntoEveryTerminal) {
  for (int columns = 50; columns <= 240; ++columns) {
    for (const absl::string_view line : absl::StrSplit(DoctorText(Sample(), columns, false), '\n')) {
      EXPECT_LE(DisplayWidth(line), columns) << line;
    }
  }
}

TEST(DoctorText, SaysWhatWorksThroughWhatAndWhatWouldMakeTheRestWork) {
  const std::string text = DoctorText(Sample(), 200, false);
  EXPECT_THAT(text, HasSubstr("✓ kill     yes     signals\n"));
  EXPECT_THAT(text, HasSubstr("~ latency  partly  a relay with an address of its own (relay_at)\n"));
  EXPECT_THAT(text, HasSubstr("✗ loss     no      -\n"));
  EXPECT_THAT(text, HasSubstr("                   why not: redirecting connects needs root\n")) << text;
  EXPECT_THAT(text, HasSubstr("                   → run the agent as root\n"));
  EXPECT_THAT(text, HasSubstr("Of 3 kinds of fault, 1 works, 1 works in part, 1 does not.\n"));
}

TEST(DoctorText, ColoursOnlyWhenAskedAndLetsNoAgentSteerTheTerminal) {
  DiagnoseReply reply = Sample();
  reply.mutable_faults(2)->set_why_not("\x1b[2J");
  EXPECT_THAT(DoctorText(reply, 80, false), Not(HasSubstr("\x1b")));
  EXPECT_THAT(DoctorText(reply, 80, true), HasSubstr("\x1b[32m✓ kill"));
}

TEST(DoctorText, WhatWorksInPartDoesNotAllWork) {
  DiagnoseReply reply;
  reply.add_faults()->set_works(Diagnosis::YES);
  EXPECT_TRUE(AllWorks(reply));
  reply.add_faults()->set_works(Diagnosis::PARTLY);
  EXPECT_FALSE(AllWorks(reply));
}

}  // namespace
}  // namespace squall
