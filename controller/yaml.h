#pragma once

#include <functional>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "controller/reading.h"
#include "controller/yaml_tree.h"
#include "google/protobuf/message.h"

// YAML to proto: one walker over the descriptors reads every message by the rules of proto/options.proto.
namespace squall {

// What stands for the text of a scalar at `path` once references in it are replaced. The error's message says
// what is wrong and what to write instead.
using Substitute =
    std::function<absl::StatusOr<std::string>(absl::string_view path, const std::string& text)>;

// Reads `root` into `message`: units to numbers, defaults for what is left out. What is wrong stays at its
// default, except that lists keep an entry for each mapping in YAML, so that indices agree.
void ReadYaml(const YamlNode& root, const Substitute& substitute, google::protobuf::Message& message,
              Reading& reading);

// The value of `key` in a mapping; null when it is not there or `node` is no mapping.
const YamlNode* Find(const YamlNode* node, absl::string_view key);

}  // namespace squall
