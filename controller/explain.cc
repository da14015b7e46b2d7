#include "controller/explain.h"

#include <algorithm>
#include <map>
#include <memory>
#include <set>
#include <string_view>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/strip.h"
#include "controller/schema.h"
#include "controller/wording.h"
#include "google/protobuf/descriptor.h"
#include "google/protobuf/descriptor.pb.h"
#include "google/protobuf/descriptor_database.h"
#include "google/protobuf/duration.pb.h"
#include "proto/descriptors_embedded.h"

namespace squall {

using google::protobuf::Descriptor;
using google::protobuf::DescriptorPool;
using google::protobuf::FieldDescriptor;
using google::protobuf::FileDescriptorProto;
using google::protobuf::OneofDescriptor;

namespace {

constexpr int kWidth = 96;
constexpr int kFieldIndent = 4;

// The schema with its comments, which the generated descriptors do not have.
class Schema {
 public:
  Schema() : pool_(&database_) {
    FileDescriptorProto imported;
    google::protobuf::Duration::descriptor()->file()->CopyTo(&imported);
    database_.Add(imported);
    imported.Clear();
    FileDescriptorProto::descriptor()->file()->CopyTo(&imported);
    database_.Add(imported);
    google::protobuf::FileDescriptorSet files;
    files.ParseFromArray(kDescriptors.data(), static_cast<int>(kDescriptors.size()));
    for (const FileDescriptorProto& file : files.file()) database_.Add(file);
    Collect(pool_.FindMessageTypeByName("squall.Scenario"));
  }

  // In the order of the file, from the scenario inwards.
  const std::vector<const Descriptor*>& messages() const { return messages_; }

  const Descriptor* Find(absl::string_view topic) const {
    for (const Descriptor* type : messages_) {
      if (SnakeCase(type->name()) == topic) return type;
    }
    const auto alias = aliases_.find(std::string(topic));
    return alias == aliases_.end() ? nullptr : alias->second;
  }

  std::vector<std::string> Topics() const {
    std::vector<std::string> topics;
    for (const Descriptor* type : messages_) topics.push_back(SnakeCase(type->name()));
    for (const auto& alias : aliases_) topics.push_back(alias.first);
    return topics;
  }

 private:
  void Collect(const Descriptor* type) {
    if (type == nullptr || std::find(messages_.begin(), messages_.end(), type) != messages_.end()) return;
    messages_.push_back(type);
    for (int i = 0; i < type->field_count(); ++i) {
      const FieldDescriptor& field = *type->field(i);
      if (!IsNested(field)) continue;
      Collect(field.message_type());
      aliases_.emplace(YamlName(field), field.message_type());
    }
  }

  google::protobuf::SimpleDescriptorDatabase database_;
  DescriptorPool pool_;
  std::vector<const Descriptor*> messages_;
  std::map<std::string, const Descriptor*> aliases_;  // by a key that takes it
};

const Schema& TheSchema() {
  static const Schema& schema = *new Schema();
  return schema;
}

template <typename Described>
std::string Comment(const Described& described) {
  google::protobuf::SourceLocation location;
  if (!described.GetSourceLocation(&location)) return "";
  return std::string(
      absl::StripAsciiWhitespace(absl::StrReplaceAll(location.leading_comments, {{"\n", " "}})));
}

// "Makes a peer slow" of "Makes a peer slow: what crosses ...".
std::string FirstClause(const std::string& comment) {
  const size_t end = std::min(comment.find(". "), comment.find(": "));
  return std::string(absl::StripSuffix(comment.substr(0, end), "."));
}

std::string UnitOf(const FieldDescriptor& field) {
  switch (RulesOf(field).unit()) {
    case FieldRules::RATE:
      return "rate";
    case FieldRules::PERCENT:
      return "percentage";
    case FieldRules::BYTES:
      return "size in bytes";
    case FieldRules::BYTE_RATE:
      return "bytes per second";
    default:
      return "";
  }
}

std::string ScalarType(const FieldDescriptor& field) {
  const FieldRules& field_rules = RulesOf(field);
  if (IsDuration(field)) return "duration";
  if (!UnitOf(field).empty()) return UnitOf(field);
  if (!field_rules.refers_to().empty())
    return absl::StrCat("name of ", field_rules.refers_to() == "edge" ? "an " : "a ",
                        field_rules.refers_to());
  if (field_rules.any_host()) return "HOST:PORT or \"*:PORT\"";
  if (field_rules.address()) return "HOST:PORT";
  if (field_rules.url()) return "http:// URL";
  if (field_rules.signal()) return "name of a signal";
  switch (field.cpp_type()) {
    case FieldDescriptor::CPPTYPE_ENUM:
      return Alternatives(EnumWords(*field.enum_type()));
    case FieldDescriptor::CPPTYPE_STRING:
      return field_rules.name() ? "name" : "text";
    case FieldDescriptor::CPPTYPE_BOOL:
      return "true or false";
    case FieldDescriptor::CPPTYPE_DOUBLE:
    case FieldDescriptor::CPPTYPE_FLOAT:
      return "number";
    default:
      return "whole number";
  }
}

std::string TypeOf(const FieldDescriptor& field) {
  if (field.is_map()) return "mapping from names to texts";
  if (IsNested(field)) {
    const std::string topic = SnakeCase(field.message_type()->name());
    const std::string see = absl::StrCat(" (see ", topic, ")");
    if (KeyField(field) != nullptr) return absl::StrCat("mapping from names", see);
    return absl::StrCat(field.is_repeated() ? "list of mappings" : "mapping", see);
  }
  if (RulesOf(field).single()) return absl::StrCat(ScalarType(field), ", or a list of them");
  return absl::StrCat(field.is_repeated() ? "list, each a " : "", ScalarType(field));
}

std::string RangeOf(const FieldRules& field_rules) {
  if (!field_rules.min().empty() && field_rules.min() == field_rules.max())
    return absl::StrCat("always ", field_rules.min());
  if (!field_rules.min().empty() && !field_rules.max().empty()) {
    return absl::StrCat(field_rules.min(), " to ", field_rules.max());
  }
  if (!field_rules.min().empty()) return absl::StrCat(field_rules.min(), " or more");
  return field_rules.max().empty() ? "" : absl::StrCat(field_rules.max(), " or less");
}

// Whether it must be given, and what it is when it is not.
std::string PresenceOf(const FieldDescriptor& field) {
  const FieldRules& field_rules = RulesOf(field);
  if (field_rules.required()) return "required";
  if (!field_rules.default_().empty()) return absl::StrCat("default ", field_rules.default_());
  if (!field_rules.default_note().empty()) return absl::StrCat("default ", field_rules.default_note());
  if (!field_rules.refers_to().empty() && !field_rules.optional_reference()) {
    return absl::StrCat("default the only ", field_rules.refers_to(), " of the file");
  }
  const OneofDescriptor* oneof = field.real_containing_oneof();
  if (oneof != nullptr && MustChooseOne(*oneof)) return "one of these is required";
  return "optional";
}

void AppendEnum(const FieldDescriptor& field, std::string& out) {
  if (field.cpp_type() != FieldDescriptor::CPPTYPE_ENUM) return;
  for (int i = 0; i < field.enum_type()->value_count(); ++i) {
    const auto& value = *field.enum_type()->value(i);
    const std::string comment = Comment(value);
    if (value.number() == 0 || comment.empty()) continue;
    const std::string word = absl::StrCat(EnumWord(value), ": ");
    absl::StrAppend(&out, std::string(kFieldIndent + 2, ' '),
                    Wrapped(word + comment, kFieldIndent + 4, kWidth), "\n");
  }
}

void AppendField(const FieldDescriptor& field, std::string& out) {
  std::vector<std::string> facts = {TypeOf(field)};
  const std::string range = RangeOf(RulesOf(field));
  if (!range.empty()) facts.push_back(range);
  facts.push_back(PresenceOf(field));
  const std::string head = absl::StrFormat("  %-15s ", YamlName(field));
  absl::StrAppend(&out, head, Wrapped(absl::StrJoin(facts, ", "), static_cast<int>(head.size()), kWidth),
                  "\n");
  const std::string comment = Comment(field);
  if (!comment.empty()) {
    absl::StrAppend(&out, std::string(kFieldIndent, ' '), Wrapped(comment, kFieldIndent, kWidth), "\n");
  }
  AppendEnum(field, out);
}

// The field whose value the message is: what an example must begin with. Null for the scenario.
const FieldDescriptor* UserOf(const Descriptor& type) {
  for (const Descriptor* user : TheSchema().messages()) {
    for (int i = 0; i < user->field_count(); ++i) {
      if (user->field(i)->message_type() == &type && IsNested(*user->field(i))) return user->field(i);
    }
  }
  return nullptr;
}

// Its own comment, else that of the field that takes it.
std::string About(const Descriptor& type) {
  const std::string comment = Comment(type);
  const FieldDescriptor* user = UserOf(type);
  return comment.empty() && user != nullptr ? Comment(*user) : comment;
}

// An entry of `faults` or `assert` of this kind, with what each entry of the list takes besides.
std::string ExampleEntry(const Descriptor& type, const FieldDescriptor& user, bool full) {
  std::string entry = absl::StrCat(YamlName(user), ": ", ExampleMapping(type, full));
  const FieldDescriptor* lasts = FindField(*user.containing_type(), "for");
  // A kill is the one fault that happens at an instant.
  if (lasts != nullptr && user.name() != "kill")
    absl::StrAppend(&entry, ", for: ", RulesOf(*lasts).example());
  return absl::StrCat("{", entry, "}");
}

// What stands in a file for a message of this type, on one line.
std::string ExampleOf(const Descriptor& type) {
  const FieldDescriptor* user = UserOf(type);
  if (user == nullptr) {
    return R"(squall: 1
  name: recommend-slow
  services: {orders: {attach: {listen: 8080}}}
  edges: {recommend: {to: "127.0.0.1:9090"}}
  load: {checkout: {http: {url: "http://127.0.0.1:8080/order"}, rate: 200/s}}
  faults: [{latency: {delay: 500ms}, for: 10s}]
  assert: [{timeout: {deadline: 300ms}}, {recovery: {within: 10s}}])";
  }
  const FieldDescriptor* list = UserOf(*user->containing_type());
  if (list != nullptr && list->is_repeated() && user->real_containing_oneof() != nullptr &&
      KeyField(*list) == nullptr) {
    const std::string full = ExampleEntry(type, *user, true);
    // One with many options is shown with what it needs.
    const bool fits = full.size() + list->name().size() + 6 <= kWidth;
    return absl::StrCat(YamlName(*list), ": [", fits ? full : ExampleEntry(type, *user, false), "]");
  }
  const FieldDescriptor* key = KeyField(*user);
  const std::string mapping = ExampleMapping(type, true, key);
  if (key != nullptr) return absl::StrCat(YamlName(*user), ": {", ExampleName(*user), ": ", mapping, "}");
  if (user->is_repeated()) return absl::StrCat(YamlName(*user), ": [", mapping, "]");
  return absl::StrCat(YamlName(*user), ": ", mapping);
}

std::string Reference(const Descriptor& type) {
  std::string out = absl::StrCat(SnakeCase(type.name()), "\n\n  ", Wrapped(About(type), 2, kWidth), "\n\n");
  const FieldDescriptor* user = UserOf(type);
  const FieldDescriptor* key = user == nullptr ? nullptr : KeyField(*user);
  for (int i = 0; i < type.field_count(); ++i) {
    if (type.field(i) != key) AppendField(*type.field(i), out);
  }
  absl::StrAppend(&out, "\nExample\n\n  ", ExampleOf(type), "\n");
  return out;
}

// Types that stand in the oneof of a list's entries: kinds of faults and of assertions.
std::set<const Descriptor*> KindsOf(absl::string_view topic) {
  std::set<const Descriptor*> kinds;
  const Descriptor* type = TheSchema().Find(topic);
  for (int i = 0; type != nullptr && i < type->field_count(); ++i) {
    if (type->field(i)->real_containing_oneof() != nullptr) kinds.insert(type->field(i)->message_type());
  }
  return kinds;
}

std::string Overview() {
  const std::set<const Descriptor*> faults = KindsOf("fault");
  const std::set<const Descriptor*> assertions = KindsOf("assertion");
  std::string scenario_part;
  std::string fault_part;
  std::string assertion_part;
  for (const Descriptor* type : TheSchema().messages()) {
    std::string& part = faults.count(type) > 0       ? fault_part
                        : assertions.count(type) > 0 ? assertion_part
                                                     : scenario_part;
    const std::string head = absl::StrFormat("  %-16s ", SnakeCase(type->name()));
    absl::StrAppend(&part, head, Wrapped(FirstClause(About(*type)), static_cast<int>(head.size()), kWidth),
                    "\n");
  }
  return absl::StrCat("The scenario file\n", scenario_part, "\nFaults\n", fault_part, "\nAssertions\n",
                      assertion_part, "\nsquall explain TOPIC says more.\n");
}

}  // namespace

absl::StatusOr<std::string> Explain(absl::string_view topic) {
  if (topic.empty()) return Overview();
  const Descriptor* type = TheSchema().Find(topic);
  if (type != nullptr) return Reference(*type);
  const std::string nearest = Nearest(topic, TheSchema().Topics());
  return absl::NotFoundError(absl::StrCat("there is no topic ", Quoted(topic), "; ",
                                          nearest.empty()
                                              ? "`squall explain` lists them all"
                                              : absl::StrCat("did you mean ", Quoted(nearest), "?")));
}

std::string ExplainField(const FieldDescriptor& field) {
  const Descriptor* type = TheSchema().Find(SnakeCase(field.containing_type()->name()));
  const FieldDescriptor* commented = type == nullptr ? nullptr : type->FindFieldByNumber(field.number());
  if (commented == nullptr) return "";
  std::vector<std::string> facts = {TypeOf(*commented)};
  const std::string range = RangeOf(RulesOf(*commented));
  if (!range.empty()) facts.push_back(range);
  facts.push_back(PresenceOf(*commented));
  const std::string comment = Comment(*commented);
  std::string text =
      absl::StrCat(absl::StripSuffix(comment, "."), comment.empty() ? "" : " ", "(", absl::StrJoin(facts, ", "), ").");
  const google::protobuf::EnumDescriptor* words = commented->enum_type();
  for (int i = 0; words != nullptr && i < words->value_count(); ++i) {
    const std::string meaning = Comment(*words->value(i));
    if (!meaning.empty()) absl::StrAppend(&text, "\n", EnumWord(*words->value(i)), ": ", meaning);
  }
  return text;
}

std::string ExplainMessage(const Descriptor& type) {
  const Descriptor* commented = TheSchema().Find(SnakeCase(type.name()));
  return commented == nullptr ? "" : About(*commented);
}

}  // namespace squall
