#include "controller/yaml.h"

#include <map>
#include <optional>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "controller/scalars.h"
#include "controller/schema.h"
#include "controller/wording.h"

namespace squall {

using google::protobuf::Descriptor;
using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::OneofDescriptor;
using google::protobuf::Reflection;

namespace {

// More entries than any list of a scenario needs; keeps checks that compare pairs short.
constexpr size_t kMostEntries = 1000;

std::string KindOf(const YamlNode& node) {
  switch (node.kind) {
    case YamlNode::kNull:
      return "nothing";
    case YamlNode::kScalar:
      return Quoted(node.text);
    case YamlNode::kList:
      return "a list";
    case YamlNode::kMapping:
      return "a mapping";
  }
  return "";
}

// The part of a path that a reader of the file sees as its name: "delay", "run", "faults".
std::string Label(const std::string& path) {
  const size_t dot = path.rfind('.');
  const std::string last = dot == std::string::npos ? path : path.substr(dot + 1);
  return last.substr(0, last.find('['));
}

std::string Subject(const std::string& path) {
  if (path.empty()) return "a scenario";
  return absl::EndsWith(path, "]") ? absl::StrCat("an entry of ", Label(path)) : Label(path);
}

class Walker {
 public:
  Walker(const Substitute& substitute, Reading& reading) : substitute_(substitute), reading_(reading) {}

  // `node` null: the file does not mention the message, which then has its defaults only.
  void ReadMessage(const YamlNode* node, const std::string& path, const FieldDescriptor* key_field,
                   Message& message) {
    const Descriptor& type = *message.GetDescriptor();
    if (node != nullptr && node->kind != YamlNode::kMapping && node->kind != YamlNode::kNull) {
      reading_.Report(path, absl::StrCat(Subject(path), " takes a mapping, not ", KindOf(*node),
                                         "; write for example ", Example(path, type, key_field)));
      return;
    }
    Given given;
    if (node != nullptr) ReadEntries(*node, path, key_field, given, message);
    if (exhausted_) return;
    // An unknown key is likely to be the choice.
    for (int i = 0; i < type.oneof_decl_count() && !given.has_unknown && !given.is_merged; ++i)
      CheckChoice(*type.oneof_decl(i), path, given);
    for (int i = 0; i < type.field_count(); ++i) {
      const FieldDescriptor& field = *type.field(i);
      if (&field != key_field && given.fields.count(&field) == 0) LeaveOut(field, path, given, message);
    }
  }

 private:
  // What the file gives of a message.
  struct Given {
    // For the field that a mistyped key must mean without its place.
    std::map<const FieldDescriptor*, std::optional<Position>> fields;
    bool has_unknown = false;  // a key that is none and is like none
    bool is_merged = false;    // a merge key, which may stand for any
  };

  static std::string Example(const std::string& path, const Descriptor& type,
                             const FieldDescriptor* key_field) {
    const std::string mapping = ExampleMapping(type, true, key_field);
    return path.empty() || absl::EndsWith(path, "]") ? mapping : absl::StrCat(Label(path), ": ", mapping);
  }

  // Aliases make a small file large; this counts what they come to.
  bool Spend(Position at) {
    if (exhausted_) return false;
    if (++visited_ <= kMostNodes) return true;
    exhausted_ = true;
    reading_.Add(at, absl::StrCat("with its aliases the file has more than ", kMostNodes,
                                  " values; write fewer of them"));
    return false;
  }

  // A key that is a word and is not in `seen` yet.
  bool ReadKey(const YamlNode& key, const std::string& path, std::map<std::string, Position>& seen) {
    if (key.kind != YamlNode::kScalar) {
      reading_.Add(key.at, absl::StrCat("a key must be a word, not ", KindOf(key), "; write KEY: VALUE"));
      return false;
    }
    const auto [first, is_new] = seen.emplace(key.text, key.at);
    if (is_new) return true;
    reading_.ReportAt(absl::StrCat(path, ".", key.text), key.at,
                      absl::StrCat(Quoted(key.text), " is given twice, first in line ", first->second.line,
                                   "; leave out one of them"));
    return false;
  }

  void ReadEntries(const YamlNode& node, const std::string& path, const FieldDescriptor* key_field,
                   Given& given, Message& message) {
    std::map<std::string, Position> seen;
    for (size_t i = 0; i + 1 < node.items.size(); i += 2) {
      const YamlNode& key = *node.items[i];
      const YamlNode& value = *node.items[i + 1];
      if (!Spend(key.at)) return;
      if (!ReadKey(key, path, seen)) continue;
      const FieldDescriptor* field = FindField(*message.GetDescriptor(), key.text, key_field);
      if (field == nullptr) {
        ReadUnknown(key, value, path, key_field, given, message);
        continue;
      }
      const std::string child = ChildPath(path, *field);
      reading_.Place(child, value.kind == YamlNode::kNull ? key.at : value.at);
      CheckAlone(*field, child, key.at, given);
      given.fields[field] = key.at;
      ReadField(*field, value, child, message);
    }
  }

  // A key that is none. When it is like one, that is what is meant: not missing as well, and read on, to find
  // all that is wrong at once.
  void ReadUnknown(const YamlNode& key, const YamlNode& value, const std::string& path,
                   const FieldDescriptor* key_field, Given& given, Message& message) {
    const Descriptor& type = *message.GetDescriptor();
    if (key.text == "<<") {
      given.is_merged = true;
      return reading_.ReportAt(path, key.at,
                               "merge keys are not part of YAML 1.2; write the keys themselves");
    }
    if (key_field != nullptr && key.text == YamlName(*key_field)) {
      return reading_.Add(
          key.at, absl::StrCat("\"", key.text, "\" is given by the key of this mapping; leave it out"));
    }
    const std::vector<std::string> keys = YamlKeys(type, key_field);
    const FieldDescriptor* meant = FindField(type, Nearest(key.text, keys), key_field);
    const std::string child = meant == nullptr ? absl::StrCat(path, ".", key.text) : ChildPath(path, *meant);
    reading_.ReportAt(child, key.at,
                      absl::StrCat("unknown key ", Quoted(key.text), "; ", Suggestion(key.text, keys)));
    if (meant == nullptr) {
      given.has_unknown = true;
    } else if (given.fields.emplace(meant, std::nullopt).second) {
      reading_.Place(child, value.at);
      ReadField(*meant, value, child, message);
    }
  }

  // Of a oneof only one field may be given.
  void CheckAlone(const FieldDescriptor& field, const std::string& child, Position at, const Given& given) {
    const OneofDescriptor* oneof = field.real_containing_oneof();
    for (int i = 0; oneof != nullptr && i < oneof->field_count(); ++i) {
      const auto other = given.fields.find(oneof->field(i));
      if (oneof->field(i) == &field || other == given.fields.end() || !other->second.has_value()) continue;
      reading_.ReportAt(child, at,
                        absl::StrCat(YamlName(field), " and ", YamlName(*oneof->field(i)),
                                     " exclude each other; leave out one of them"));
    }
  }

  void CheckChoice(const OneofDescriptor& oneof, const std::string& path, const Given& given) {
    if (!MustChooseOne(oneof)) return;
    std::vector<std::string> words;
    for (int i = 0; i < oneof.field_count(); ++i) {
      if (given.fields.count(oneof.field(i)) > 0) return;
      words.push_back(absl::StrCat(YamlName(*oneof.field(i)), ": ", ExampleValue(*oneof.field(i))));
    }
    reading_.ReportAt(
        absl::StrCat(path, ".", oneof.name()), reading_.At(path),
        absl::StrCat(words.size() > 1 ? "one of these is missing; write " : "a key is missing; write ",
                     Alternatives(words)));
  }

  void LeaveOut(const FieldDescriptor& field, const std::string& path, const Given& given, Message& message) {
    const FieldRules& field_rules = RulesOf(field);
    const std::string child = ChildPath(path, field);
    if (field_rules.required()) {
      if (given.is_merged) return;
      reading_.ReportAt(child, reading_.At(path),
                        absl::StrCat(YamlName(field), " is missing; write for example ", YamlName(field),
                                     ": ", ExampleValue(field)));
    } else if (field_rules.always()) {
      ReadMessage(nullptr, child, nullptr, *message.GetReflection()->MutableMessage(&message, &field));
    } else if (!field_rules.default_().empty() && !field.is_repeated() &&
               field.real_containing_oneof() == nullptr) {
      const absl::StatusOr<ScalarValue> value = ParseScalar(field, field_rules.default_());
      if (value.ok()) StoreScalar(field, *value, message);
    }
  }

  void ReadField(const FieldDescriptor& field, const YamlNode& value, const std::string& path,
                 Message& message) {
    const Reflection& reflection = *message.GetReflection();
    const FieldDescriptor* key_field = KeyField(field);
    if (field.is_map()) {
      if (IsMapping(field, value, path)) ReadMap(field, value, path, message);
    } else if (key_field != nullptr) {
      if (IsMapping(field, value, path)) ReadNamed(field, *key_field, value, path, message);
    } else if (field.is_repeated()) {
      ReadList(field, value, path, message);
    } else if (IsNested(field)) {
      ReadMessage(&value, path, nullptr, *reflection.MutableMessage(&message, &field));
    } else {
      const std::optional<ScalarValue> scalar = ReadScalar(field, value, path);
      if (scalar.has_value()) StoreScalar(field, *scalar, message);
    }
  }

  bool IsMapping(const FieldDescriptor& field, const YamlNode& value, const std::string& path) {
    if (value.kind == YamlNode::kMapping) return CheckSize(value.items.size() / 2, path);
    reading_.Report(path, absl::StrCat(YamlName(field), " takes a mapping from names, not ", KindOf(value),
                                       "; write for example ", YamlName(field), ": ", ExampleValue(field)));
    return false;
  }

  bool CheckSize(size_t entries, const std::string& path) {
    if (entries <= kMostEntries) return true;
    reading_.Report(path,
                    absl::StrCat(Label(path), " has ", entries, " entries; write at most ", kMostEntries));
    return false;
  }

  void ReadMap(const FieldDescriptor& field, const YamlNode& value, const std::string& path,
               Message& message) {
    const Descriptor& entry_type = *field.message_type();
    std::map<std::string, Position> seen;
    for (size_t i = 0; i + 1 < value.items.size(); i += 2) {
      const YamlNode& key = *value.items[i];
      const YamlNode& entry = *value.items[i + 1];
      if (!Spend(key.at)) return;
      if (!ReadKey(key, path, seen)) continue;
      const std::string child = absl::StrCat(path, ".", key.text);
      reading_.Place(child, entry.kind == YamlNode::kNull ? key.at : entry.at);
      if (HasNul(key.text)) {
        reading_.Report(child, "the key contains a NUL character; leave it out");
        continue;
      }
      const std::optional<ScalarValue> scalar = ReadScalar(*entry_type.map_value(), entry, child);
      const absl::StatusOr<ScalarValue> name = ParseScalar(*entry_type.map_key(), key.text);
      if (!scalar.has_value() || !name.ok()) continue;
      Message* added = message.GetReflection()->AddMessage(&message, &field);
      StoreScalar(*entry_type.map_key(), *name, *added);
      StoreScalar(*entry_type.map_value(), *scalar, *added);
    }
  }

  void ReadNamed(const FieldDescriptor& field, const FieldDescriptor& key_field, const YamlNode& value,
                 const std::string& path, Message& message) {
    std::map<std::string, Position> seen;
    int index = 0;
    for (size_t i = 0; i + 1 < value.items.size(); i += 2) {
      const YamlNode& key = *value.items[i];
      const YamlNode& entry = *value.items[i + 1];
      if (!Spend(key.at)) return;
      if (!ReadKey(key, path, seen)) continue;
      const std::string child = ItemPath(path, index++);
      reading_.Place(child, key.at);
      reading_.Place(ChildPath(child, key_field), key.at);
      Message* added = message.GetReflection()->AddMessage(&message, &field);
      const absl::StatusOr<ScalarValue> name = ParseScalar(key_field, key.text);
      if (name.ok()) {
        StoreScalar(key_field, *name, *added);
      } else {
        reading_.Report(ChildPath(child, key_field), std::string(name.status().message()));
      }
      ReadMessage(&entry, child, &key_field, *added);
    }
  }

  void ReadList(const FieldDescriptor& field, const YamlNode& value, const std::string& path,
                Message& message) {
    if (RulesOf(field).single() && value.kind == YamlNode::kScalar) {
      const std::optional<ScalarValue> scalar = ReadScalar(field, value, path);
      if (scalar.has_value()) StoreScalar(field, *scalar, message);
      return;
    }
    if (value.kind != YamlNode::kList) {
      const std::string item = value.kind == YamlNode::kScalar && !IsNested(field)
                                   ? absl::StrCat("[", Quoted(value.text), "]")
                                   : ExampleValue(field);
      return reading_.Report(path, absl::StrCat(YamlName(field), " takes a list, not ", KindOf(value),
                                                "; write for example ", YamlName(field), ": ", item));
    }
    if (!CheckSize(value.items.size(), path)) return;
    for (size_t i = 0; i < value.items.size(); ++i) {
      const YamlNode& item = *value.items[i];
      if (!Spend(item.at)) return;
      const std::string child = ItemPath(path, static_cast<int>(i));
      reading_.Place(child, item.at);
      if (IsNested(field)) {
        ReadMessage(&item, child, nullptr, *message.GetReflection()->AddMessage(&message, &field));
      } else {
        const std::optional<ScalarValue> scalar = ReadScalar(field, item, child);
        if (scalar.has_value()) StoreScalar(field, *scalar, message);
      }
    }
  }

  static bool HasNul(const std::string& text) { return text.find('\0') != std::string::npos; }

  std::optional<ScalarValue> ReadScalar(const FieldDescriptor& field, const YamlNode& node,
                                        const std::string& path) {
    if (node.kind == YamlNode::kNull) {
      const bool text = field.cpp_type() == FieldDescriptor::CPPTYPE_STRING;
      reading_.Report(path, absl::StrCat(Label(path), " has no value; write ",
                                         text ? "\"\" for an empty text, or leave it out"
                                              : absl::StrCat("for example ", OneExample(field))));
      return std::nullopt;
    }
    if (node.kind != YamlNode::kScalar) {
      reading_.Report(path, absl::StrCat(Label(path), " takes one value, not ", KindOf(node),
                                         "; write for example ", OneExample(field)));
      return std::nullopt;
    }
    if (HasNul(node.text)) {
      reading_.Report(path, absl::StrCat(Label(path), " contains a NUL character; leave it out"));
      return std::nullopt;
    }
    absl::StatusOr<std::string> text = substitute_(path, node.text);
    if (!text.ok()) {
      reading_.Report(path, std::string(text.status().message()));
      return std::nullopt;
    }
    if (absl::StrContains(*text, "${secret.") && !TakesSecret(field)) {
      reading_.Report(path,
                      absl::StrCat("a secret cannot stand in ", Label(path),
                                   ", which is checked and shown; write the value, or use ${vars.NAME}"));
      return std::nullopt;
    }
    absl::StatusOr<ScalarValue> value = ParseScalar(field, *text);
    if (!value.ok()) {
      const std::string from = node.text == *text ? "" : absl::StrCat(" (from ", Quoted(node.text), ")");
      reading_.Report(path, absl::StrCat(Label(path), from, ": ", value.status().message()));
      return std::nullopt;
    }
    return *std::move(value);
  }

  static std::string OneExample(const FieldDescriptor& field) {
    std::string example = ExampleValue(field);
    if (!field.is_repeated()) return example;
    const std::string inner = example.substr(1, example.size() - 2);
    return inner.substr(0, inner.find(','));
  }

  static bool TakesSecret(const FieldDescriptor& field) {
    const FieldRules& field_rules = RulesOf(field);
    return field.cpp_type() == FieldDescriptor::CPPTYPE_STRING && !field_rules.name() &&
           !field_rules.address() && !field_rules.signal() && field_rules.refers_to().empty();
  }

  const Substitute& substitute_;
  Reading& reading_;
  int visited_ = 0;
  bool exhausted_ = false;
};

}  // namespace

void ReadYaml(const YamlNode& root, const Substitute& substitute, Message& message, Reading& reading) {
  reading.Place("", root.at);
  Walker(substitute, reading).ReadMessage(&root, "", nullptr, message);
}

const YamlNode* Find(const YamlNode* node, absl::string_view key) {
  if (node == nullptr || node->kind != YamlNode::kMapping) return nullptr;
  for (size_t i = 0; i + 1 < node->items.size(); i += 2) {
    if (node->items[i]->kind == YamlNode::kScalar && node->items[i]->text == key) return node->items[i + 1];
  }
  return nullptr;
}

}  // namespace squall
