// What has to be known of every kind of fault, those of tomorrow too: it is described, and it is not believed without evidence.

#include <string>
#include <vector>

#include "absl/strings/str_split.h"
#include "controller/assertions/gates.h"
#include "controller/assertions/judge.h"
#include "controller/assertions/timeline_builder.h"
#include "controller/fault_group.h"
#include "controller/plan.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace squall {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using google::protobuf::FieldDescriptor;

// One of each kind, on what TimelineBuilder has; of a choice each of its sides.
std::vector<Fault> OneOfEach() {
  std::vector<Fault> faults;
  const auto* kinds = Fault::descriptor()->FindOneofByName("kind");
  for (int i = 0; i < kinds->field_count(); ++i) {
    Fault fault;
    fault.set_name("bad");
    if (kinds->field(i)->number() != Fault::kKillFieldNumber) fault.mutable_for_()->set_seconds(10);
    google::protobuf::Message* kind = fault.GetReflection()->MutableMessage(&fault, kinds->field(i));
    const auto name = [&](const char* field, const char* value) {
      const FieldDescriptor* found = kind->GetDescriptor()->FindFieldByName(field);
      if (found != nullptr && found->cpp_type() == FieldDescriptor::CPPTYPE_STRING) kind->GetReflection()->SetString(kind, found, value);
    };
    name("edge", "recommend");
    name("service", "recommend");
    name("load", "checkout");
    const auto* type = kind->GetDescriptor();
    if (type->real_oneof_decl_count() == 0) faults.push_back(fault);
    for (int o = 0; o < type->real_oneof_decl_count(); ++o) {
      for (int f = 0; f < type->oneof_decl(o)->field_count(); ++f) {
        const FieldDescriptor* side = type->oneof_decl(o)->field(f);
        side->cpp_type() == FieldDescriptor::CPPTYPE_DOUBLE ? kind->GetReflection()->SetDouble(kind, side, 50)
                                                             : kind->GetReflection()->SetInt64(kind, side, 1 << 20);
        faults.push_back(fault);
      }
    }
  }
  return faults;
}

TEST(EveryFault, IsOfAGroupAndDescribed) {
  for (const Fault& fault : OneOfEach()) {
    EXPECT_NE(GroupOf(fault), FaultGroup::kNone) << fault.DebugString();
    EXPECT_THAT(DescribeFault(fault), Not(IsEmpty())) << fault.DebugString();
    EXPECT_NE(DescribeFault(fault), "nothing") << fault.DebugString();
  }
}

TEST(EveryFault, SaysInThePlanWhomItTouchesByWhatAndWhatUndoesIt) {
  for (const Fault& fault : OneOfEach()) {
    TimelineBuilder builder;
    *builder.scenario.add_faults() = fault;
    const std::string plan = DescribePlan(builder.scenario, MakePlan(builder.scenario));
    for (const char* label : {"scope:", "through:", "undone by:"}) {
      const size_t at = plan.find(label);
      ASSERT_NE(at, std::string::npos) << label << "\n" << plan;
      const std::string line = plan.substr(at, plan.find('\n', at) - at);
      EXPECT_GT(line.size(), 16u) << "nothing behind it: " << line << "\n" << fault.DebugString();
    }
  }
}

// No PASS without evidence, and no verdict that does not say why and what to do.
TEST(EveryFault, WithoutEvidenceKeepsTheGateClosedAndSaysSo) {
  for (const Fault& fault : OneOfEach()) {
    TimelineBuilder builder;
    builder.Fired(fault, 12, 20);
    const Timeline timeline = builder.Build();
    const std::optional<Obstacle> obstacle = FaultGate(timeline, TimeOf(timeline, ""), /*must_be_over=*/false);
    ASSERT_TRUE(obstacle.has_value()) << fault.DebugString();
    EXPECT_THAT(obstacle->reason, HasSubstr("fault bad ")) << fault.DebugString();
    EXPECT_THAT(obstacle->advice, Not(IsEmpty())) << fault.DebugString();
    EXPECT_THAT(SeenText(fault, Evidence()), Not(IsEmpty())) << fault.DebugString();
  }
}

}  // namespace
}  // namespace squall
