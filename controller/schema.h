#pragma once

#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "google/protobuf/descriptor.h"
#include "proto/options.pb.h"

// The schema of the scenario file, as the descriptors and proto/options.proto say it. Pure functions; they
// work on generated and on dynamic descriptors.
namespace squall {

const FieldRules& RulesOf(const google::protobuf::FieldDescriptor& field);

// The field's name in YAML.
std::string YamlName(const google::protobuf::FieldDescriptor& field);

// Whether it is one google.protobuf.Duration or a list of them: a scalar in YAML.
bool IsDuration(const google::protobuf::FieldDescriptor& field);

// Whether YAML writes a mapping (or a list of mappings) for the field, with the keys of its message type.
bool IsNested(const google::protobuf::FieldDescriptor& field);

// The field of the message's type that takes the key, where YAML writes a repeated message as a mapping; else
// null.
const google::protobuf::FieldDescriptor* KeyField(const google::protobuf::FieldDescriptor& field);

bool MustChooseOne(const google::protobuf::OneofDescriptor& oneof);

// The field with this name in YAML, other than `except`; null when there is none.
const google::protobuf::FieldDescriptor* FindField(const google::protobuf::Descriptor& type,
                                                   absl::string_view key,
                                                   const google::protobuf::FieldDescriptor* except = nullptr);

// The keys that the message takes in YAML, without that of `except`.
std::vector<std::string> YamlKeys(const google::protobuf::Descriptor& type,
                                  const google::protobuf::FieldDescriptor* except = nullptr);

// "response" for DIRECTION_RESPONSE.
std::string EnumWord(const google::protobuf::EnumValueDescriptor& value);

// The words of an enum, without that of its zero, which stands for "not given".
std::vector<std::string> EnumWords(const google::protobuf::EnumDescriptor& type);

// A right value of the field as YAML writes it, in one line: "500ms", "[bin/orders, --port=8080]",
// "{deadline: 300ms}".
std::string ExampleValue(const google::protobuf::FieldDescriptor& field);

// The message as a flow mapping with what must be given, and all else that has an example when `full`.
std::string ExampleMapping(const google::protobuf::Descriptor& type, bool full,
                           const google::protobuf::FieldDescriptor* except = nullptr);

// A name for an entry of a field with a KeyField(): "orders".
std::string ExampleName(const google::protobuf::FieldDescriptor& field);

// "faults" + `latency` = "faults.latency". An empty path is that of the scenario itself.
std::string ChildPath(absl::string_view path, const google::protobuf::FieldDescriptor& field);

// "faults[2]".
std::string ItemPath(absl::string_view path, int index);

}  // namespace squall
