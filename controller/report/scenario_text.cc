#include "controller/report/scenario_text.h"

#include <algorithm>
#include <string>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/strip.h"
#include "absl/time/time.h"
#include "google/protobuf/duration.pb.h"
#include "google/protobuf/message.h"
#include "proto/options.pb.h"

namespace squall {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::Reflection;

const FieldRules& RulesOf(const FieldDescriptor& field) { return field.options().GetExtension(rules); }

std::string NameOf(const FieldDescriptor& field) {
  return RulesOf(field).yaml().empty() ? field.name() : RulesOf(field).yaml();
}

// A scalar of YAML, quoted where it could be read as something else.
std::string Scalar(const std::string& text) {
  const auto plain = [](char c) {
    return absl::ascii_isalnum(c) || absl::string_view("-_./ =").find(c) != absl::string_view::npos;
  };
  const bool safe = !text.empty() && (absl::ascii_isalpha(text[0]) || text[0] == '/') &&
                    !absl::ascii_isspace(text.back()) && std::all_of(text.begin(), text.end(), plain) &&
                    text != "true" && text != "false" && text != "null" && text != "yes" && text != "no" &&
                    text != "on" && text != "off";
  if (safe) return text;
  std::string quoted = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') {
      absl::StrAppend(&quoted, "\\", std::string(1, c));
    } else if (c == '\n') {
      quoted += "\\n";
    } else if (absl::ascii_iscntrl(c)) {
      absl::StrAppendFormat(&quoted, "\\x%02x", c);
    } else {
      quoted += c;
    }
  }
  return quoted + "\"";
}

std::string Number(double value, FieldRules::Unit unit) {
  return absl::StrCat(value, unit == FieldRules::PERCENT ? "%" : unit == FieldRules::RATE ? "/s" : "");
}

std::string ByteSize(int64_t bytes) {
  int unit = 0;
  while (bytes != 0 && bytes % 1024 == 0 && unit < 3) bytes /= 1024, ++unit;
  static constexpr const char* kUnits[] = {"B", "KiB", "MiB", "GiB"};
  return absl::StrCat(bytes, kUnits[unit]);
}

// DIRECTION_RESPONSE of the enum Direction is "response".
std::string EnumWord(const google::protobuf::EnumValueDescriptor& value) {
  absl::string_view name = value.name();
  const std::string prefix = absl::StrCat(absl::AsciiStrToUpper(value.type()->name()), "_");
  absl::ConsumePrefix(&name, prefix);
  return absl::AsciiStrToLower(name);
}

// A field's value on one line. `index` is -1 for a field that is not repeated. REQUIRES: no message but
// Duration.
std::string ScalarValue(const Message& message, const FieldDescriptor& field, int index) {
  const Reflection& reflection = *message.GetReflection();
  const bool one = index < 0;
  switch (field.cpp_type()) {
    case FieldDescriptor::CPPTYPE_MESSAGE: {
      const Message& sub = one ? reflection.GetMessage(message, &field)
                               : reflection.GetRepeatedMessage(message, &field, index);
      const auto& duration = static_cast<const google::protobuf::Duration&>(sub);
      return absl::FormatDuration(absl::Seconds(duration.seconds()) + absl::Nanoseconds(duration.nanos()));
    }
    case FieldDescriptor::CPPTYPE_ENUM:
      return EnumWord(
          *(one ? reflection.GetEnum(message, &field) : reflection.GetRepeatedEnum(message, &field, index)));
    case FieldDescriptor::CPPTYPE_STRING:
      return Scalar(one ? reflection.GetString(message, &field)
                        : reflection.GetRepeatedString(message, &field, index));
    case FieldDescriptor::CPPTYPE_BOOL:
      return (one ? reflection.GetBool(message, &field) : reflection.GetRepeatedBool(message, &field, index))
                 ? "true"
                 : "false";
    case FieldDescriptor::CPPTYPE_INT32:
      return absl::StrCat(one ? reflection.GetInt32(message, &field)
                              : reflection.GetRepeatedInt32(message, &field, index));
    case FieldDescriptor::CPPTYPE_UINT32:
      return absl::StrCat(one ? reflection.GetUInt32(message, &field)
                              : reflection.GetRepeatedUInt32(message, &field, index));
    case FieldDescriptor::CPPTYPE_INT64: {
      const int64_t value =
          one ? reflection.GetInt64(message, &field) : reflection.GetRepeatedInt64(message, &field, index);
      return RulesOf(field).unit() == FieldRules::BYTES       ? ByteSize(value)
             : RulesOf(field).unit() == FieldRules::BYTE_RATE ? absl::StrCat(ByteSize(value), "/s")
                                                              : absl::StrCat(value);
    }
    case FieldDescriptor::CPPTYPE_UINT64:
      return absl::StrCat(one ? reflection.GetUInt64(message, &field)
                              : reflection.GetRepeatedUInt64(message, &field, index));
    case FieldDescriptor::CPPTYPE_DOUBLE:
      return Number(
          one ? reflection.GetDouble(message, &field) : reflection.GetRepeatedDouble(message, &field, index),
          RulesOf(field).unit());
    case FieldDescriptor::CPPTYPE_FLOAT:
      return Number(
          one ? reflection.GetFloat(message, &field) : reflection.GetRepeatedFloat(message, &field, index),
          RulesOf(field).unit());
  }
  return "";
}

bool IsDuration(const FieldDescriptor& field) {
  return field.cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE &&
         field.message_type() == google::protobuf::Duration::descriptor();
}

bool IsBlock(const FieldDescriptor& field) {
  return field.cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE && !IsDuration(field);
}

using Lines = std::vector<std::string>;

Lines MessageLines(const Message& message, const std::string& without);

void AppendIndented(const Lines& from, const std::string& first, const std::string& others, Lines& to) {
  for (size_t i = 0; i < from.size(); ++i) to.push_back(absl::StrCat(i == 0 ? first : others, from[i]));
}

// "key:" and, below it, what belongs to it.
void AppendBlock(const std::string& key, const Lines& block, Lines& lines) {
  if (block.empty()) {
    lines.push_back(absl::StrCat(key, ": {}"));
    return;
  }
  lines.push_back(absl::StrCat(key, ":"));
  AppendIndented(block, "  ", "  ", lines);
}

void AppendMap(const Message& message, const FieldDescriptor& field, Lines& lines) {
  Lines entries;
  const Reflection& reflection = *message.GetReflection();
  for (int i = 0; i < reflection.FieldSize(message, &field); ++i) {
    const Message& entry = reflection.GetRepeatedMessage(message, &field, i);
    const auto& type = *entry.GetDescriptor();
    entries.push_back(absl::StrCat(ScalarValue(entry, *type.map_key(), -1), ": ",
                                   ScalarValue(entry, *type.map_value(), -1)));
  }
  std::sort(entries.begin(), entries.end());  // maps have no order of their own
  AppendBlock(NameOf(field), entries, lines);
}

void AppendRepeated(const Message& message, const FieldDescriptor& field, Lines& lines) {
  const Reflection& reflection = *message.GetReflection();
  const int size = reflection.FieldSize(message, &field);
  if (!IsBlock(field)) {
    std::vector<std::string> values;
    for (int i = 0; i < size; ++i) values.push_back(ScalarValue(message, field, i));
    lines.push_back(absl::StrCat(NameOf(field), ": [", absl::StrJoin(values, ", "), "]"));
    return;
  }
  lines.push_back(absl::StrCat(NameOf(field), ":"));
  const std::string& key = RulesOf(field).key();
  for (int i = 0; i < size; ++i) {
    const Message& item = reflection.GetRepeatedMessage(message, &field, i);
    Lines block;
    if (key.empty()) {
      AppendIndented(MessageLines(item, ""), "- ", "  ", block);
    } else {
      AppendBlock(ScalarValue(item, *item.GetDescriptor()->FindFieldByName(key), -1), MessageLines(item, key),
                  block);
    }
    AppendIndented(block, "  ", "  ", lines);
  }
}

// Every field that is set, in the order of the schema, but the one named `without`.
Lines MessageLines(const Message& message, const std::string& without) {
  Lines lines;
  std::vector<const FieldDescriptor*> fields;
  message.GetReflection()->ListFields(message, &fields);
  for (const FieldDescriptor* field : fields) {
    if (field->name() == without) continue;
    if (field->is_map()) {
      AppendMap(message, *field, lines);
    } else if (field->is_repeated()) {
      AppendRepeated(message, *field, lines);
    } else if (IsBlock(*field)) {
      AppendBlock(NameOf(*field), MessageLines(message.GetReflection()->GetMessage(message, field), ""),
                  lines);
    } else {
      lines.push_back(absl::StrCat(NameOf(*field), ": ", ScalarValue(message, *field, -1)));
    }
  }
  return lines;
}

}  // namespace

std::string ScenarioText(const Scenario& scenario) {
  const Lines lines = MessageLines(scenario, "");
  return absl::StrCat(absl::StrJoin(lines, "\n"), lines.empty() ? "" : "\n");
}

}  // namespace squall
