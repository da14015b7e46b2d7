#include "controller/schema.h"

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/strip.h"
#include "controller/wording.h"

namespace squall {

using google::protobuf::Descriptor;
using google::protobuf::EnumDescriptor;
using google::protobuf::EnumValueDescriptor;
using google::protobuf::FieldDescriptor;
using google::protobuf::OneofDescriptor;

namespace {

// Names as they stand in the documentation.
std::string NameFor(absl::string_view noun) {
  if (noun == "service") return "orders";
  if (noun == "edge") return "recommend";
  if (noun == "load") return "checkout";
  if (noun == "agent" || noun == "agent_at") return "shop-1";
  if (noun == "monitor") return "prometheus";
  if (noun == "assertion") return "recovery";
  return noun == "fault" ? "slow" : "NAME";
}

std::string ScalarExample(const FieldDescriptor& field) {
  const FieldRules& field_rules = RulesOf(field);
  if (!field_rules.example().empty()) return field_rules.example();
  if (!field_rules.default_().empty()) return field_rules.default_();
  if (field.cpp_type() == FieldDescriptor::CPPTYPE_ENUM) return EnumWords(*field.enum_type()).front();
  if (field_rules.url()) return "\"http://127.0.0.1:8080/\"";
  if (field_rules.address()) return "\"127.0.0.1:9090\"";
  if (field_rules.signal()) return "SIGTERM";
  if (field_rules.grpc_status()) return "UNAVAILABLE";
  if (!field_rules.refers_to().empty()) return NameFor(field_rules.refers_to());
  if (!field_rules.min().empty()) return field_rules.min();
  if (IsDuration(field)) return "500ms";
  if (field.cpp_type() == FieldDescriptor::CPPTYPE_STRING) return "TEXT";
  return field.cpp_type() == FieldDescriptor::CPPTYPE_BOOL ? "true" : "10";
}

// Whether an example of the message leads with the field: the first of a oneof stands for all of it.
bool InExample(const FieldDescriptor& field, bool full) {
  if (RulesOf(field).internal() || RulesOf(field).apart()) return false;
  if (RulesOf(field).required() || RulesOf(field).shown()) return true;
  const OneofDescriptor* oneof = field.real_containing_oneof();
  if (oneof != nullptr) return MustChooseOne(*oneof) && oneof->field(0) == &field;
  const FieldRules& field_rules = RulesOf(field);
  // Where else something is, and where squall listens: what few scenarios say.
  if (field_rules.refers_to() == "agent" || field_rules.address()) return false;
  const bool reference = !field_rules.refers_to().empty() && !field_rules.optional_reference();
  return full && (!field_rules.example().empty() || reference);
}

}  // namespace

const FieldRules& RulesOf(const FieldDescriptor& field) { return field.options().GetExtension(rules); }

std::string YamlName(const FieldDescriptor& field) {
  const std::string& other = RulesOf(field).yaml();
  return other.empty() ? field.name() : other;
}

bool IsDuration(const FieldDescriptor& field) {
  return field.cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE &&
         field.message_type()->full_name() == "google.protobuf.Duration";
}

bool IsNested(const FieldDescriptor& field) {
  return field.cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE && !field.is_map() && !IsDuration(field);
}

const FieldDescriptor* KeyField(const FieldDescriptor& field) {
  const std::string& key = RulesOf(field).key();
  return key.empty() || !IsNested(field) ? nullptr : field.message_type()->FindFieldByName(key);
}

bool MustChooseOne(const OneofDescriptor& oneof) { return oneof.options().GetExtension(choose_one); }

const FieldDescriptor* FindField(const Descriptor& type, absl::string_view key,
                                 const FieldDescriptor* except) {
  for (int i = 0; i < type.field_count(); ++i) {
    if (type.field(i) != except && YamlName(*type.field(i)) == key && !RulesOf(*type.field(i)).internal()) return type.field(i);
  }
  return nullptr;
}

std::vector<std::string> YamlKeys(const Descriptor& type, const FieldDescriptor* except) {
  std::vector<std::string> keys;
  for (int i = 0; i < type.field_count(); ++i) {
    if (type.field(i) != except && !RulesOf(*type.field(i)).internal()) keys.push_back(YamlName(*type.field(i)));
  }
  return keys;
}

std::string EnumWord(const EnumValueDescriptor& value) {
  const std::string prefix = absl::AsciiStrToUpper(SnakeCase(value.type()->name())) + "_";
  return absl::AsciiStrToLower(absl::StripPrefix(value.name(), prefix));
}

std::vector<std::string> EnumWords(const EnumDescriptor& type) {
  std::vector<std::string> words;
  for (int i = 0; i < type.value_count(); ++i) {
    if (type.value(i)->number() != 0) words.push_back(EnumWord(*type.value(i)));
  }
  return words;
}

std::string ExampleValue(const FieldDescriptor& field) {
  if (field.is_map()) return "{NAME: VALUE}";
  std::string one =
      IsNested(field) ? ExampleMapping(*field.message_type(), false, KeyField(field)) : ScalarExample(field);
  if (one == "{}") one = ExampleMapping(*field.message_type(), true, KeyField(field));
  if (KeyField(field) != nullptr) return absl::StrCat("{", ExampleName(field), ": ", one, "}");
  // The example of a list may already be the whole list.
  return field.is_repeated() && !RulesOf(field).single() && !absl::StartsWith(one, "[") ? absl::StrCat("[", one, "]") : one;
}

std::string ExampleMapping(const Descriptor& type, bool full, const FieldDescriptor* except) {
  std::vector<std::string> parts;
  for (int i = 0; i < type.field_count(); ++i) {
    const FieldDescriptor& field = *type.field(i);
    if (&field == except || !InExample(field, full)) continue;
    parts.push_back(absl::StrCat(YamlName(field), ": ", ExampleValue(field)));
  }
  return absl::StrCat("{", absl::StrJoin(parts, ", "), "}");
}

std::string ExampleName(const FieldDescriptor& field) {
  return NameFor(SnakeCase(field.message_type()->name()));
}

std::string ChildPath(absl::string_view path, const FieldDescriptor& field) {
  return path.empty() ? YamlName(field) : absl::StrCat(path, ".", YamlName(field));
}

std::string ItemPath(absl::string_view path, int index) { return absl::StrCat(path, "[", index, "]"); }

}  // namespace squall
