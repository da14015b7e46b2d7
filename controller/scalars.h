#pragma once

#include <cstdint>
#include <string>
#include <variant>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "google/protobuf/descriptor.h"
#include "google/protobuf/duration.pb.h"
#include "google/protobuf/message.h"

// Text of a scenario to values of fields that are scalars in YAML, by the rules of the field. Pure functions.
namespace squall {

// An enum value is its number, as int64_t.
using ScalarValue = std::variant<bool, int64_t, double, absl::Duration, std::string>;

// The value of `text` in its unit, in its format and within its bounds. The error is INVALID_ARGUMENT and
// says what is wrong and what to write instead. REQUIRES: the field is a scalar in YAML, repeated or not.
absl::StatusOr<ScalarValue> ParseScalar(const google::protobuf::FieldDescriptor& field,
                                        absl::string_view text);

// Sets the field or, when it is repeated, adds to it. REQUIRES: ParseScalar gave `value` for `field`.
void StoreScalar(const google::protobuf::FieldDescriptor& field, const ScalarValue& value,
                 google::protobuf::Message& message);

// For a message that comes from a file and not from the reader: whether the values that it holds keep the rules of their fields, in it
// and below. What is required is there, and where one of several must be given, one is. INVALID_ARGUMENT says which field breaks
// them. A default that is missing, since the field is younger than the file, is put in.
absl::Status CheckValues(google::protobuf::Message& message);

}  // namespace squall
