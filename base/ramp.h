#pragma once

#include "absl/time/time.h"
#include "proto/fault.pb.h"

// What the ramp of a fault makes of it. Pure functions.
namespace squall {

// How long the value takes from the first to the last.
absl::Duration RampLength(const Fault& fault);

// The field of Ramp that is given, and the one of its name in the fault's kind, which it changes. Both null: there is no ramp, or it
// does not fit the fault.
struct RampedField {
  const google::protobuf::FieldDescriptor* ramp = nullptr;
  const google::protobuf::FieldDescriptor* kind = nullptr;
};
RampedField RampedFieldOf(const Fault& fault);

// The fault as it is to be so long after it was injected: the value lies on the line from the first to the last, and then is the last.
// Without a ramp that fits, as it is.
Fault RampedAt(const Fault& fault, absl::Duration since_injection);

}  // namespace squall
