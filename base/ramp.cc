#include "base/ramp.h"

#include <algorithm>
#include <cmath>

#include "base/durations.h"
#include "base/messages.h"
#include "google/protobuf/descriptor.h"
#include "google/protobuf/message.h"

namespace squall {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::Reflection;

double Between(double first, double last, double share) { return first + (last - first) * share; }

double NanosAt(const Ramp& ramp, const FieldDescriptor* field, int index) {
  const Message& duration = ramp.GetReflection()->GetRepeatedMessage(ramp, field, index);
  return absl::ToDoubleNanoseconds(ToDuration(static_cast<const google::protobuf::Duration&>(duration)));
}

}  // namespace

absl::Duration RampLength(const Fault& fault) { return ToDuration(fault.ramp().has_over() ? fault.ramp().over() : fault.for_()); }

RampedField RampedFieldOf(const Fault& fault) {
  RampedField found;
  const Ramp& ramp = fault.ramp();
  for (int i = 0; i < Ramp::descriptor()->field_count(); ++i) {
    const FieldDescriptor* field = Ramp::descriptor()->field(i);
    if (!field->is_repeated() || ramp.GetReflection()->FieldSize(ramp, field) == 0) continue;
    if (found.ramp != nullptr || ramp.GetReflection()->FieldSize(ramp, field) != 2) return {};
    found.ramp = field;
  }
  const FieldDescriptor* kind = KindField(fault);
  if (found.ramp == nullptr || kind == nullptr) return {};
  found.kind = kind->message_type()->FindFieldByName(found.ramp->name());
  if (found.kind == nullptr || found.kind->cpp_type() != found.ramp->cpp_type()) return {};
  // Of several that exclude each other it is the one that is given.
  const Message& of_kind = fault.GetReflection()->GetMessage(fault, kind);
  if (found.kind->real_containing_oneof() != nullptr && !of_kind.GetReflection()->HasField(of_kind, found.kind)) return {};
  return found;
}

Fault RampedAt(const Fault& fault, absl::Duration since_injection) {
  Fault ramped = fault;
  const RampedField field = RampedFieldOf(fault);
  if (field.kind == nullptr) return ramped;
  const absl::Duration over = RampLength(fault);
  const double share = over <= absl::ZeroDuration() ? 1 : std::clamp(absl::FDivDuration(since_injection, over), 0.0, 1.0);
  const Ramp& ramp = fault.ramp();
  const Reflection& from = *ramp.GetReflection();
  Message* kind = ramped.GetReflection()->MutableMessage(&ramped, KindField(ramped));
  const Reflection& to = *kind->GetReflection();
  switch (field.ramp->cpp_type()) {
    case FieldDescriptor::CPPTYPE_MESSAGE: {
      const double ns = Between(NanosAt(ramp, field.ramp, 0), NanosAt(ramp, field.ramp, 1), share);
      to.MutableMessage(kind, field.kind)->CopyFrom(FromDuration(absl::Nanoseconds(std::llround(ns))));
      break;
    }
    case FieldDescriptor::CPPTYPE_INT64:
      to.SetInt64(kind, field.kind,
                  std::llround(Between(static_cast<double>(from.GetRepeatedInt64(ramp, field.ramp, 0)),
                                       static_cast<double>(from.GetRepeatedInt64(ramp, field.ramp, 1)), share)));
      break;
    case FieldDescriptor::CPPTYPE_DOUBLE:
      to.SetDouble(kind, field.kind,
                   Between(from.GetRepeatedDouble(ramp, field.ramp, 0), from.GetRepeatedDouble(ramp, field.ramp, 1), share));
      break;
    default:
      break;
  }
  return ramped;
}

}  // namespace squall
