#include "agent/doctor.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <set>

#include "absl/strings/str_cat.h"
#include "agent/plan_checks.h"

namespace squall {
namespace {

using testing::HasSubstr;

std::vector<Fault::KindCase> Kinds() {
  std::vector<Fault::KindCase> kinds;
  const auto* kind = Fault::descriptor()->FindOneofByName("kind");
  for (int i = 0; i < kind->field_count(); ++i) kinds.push_back(static_cast<Fault::KindCase>(kind->field(i)->number()));
  return kinds;
}

TEST(Doctor, KnowsAWayOfEveryKindOfFault) {
  for (const Fault::KindCase kind : Kinds()) {
    const std::string name = Fault::descriptor()->FindFieldByNumber(kind)->name();
    const std::vector<FaultWay> ways = WaysOf(kind);
    EXPECT_FALSE(ways.empty()) << name;
    for (const FaultWay& way : ways) {
      EXPECT_FALSE(way.through.empty()) << name;
      ASSERT_EQ(way.scenario.faults_size(), 1) << name;
      EXPECT_EQ(way.scenario.faults(0).kind_case(), kind) << name;
    }
  }
}

TEST(Doctor, DiagnosesEveryKindInTheirOrderAndSaysWhatTheHostIsLike) {
  const DiagnoseReply reply = Diagnose();
  const std::vector<Fault::KindCase> kinds = Kinds();
  ASSERT_EQ(static_cast<size_t>(reply.faults_size()), kinds.size());
  for (size_t i = 0; i < kinds.size(); ++i) {
    const Diagnosis& diagnosis = reply.faults(static_cast<int>(i));
    EXPECT_EQ(diagnosis.fault(), Fault::descriptor()->FindFieldByNumber(kinds[i])->name());
    EXPECT_EQ(diagnosis.works() != Diagnosis::NO, !diagnosis.through().empty()) << diagnosis.ShortDebugString();
    EXPECT_EQ(diagnosis.works() != Diagnosis::YES, !diagnosis.why_not().empty()) << diagnosis.ShortDebugString();
    for (const char* placeholder : {"EDGE: ", "SERVICE: "}) {
      EXPECT_THAT(diagnosis.why_not(), testing::Not(HasSubstr(placeholder)));
    }
    printf("%s\n", diagnosis.ShortDebugString().c_str());
  }
  EXPECT_FALSE(reply.host().kernel().empty());
  EXPECT_FALSE(reply.host().cgroups().empty());
  EXPECT_FALSE(reply.host().names().empty());
  printf("%s\n", reply.host().ShortDebugString().c_str());
}

TEST(Doctor, SaysWhatThePlanSays) {
  for (const FaultWay& way : WaysOf(Fault::kLatency)) {
    const absl::StatusOr<PrepareReply> plan = CheckPlan(way.scenario, "/");
    const Diagnosis diagnosis = Conclude(Fault::kLatency, {way}, {plan.status()});
    EXPECT_EQ(diagnosis.works() == Diagnosis::YES, plan.ok()) << way.on;
  }
}

TEST(Doctor, AnAddressForTheRelayIsNoRemedyForWhatTheRelayDoesNotDo) {
  const absl::Status cannot =
      absl::FailedPreconditionError("edge EDGE: redirecting connects needs root; without, write relay_at: \"HOST:PORT\" on the edge");
  const Diagnosis diagnosis = Conclude(Fault::kLoss, {{"services that squall runs", "hooks", {}}}, {cannot});
  EXPECT_EQ(diagnosis.works(), Diagnosis::NO);
  EXPECT_EQ(diagnosis.remedy(), "run the agent as root");
}

TEST(Doctor, APartThatWorksIsToldFromOneThatDoesNot) {
  const std::vector<FaultWay> ways = {{"services that squall runs", "cgroup BPF", {}}, {"edges with relay_at", "a relay", {}}};
  const absl::Status cannot =
      absl::FailedPreconditionError("edge EDGE: redirecting connects is not possible; without, write relay_at: \"HOST:PORT\" on the edge");
  Diagnosis diagnosis = Conclude(Fault::kLatency, ways, {cannot, absl::OkStatus()});
  EXPECT_EQ(diagnosis.works(), Diagnosis::PARTLY);
  EXPECT_EQ(diagnosis.through(), "a relay");
  EXPECT_EQ(diagnosis.why_not(), "services that squall runs: redirecting connects is not possible");
  EXPECT_EQ(diagnosis.remedy(), "without, write relay_at: \"HOST:PORT\" on the edge");
  diagnosis = Conclude(Fault::kLatency, ways, {cannot, cannot});
  EXPECT_EQ(diagnosis.works(), Diagnosis::NO);
  EXPECT_EQ(diagnosis.through(), "");
  EXPECT_EQ(diagnosis.why_not(), "redirecting connects is not possible") << "one reason for all of it";
  diagnosis = Conclude(Fault::kLatency, ways, {absl::OkStatus(), absl::OkStatus()});
  EXPECT_EQ(diagnosis.works(), Diagnosis::YES);
  EXPECT_EQ(diagnosis.through(), "cgroup BPF; a relay");
  EXPECT_EQ(diagnosis.why_not(), "");
}

}  // namespace
}  // namespace squall
