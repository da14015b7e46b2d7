#include "controller/yaml_tree.h"

#include <cstddef>
#include <exception>
#include <map>
#include <sstream>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_replace.h"
#include "controller/wording.h"
#include "yaml-cpp/depthguard.h"
#include "yaml-cpp/eventhandler.h"
#include "yaml-cpp/exceptions.h"
#include "yaml-cpp/parser.h"

namespace squall {
namespace {

constexpr absl::string_view kLeast =
    "the least is squall, name, services, edges, load, faults and assert (see `squall explain`)";

// Ends the parse; what is wrong is already among the mistakes.
struct Stop {};

Position PositionOf(const YAML::Mark& mark) {
  // The parser has no place for some of its errors.
  if (mark.is_null()) return Position();
  return {mark.line + 1, mark.column + 1};
}

// Builds the tree from the parser's events. Unlike the parser's own, it counts while it builds, keeps the
// place of every value, and shares what is aliased.
class TreeBuilder : public YAML::EventHandler {
 public:
  explicit TreeBuilder(YamlTree& tree) : tree_(tree) {}

  void OnDocumentStart(const YAML::Mark& mark) override {
    if (tree_.root == nullptr) return;
    Fail(PositionOf(mark), "a second document begins here; put it into a file of its own");
  }
  void OnDocumentEnd() override {}

  void OnNull(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    Add(New(YamlNode::kNull, mark, "", anchor));
  }
  void OnScalar(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                const std::string& value) override {
    YamlNode* node = New(YamlNode::kScalar, mark, tag, anchor);
    node->text = value;
    Add(node);
  }
  void OnAlias(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    const auto found = anchors_.find(anchor);
    if (found == anchors_.end()) Fail(PositionOf(mark), "the alias is not known; write the value itself");
    if (found->second->open) Fail(PositionOf(mark), "the alias contains itself; write the value itself");
    Count(PositionOf(mark));
    Add(found->second);
  }
  void OnSequenceStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                       YAML::EmitterStyle::value) override {
    Open(New(YamlNode::kList, mark, tag, anchor));
  }
  void OnSequenceEnd() override { Close(); }
  void OnMapStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                  YAML::EmitterStyle::value) override {
    Open(New(YamlNode::kMapping, mark, tag, anchor));
  }
  void OnMapEnd() override { Close(); }

 private:
  [[noreturn]] void Fail(Position at, std::string message) {
    tree_.mistakes.push_back({at.line, at.column, std::move(message)});
    throw Stop();
  }

  void Count(Position at) {
    if (++count_ <= kMostNodes) return;
    Fail(at, absl::StrCat("the file has more than ", kMostNodes, " values; split it into several scenarios"));
  }

  YamlNode* New(YamlNode::Kind kind, const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor) {
    const Position at = PositionOf(mark);
    Count(at);
    // "?" and "!" are what the parser says of plain and quoted values without a tag.
    if (!tag.empty() && tag != "?" && tag != "!") {
      tree_.mistakes.push_back(
          {at.line, at.column, absl::StrCat("the tag ", Quoted(tag), " has no meaning here; leave it out")});
    }
    YamlNode& node = tree_.nodes.emplace_back();
    node.kind = kind;
    node.at = at;
    if (anchor != 0) anchors_[anchor] = &node;
    return &node;
  }

  void Add(const YamlNode* node) {
    if (open_.empty()) {
      tree_.root = node;
    } else {
      open_.back()->items.push_back(node);
    }
  }

  void Open(YamlNode* node) {
    Add(node);
    node->open = true;
    open_.push_back(node);
  }

  void Close() {
    open_.back()->open = false;
    open_.pop_back();
  }

  YamlTree& tree_;
  std::vector<YamlNode*> open_;  // from the root to the innermost
  std::map<YAML::anchor_t, YamlNode*> anchors_;
  int count_ = 0;
};

// The length of the UTF-8 sequence at `at`; 0 when it is not one (RFC 3629, so no surrogates and nothing
// overlong).
size_t Utf8Length(const std::string& text, size_t at) {
  const auto byte = [&](size_t i) {
    return at + i < text.size() ? static_cast<unsigned char>(text[at + i]) : 0u;
  };
  const auto continues = [&](size_t i) { return (byte(i) & 0xC0u) == 0x80u; };
  const unsigned first = byte(0);
  if (first < 0x80) return 1;
  if (first >= 0xC2 && first <= 0xDF) return continues(1) ? 2 : 0;
  if (first >= 0xE0 && first <= 0xEF) {
    const bool overlong = first == 0xE0 && byte(1) < 0xA0;
    const bool surrogate = first == 0xED && byte(1) > 0x9F;
    return continues(1) && continues(2) && !overlong && !surrogate ? 3 : 0;
  }
  if (first >= 0xF0 && first <= 0xF4) {
    const bool overlong = first == 0xF0 && byte(1) < 0x90;
    const bool beyond = first == 0xF4 && byte(1) > 0x8F;
    return continues(1) && continues(2) && continues(3) && !overlong && !beyond ? 4 : 0;
  }
  return 0;
}

// What no scenario may contain, before any parser sees it.
std::vector<Mistake> CheckBytes(const std::string& text) {
  if (text.size() > static_cast<size_t>(kMostBytes)) {
    return {{1, 1, "the file is larger than 1 MiB; a scenario is a small file, so is this the right one?"}};
  }
  Position at;
  for (size_t i = 0; i < text.size();) {
    const auto byte = static_cast<unsigned char>(text[i]);
    const size_t length = Utf8Length(text, i);
    if (length == 0) {
      return {{at.line, at.column,
               absl::StrFormat("byte 0x%02x is not UTF-8; save the file in the UTF-8 encoding", byte)}};
    }
    if (byte < ' ' && byte != '\n' && byte != '\r' && byte != '\t') {
      return {{at.line, at.column, absl::StrFormat("control character 0x%02x; remove it", byte)}};
    }
    i += length;
    at = byte == '\n' ? Position{at.line + 1, 1} : Position{at.line, at.column + static_cast<int>(length)};
  }
  return {};
}

absl::string_view LineOf(const std::string& text, int line) {
  absl::string_view rest = text;
  for (int i = 1; i < line; ++i) {
    const size_t end = rest.find('\n');
    if (end == absl::string_view::npos) return "";
    rest.remove_prefix(end + 1);
  }
  return rest.substr(0, rest.find('\n'));
}

// What to do about an error of the parser, in whose words it is told.
absl::string_view Advice(absl::string_view error, absl::string_view line) {
  struct Rule {
    absl::string_view error;
    absl::string_view advice;
  };
  static const Rule kRules[] = {
      {YAML::ErrorMsg::TAB_IN_INDENTATION, "indent with spaces, not tabs"},
      {YAML::ErrorMsg::END_OF_MAP_FLOW, "close every { with a }, and put a comma between its entries"},
      {YAML::ErrorMsg::END_OF_SEQ_FLOW, "close every [ with a ], and put a comma between its entries"},
      {YAML::ErrorMsg::END_OF_MAP,
       "a key needs a colon and a space after it, and the keys of one mapping the same indentation"},
      {YAML::ErrorMsg::END_OF_SEQ, "give the dashes of one list the same indentation"},
      {YAML::ErrorMsg::EOF_IN_SCALAR, "close the quotes"},
      {YAML::ErrorMsg::MAP_VALUE,
       "put a text with \": \" in it in quotes, and give the keys of one mapping the same indentation"},
      {YAML::ErrorMsg::FLOW_END, "there is one closing bracket too many"},
      {YAML::ErrorMsg::UNKNOWN_ANCHOR, "write the value itself"},
      {YAML::ErrorMsg::ALIAS_NOT_FOUND, "put a text that begins with * in quotes"},
      {YAML::ErrorMsg::ANCHOR_NOT_FOUND, "put a text that begins with & in quotes"},
      {YAML::ErrorMsg::INVALID_ESCAPE, "in double quotes write \\\\ for a backslash"},
      {YAML::ErrorMsg::BLOCK_ENTRY, "put a list on lines of its own, below its key"},
  };
  if (line.substr(0, line.find_first_not_of(" \t")).find('\t') != absl::string_view::npos) {
    return "indent with spaces, not tabs";
  }
  const size_t reference = line.find("${");
  if (reference != absl::string_view::npos &&
      line.substr(0, reference).find_first_of("{[") != absl::string_view::npos) {
    return "within { } and [ ] put ${...} in double quotes";
  }
  for (const Rule& rule : kRules) {
    if (absl::StartsWith(error, rule.error)) return rule.advice;
  }
  return "look at the indentation, brackets and quotes here and on the line before";
}

Mistake SyntaxMistake(const YAML::Exception& error, const std::string& text) {
  const Position at = PositionOf(error.mark);
  return {at.line, at.column,
          absl::StrCat("not YAML: ", absl::StrReplaceAll(error.msg, {{"\n", " "}}), "; ",
                       Advice(error.msg, LineOf(text, at.line)))};
}

}  // namespace

YamlTree ParseYaml(const std::string& text) {
  YamlTree tree;
  tree.mistakes = CheckBytes(text);
  if (!tree.mistakes.empty()) return tree;
  TreeBuilder builder(tree);
  bool complete = false;
  try {
    std::istringstream in(text);
    YAML::Parser parser(in);
    while (parser.HandleNextDocument(builder)) {
    }
    complete = true;
  } catch (const Stop&) {
    // Already among the mistakes.
  } catch (const YAML::DeepRecursion& error) {
    const Position at = PositionOf(error.mark);
    tree.mistakes.push_back(
        {at.line, at.column, "nested too deep; a scenario needs no more than eight levels"});
  } catch (const YAML::Exception& error) {
    tree.mistakes.push_back(SyntaxMistake(error, text));
  } catch (const std::exception& error) {
    tree.mistakes.push_back({1, 1, absl::StrCat("not YAML: ", error.what(), "; write it more simply")});
  }
  if (!complete) {
    tree.root = nullptr;
  } else if (tree.root == nullptr || tree.root->kind == YamlNode::kNull) {
    tree.root = nullptr;
    tree.mistakes.push_back({1, 1, absl::StrCat("the file is empty; ", kLeast)});
  }
  return tree;
}

}  // namespace squall
