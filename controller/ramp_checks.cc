#include "controller/ramp_checks.h"

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/durations.h"
#include "base/text.h"
#include "controller/plan.h"
#include "controller/scalars.h"
#include "controller/schema.h"
#include "controller/units.h"
#include "controller/wording.h"

namespace squall {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::FieldDescriptor;
using google::protobuf::Message;

// The lists of values among the fields of Ramp.
std::vector<const FieldDescriptor*> Ramped() {
  std::vector<const FieldDescriptor*> fields;
  for (int i = 0; i < Ramp::descriptor()->field_count(); ++i) {
    if (Ramp::descriptor()->field(i)->is_repeated()) fields.push_back(Ramp::descriptor()->field(i));
  }
  return fields;
}

std::vector<std::string> Names(const std::vector<const FieldDescriptor*>& fields) {
  std::vector<std::string> names;
  for (const FieldDescriptor* field : fields) names.push_back(field->name());
  return names;
}

// As YAML writes it.
std::string TextAt(const Ramp& ramp, const FieldDescriptor& field, int index) {
  const google::protobuf::Reflection& reflection = *ramp.GetReflection();
  switch (field.cpp_type()) {
    case FieldDescriptor::CPPTYPE_MESSAGE:
      return DurationText(
          ToDuration(static_cast<const google::protobuf::Duration&>(reflection.GetRepeatedMessage(ramp, &field, index))));
    case FieldDescriptor::CPPTYPE_INT64:
      return absl::StrCat(reflection.GetRepeatedInt64(ramp, &field, index), "B/s");
    default:
      return absl::StrCat(reflection.GetRepeatedDouble(ramp, &field, index), RulesOf(field).unit() == FieldRules::PERCENT ? "%" : "");
  }
}

// With which a fault does nothing: where a ramp may begin or end, though a fault by itself must do something.
std::string NothingOf(const FieldDescriptor& field) {
  if (field.name() == "times") return "1";
  if (field.name() == "quota") return "100%";
  return field.cpp_type() == FieldDescriptor::CPPTYPE_DOUBLE ? "0%" : "";
}

// Null: nothing can be said, or a mistake was reported.
const FieldDescriptor* TheOne(const Fault& fault, const std::string& path, Reading& reading) {
  const FieldDescriptor* kind = Fault::descriptor()->FindFieldByNumber(static_cast<int>(fault.kind_case()));
  if (kind == nullptr) return nullptr;
  std::vector<const FieldDescriptor*> given, possible;
  for (const FieldDescriptor* field : Ramped()) {
    if (reading.Given(ChildPath(path, *field))) given.push_back(field);
    const FieldDescriptor* own = kind->message_type()->FindFieldByName(field->name());
    if (own == nullptr) continue;
    const Message& message = fault.GetReflection()->GetMessage(fault, kind);
    if (own->real_containing_oneof() != nullptr && !message.GetReflection()->HasField(message, own)) continue;
    possible.push_back(field);
  }
  const std::string name = FaultKind(fault);
  if (possible.empty()) {
    reading.Report(path, absl::StrCat("nothing in a ", name, " fault can grow or fall; leave out ramp"));
    return nullptr;
  }
  const std::string example = absl::StrCat(possible[0]->name(), ": ", RulesOf(*possible[0]).example());
  if (given.empty()) {
    reading.Report(path, absl::StrCat("this ramp says nothing of what grows or falls; write for example ", example));
    return nullptr;
  }
  if (given.size() > 1) {
    reading.Report(path, absl::StrCat("a ramp changes one value, and this one names ", absl::StrJoin(Names(given), " and "),
                                      "; leave out all but one"));
    return nullptr;
  }
  for (const FieldDescriptor* field : possible) {
    if (field == given[0]) return field;
  }
  reading.Report(ChildPath(path, *given[0]), absl::StrCat("this ", name, " fault has no ", given[0]->name(), " that could grow or fall; write ",
                                                          Alternatives(Names(possible)), ", for example ", example));
  return nullptr;
}

void CheckRamp(const Fault& fault, const std::string& path, Reading& reading) {
  const Ramp& ramp = fault.ramp();
  if (ramp.has_over() && fault.has_for_() && reading.Sound(path + ".over") && ToDuration(ramp.over()) > ToDuration(fault.for_())) {
    reading.Report(path + ".over", absl::StrCat("this ramp takes ", HumanDuration(ToDuration(ramp.over())), " and its fault lasts ",
                                                HumanDuration(ToDuration(fault.for_())), "; write ",
                                                DurationText(ToDuration(fault.for_())), " or less, or a longer `for`"));
  }
  const FieldDescriptor* field = TheOne(fault, path, reading);
  if (field == nullptr) return;
  const std::string at = ChildPath(path, *field);
  if (!reading.Sound(at)) return;
  const int size = ramp.GetReflection()->FieldSize(ramp, field);
  if (size != 2) {
    reading.Report(at, absl::StrCat("a ramp goes from a first value to a last one, and this has ", size, "; write for example ", field->name(),
                                    ": ", RulesOf(*field).example()));
    return;
  }
  const FieldDescriptor* kind = Fault::descriptor()->FindFieldByNumber(static_cast<int>(fault.kind_case()));
  const FieldDescriptor& own = *kind->message_type()->FindFieldByName(field->name());
  for (int i = 0; i < size; ++i) {
    const std::string text = TextAt(ramp, *field, i);
    const absl::Status in_bounds = ParseScalar(own, text).status();
    if (in_bounds.ok() || text == NothingOf(*field)) continue;
    reading.Report(at, std::string(in_bounds.message()));
    return;
  }
  if (TextAt(ramp, *field, 0) == TextAt(ramp, *field, 1)) {
    reading.Report(at, absl::StrCat("this ramp ends where it begins, at ", TextAt(ramp, *field, 0),
                                    "; write two values that differ, or leave out ramp"));
  }
}

}  // namespace

void CheckRamps(const Scenario& scenario, Reading& reading) {
  for (int i = 0; i < scenario.faults_size(); ++i) {
    const std::string path = ItemPath("faults", i);
    if (!scenario.faults(i).has_ramp() || !reading.Sound(absl::StrCat(path, ".", FaultKind(scenario.faults(i))))) continue;
    CheckRamp(scenario.faults(i), path + ".ramp", reading);
  }
}

}  // namespace squall
