#include "controller/scalars.h"

#include <cmath>
#include <limits>
#include <optional>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "base/durations.h"
#include "controller/formats.h"
#include "controller/schema.h"
#include "controller/units.h"
#include "controller/wording.h"

namespace squall {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::Reflection;

namespace {

// StatusOr<T> to StatusOr<ScalarValue>.
template <typename T>
absl::StatusOr<ScalarValue> Value(absl::StatusOr<T> parsed) {
  if (!parsed.ok()) return parsed.status();
  return ScalarValue(*std::move(parsed));
}

absl::StatusOr<ScalarValue> ParseBool(absl::string_view text) {
  if (text == "true") return ScalarValue(true);
  if (text == "false") return ScalarValue(false);
  return absl::InvalidArgumentError(
      absl::StrCat(Quoted(text), " is neither true nor false; write one of the two"));
}

absl::StatusOr<ScalarValue> ParseEnum(const FieldDescriptor& field, absl::string_view text) {
  const google::protobuf::EnumDescriptor& type = *field.enum_type();
  for (int i = 0; i < type.value_count(); ++i) {
    const google::protobuf::EnumValueDescriptor& value = *type.value(i);
    if (value.number() != 0 && EnumWord(value) == text) return ScalarValue(int64_t{value.number()});
  }
  return absl::InvalidArgumentError(
      absl::StrCat(Quoted(text), " is not known here; ", Suggestion(text, EnumWords(type))));
}

absl::StatusOr<ScalarValue> ParseString(const FieldDescriptor& field, absl::string_view text) {
  const FieldRules& field_rules = RulesOf(field);
  absl::Status status;
  if (field_rules.name() || !field_rules.refers_to().empty()) status = CheckName(text);
  if (status.ok() && field_rules.address()) status = CheckAddress(text, field_rules.any_host());
  if (status.ok() && field_rules.url()) status = CheckUrl(text);
  if (status.ok() && field_rules.signal()) status = CheckSignal(text);
  if (status.ok() && field_rules.grpc_status()) status = CheckGrpcStatus(text);
  if (!status.ok()) return status;
  return ScalarValue(std::string(text));
}

// 32-bit fields have bounds of their own, whether or not the rules say so.
absl::StatusOr<ScalarValue> ParseInt(const FieldDescriptor& field, absl::string_view text) {
  const FieldRules::Unit unit = RulesOf(field).unit();
  absl::StatusOr<int64_t> value = unit == FieldRules::BYTES       ? ParseBytes(text)
                                  : unit == FieldRules::BYTE_RATE ? ParseByteRate(text)
                                                                  : ParseInteger(text);
  if (!value.ok()) return value.status();
  const bool is_unsigned = field.cpp_type() == FieldDescriptor::CPPTYPE_UINT32 ||
                           field.cpp_type() == FieldDescriptor::CPPTYPE_UINT64;
  const bool is_small = field.cpp_type() == FieldDescriptor::CPPTYPE_INT32 ||
                        field.cpp_type() == FieldDescriptor::CPPTYPE_UINT32;
  const int64_t least = is_unsigned ? 0 : is_small ? std::numeric_limits<int32_t>::min() : *value;
  const int64_t most = !is_small     ? *value
                       : is_unsigned ? int64_t{std::numeric_limits<uint32_t>::max()}
                                     : int64_t{std::numeric_limits<int32_t>::max()};
  if (*value < least)
    return absl::InvalidArgumentError(absl::StrCat(text, " is too small; write ", least, " or more"));
  if (*value > most)
    return absl::InvalidArgumentError(absl::StrCat(text, " is too large; write ", most, " or less"));
  return ScalarValue(*value);
}

absl::StatusOr<ScalarValue> ParseUnbounded(const FieldDescriptor& field, absl::string_view text) {
  switch (field.cpp_type()) {
    case FieldDescriptor::CPPTYPE_BOOL:
      return ParseBool(text);
    case FieldDescriptor::CPPTYPE_ENUM:
      return ParseEnum(field, text);
    case FieldDescriptor::CPPTYPE_STRING:
      return ParseString(field, text);
    case FieldDescriptor::CPPTYPE_MESSAGE:
      return Value(ParseDurationText(text));
    case FieldDescriptor::CPPTYPE_INT32:
    case FieldDescriptor::CPPTYPE_INT64:
    case FieldDescriptor::CPPTYPE_UINT32:
    case FieldDescriptor::CPPTYPE_UINT64:
      return ParseInt(field, text);
    case FieldDescriptor::CPPTYPE_FLOAT:
    case FieldDescriptor::CPPTYPE_DOUBLE:
      if (RulesOf(field).unit() == FieldRules::RATE) return Value(ParseRate(text));
      if (RulesOf(field).unit() == FieldRules::PERCENT) return Value(ParsePercent(text));
      return Value(ParseNumber(text));
  }
  return absl::InternalError("a field of no known type");
}

// Bounds are written in the schema; a wrong one bounds nothing, and a test reads them all.
struct Bounds {
  std::optional<ScalarValue> least, most;
};

Bounds BoundsOf(const FieldDescriptor& field) {
  const auto read = [&](const std::string& text) -> std::optional<ScalarValue> {
    absl::StatusOr<ScalarValue> bound = ParseUnbounded(field, text);
    if (text.empty() || !bound.ok()) return std::nullopt;
    return *std::move(bound);
  };
  return {read(RulesOf(field).min()), read(RulesOf(field).max())};
}

absl::Status CheckBounds(const FieldDescriptor& field, const ScalarValue& value, absl::string_view text) {
  const std::string& min = RulesOf(field).min();
  const std::string& max = RulesOf(field).max();
  const Bounds bounds = BoundsOf(field);
  const std::string range = min.empty()   ? absl::StrCat("write ", max, " or less")
                            : max.empty() ? absl::StrCat("write ", min, " or more")
                            : min == max  ? absl::StrCat("write ", min)
                                          : absl::StrCat("write ", min, " to ", max);
  if (bounds.least && value < *bounds.least) {
    return absl::InvalidArgumentError(absl::StrCat(Quoted(text), " is too little; ", range));
  }
  if (bounds.most && *bounds.most < value) {
    return absl::InvalidArgumentError(absl::StrCat(Quoted(text), " is too much; ", range));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<ScalarValue> ParseScalar(const FieldDescriptor& field, absl::string_view text) {
  absl::StatusOr<ScalarValue> value = ParseUnbounded(field, text);
  if (!value.ok()) return value;
  absl::Status in_bounds = CheckBounds(field, *value, text);
  if (!in_bounds.ok()) return in_bounds;
  return value;
}

void StoreScalar(const FieldDescriptor& field, const ScalarValue& value, Message& message) {
  const Reflection& reflection = *message.GetReflection();
  const bool add = field.is_repeated();
  switch (field.cpp_type()) {
    case FieldDescriptor::CPPTYPE_BOOL: {
      const bool v = std::get<bool>(value);
      add ? reflection.AddBool(&message, &field, v) : reflection.SetBool(&message, &field, v);
      return;
    }
    case FieldDescriptor::CPPTYPE_ENUM: {
      const int v = static_cast<int>(std::get<int64_t>(value));
      add ? reflection.AddEnumValue(&message, &field, v) : reflection.SetEnumValue(&message, &field, v);
      return;
    }
    case FieldDescriptor::CPPTYPE_STRING: {
      const std::string& v = std::get<std::string>(value);
      add ? reflection.AddString(&message, &field, v) : reflection.SetString(&message, &field, v);
      return;
    }
    case FieldDescriptor::CPPTYPE_MESSAGE: {
      Message* duration =
          add ? reflection.AddMessage(&message, &field) : reflection.MutableMessage(&message, &field);
      duration->CopyFrom(FromDuration(std::get<absl::Duration>(value)));
      return;
    }
    case FieldDescriptor::CPPTYPE_INT32: {
      const auto v = static_cast<int32_t>(std::get<int64_t>(value));
      add ? reflection.AddInt32(&message, &field, v) : reflection.SetInt32(&message, &field, v);
      return;
    }
    case FieldDescriptor::CPPTYPE_INT64: {
      const int64_t v = std::get<int64_t>(value);
      add ? reflection.AddInt64(&message, &field, v) : reflection.SetInt64(&message, &field, v);
      return;
    }
    case FieldDescriptor::CPPTYPE_UINT32: {
      const auto v = static_cast<uint32_t>(std::get<int64_t>(value));
      add ? reflection.AddUInt32(&message, &field, v) : reflection.SetUInt32(&message, &field, v);
      return;
    }
    case FieldDescriptor::CPPTYPE_UINT64: {
      const auto v = static_cast<uint64_t>(std::get<int64_t>(value));
      add ? reflection.AddUInt64(&message, &field, v) : reflection.SetUInt64(&message, &field, v);
      return;
    }
    case FieldDescriptor::CPPTYPE_FLOAT: {
      const auto v = static_cast<float>(std::get<double>(value));
      add ? reflection.AddFloat(&message, &field, v) : reflection.SetFloat(&message, &field, v);
      return;
    }
    case FieldDescriptor::CPPTYPE_DOUBLE: {
      const double v = std::get<double>(value);
      add ? reflection.AddDouble(&message, &field, v) : reflection.SetDouble(&message, &field, v);
      return;
    }
  }
}

namespace {

// A field that stands for one value, or one of a list.
ScalarValue StoredValue(const Message& message, const FieldDescriptor& field, int index) {
  const Reflection& reflection = *message.GetReflection();
  const bool list = field.is_repeated();
  switch (field.cpp_type()) {
    case FieldDescriptor::CPPTYPE_BOOL:
      return list ? reflection.GetRepeatedBool(message, &field, index) : reflection.GetBool(message, &field);
    case FieldDescriptor::CPPTYPE_ENUM:
      return int64_t{list ? reflection.GetRepeatedEnumValue(message, &field, index) : reflection.GetEnumValue(message, &field)};
    case FieldDescriptor::CPPTYPE_STRING:
      return list ? reflection.GetRepeatedString(message, &field, index) : reflection.GetString(message, &field);
    case FieldDescriptor::CPPTYPE_MESSAGE: {
      const Message& duration = list ? reflection.GetRepeatedMessage(message, &field, index) : reflection.GetMessage(message, &field);
      google::protobuf::Duration copy;
      copy.CopyFrom(duration);
      return ToDuration(copy);
    }
    case FieldDescriptor::CPPTYPE_INT32:
      return int64_t{list ? reflection.GetRepeatedInt32(message, &field, index) : reflection.GetInt32(message, &field)};
    case FieldDescriptor::CPPTYPE_INT64:
      return list ? reflection.GetRepeatedInt64(message, &field, index) : reflection.GetInt64(message, &field);
    case FieldDescriptor::CPPTYPE_UINT32:
      return int64_t{list ? reflection.GetRepeatedUInt32(message, &field, index) : reflection.GetUInt32(message, &field)};
    case FieldDescriptor::CPPTYPE_UINT64:
      return static_cast<int64_t>(list ? reflection.GetRepeatedUInt64(message, &field, index) : reflection.GetUInt64(message, &field));
    case FieldDescriptor::CPPTYPE_FLOAT:
      return double{list ? reflection.GetRepeatedFloat(message, &field, index) : reflection.GetFloat(message, &field)};
    case FieldDescriptor::CPPTYPE_DOUBLE:
      return list ? reflection.GetRepeatedDouble(message, &field, index) : reflection.GetDouble(message, &field);
  }
  return false;
}

bool IsSane(const FieldDescriptor& field, const ScalarValue& value) {
  if (const auto* number = std::get_if<double>(&value)) return std::isfinite(*number);
  if (const auto* duration = std::get_if<absl::Duration>(&value)) {
    return *duration >= absl::ZeroDuration() && *duration <= absl::Hours(1000);
  }
  return field.cpp_type() != FieldDescriptor::CPPTYPE_ENUM ||
         field.enum_type()->FindValueByNumber(static_cast<int>(std::get<int64_t>(value))) != nullptr;
}

// What the plan fills in may be less than what a user may write, a step of a rate limiter's load for one: a hundredth at the least.
bool IsWithinBounds(const FieldDescriptor& field, const ScalarValue& value) {
  const auto [least, most] = BoundsOf(field);
  if (most && *most < value) return false;
  if (!least || !(value < *least)) return true;
  if (const auto* number = std::get_if<double>(&value)) return 100 * *number >= std::get<double>(*least);
  if (const auto* duration = std::get_if<absl::Duration>(&value)) return 100 * *duration >= std::get<absl::Duration>(*least);
  return false;
}

absl::Status CheckField(Message& message, const FieldDescriptor& field, const std::string& path) {
  const Reflection& reflection = *message.GetReflection();
  const FieldRules& field_rules = RulesOf(field);
  const auto wrong = [&](absl::string_view what) { return absl::InvalidArgumentError(absl::StrCat(path, " ", what)); };
  const int count = field.is_repeated() ? reflection.FieldSize(message, &field) : reflection.HasField(message, &field) ? 1 : 0;
  if (count == 0) {
    // Zero is not there, on the wire: where it may be the value, it is.
    const std::optional<ScalarValue> least = BoundsOf(field).least;
    const bool may_be_zero = !field.is_repeated() && !field.has_presence() && least && *least == StoredValue(message, field, 0);
    if (may_be_zero || field.real_containing_oneof() != nullptr) return absl::OkStatus();
    const absl::StatusOr<ScalarValue> by_default = ParseScalar(field, field_rules.default_());
    if (!field_rules.default_().empty() && !field.is_repeated() && by_default.ok()) {
      StoreScalar(field, *by_default, message);
      return absl::OkStatus();
    }
    return field_rules.required() ? wrong("is missing") : absl::OkStatus();
  }
  for (int i = 0; i < count; ++i) {
    const ScalarValue value = StoredValue(message, field, i);
    if (!IsSane(field, value)) return wrong("is no value that it can have");
    if (!IsWithinBounds(field, value)) return wrong("is out of its bounds");
  }
  return absl::OkStatus();
}

absl::Status CheckMessage(Message& message, const std::string& path) {
  const Reflection& reflection = *message.GetReflection();
  const google::protobuf::Descriptor& type = *message.GetDescriptor();
  for (int i = 0; i < type.oneof_decl_count(); ++i) {
    if (MustChooseOne(*type.oneof_decl(i)) && reflection.GetOneofFieldDescriptor(message, type.oneof_decl(i)) == nullptr) {
      return absl::InvalidArgumentError(absl::StrCat(path, " lacks its ", type.oneof_decl(i)->name()));
    }
  }
  for (int i = 0; i < type.field_count(); ++i) {
    const FieldDescriptor& field = *type.field(i);
    const std::string child = ChildPath(path, field);
    if (field.is_map()) continue;
    absl::Status status;
    if (!IsNested(field)) {
      status = CheckField(message, field, child);
    } else if (field.is_repeated()) {
      for (int k = 0; status.ok() && k < reflection.FieldSize(message, &field); ++k) {
        status = CheckMessage(*reflection.MutableRepeatedMessage(&message, &field, k), ItemPath(child, k));
      }
    } else if (reflection.HasField(message, &field)) {
      status = CheckMessage(*reflection.MutableMessage(&message, &field), child);
    } else if (RulesOf(field).required() || RulesOf(field).always()) {
      status = absl::InvalidArgumentError(absl::StrCat(child, " is missing"));
    }
    if (!status.ok()) return status;
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status CheckValues(Message& message) { return CheckMessage(message, ""); }

}  // namespace squall
