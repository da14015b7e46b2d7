#pragma once

#include <deque>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "controller/mistake.h"

namespace squall {

// Line and column start at 1; columns count bytes.
struct Position {
  int line = 1;
  int column = 1;
};

// One value of a YAML document.
struct YamlNode {
  enum Kind { kNull, kScalar, kList, kMapping };
  Kind kind = kNull;
  Position at;
  std::string text;  // of a scalar
  // A list: its items. A mapping: key, value, key, value ... Nodes that are aliased are shared; there are no
  // cycles.
  std::vector<const YamlNode*> items;
  bool open = false;  // still being read
};

// A YAML document. Owns its nodes, which stay where they are when it is moved. Not thread-safe.
struct YamlTree {
  std::deque<YamlNode> nodes;
  const YamlNode* root = nullptr;  // null: there are mistakes and nothing to go on with
  std::vector<Mistake> mistakes;
};

// Reads YAML of exactly one document. Whatever is given, this ends soon, within bounded memory, and throws
// nothing: text is at most kMostBytes long, valid UTF-8 and nested no deeper than the parser's own guard
// allows, and documents have at most kMostNodes values.
YamlTree ParseYaml(const std::string& text);

inline constexpr int kMostBytes = 1 << 20;
inline constexpr int kMostNodes = 50'000;

}  // namespace squall
