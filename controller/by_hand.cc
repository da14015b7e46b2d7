#include "controller/by_hand.h"

#include <algorithm>
#include <set>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/strip.h"
#include "controller/scenario.h"
#include "controller/schema.h"
#include "controller/wording.h"
#include "controller/yaml.h"

namespace squall {

using google::protobuf::Descriptor;
using google::protobuf::FieldDescriptor;

namespace {

// Lines that no file has: what a flag gives stands in a line of its own, numbered from here.
constexpr int kFirstFlagLine = 1 << 24;
// How the service and the edge are called where neither a flag nor a file names them.
constexpr char kService[] = "target";
constexpr char kEdge[] = "dependency";
// Keys of a service that squall runs, which by hand it does not.
constexpr const char* kOfRun[] = {"run", "env", "cwd", "user", "ready"};

const FieldDescriptor* Field(const Descriptor& type, const std::string& name) { return type.FindFieldByName(name); }

// The field of the fault that names a service or an edge; null: it acts on none.
const FieldDescriptor* ReferenceTo(const FieldDescriptor& kind, absl::string_view noun) {
  for (int i = 0; i < kind.message_type()->field_count(); ++i) {
    const FieldDescriptor* field = kind.message_type()->field(i);
    if (RulesOf(*field).refers_to() == noun && !field->is_repeated()) return field;
  }
  return nullptr;
}

HandFlag MakeFlag(HandFlag::Of of, const FieldDescriptor* field) {
  return {of, absl::StrReplaceAll(YamlName(*field), {{"_", "-"}}), field};
}

// The document that the flags, and the file where there is one, come to.
class Document {
 public:
  explicit Document(const HandRequest& request) : request_(request), flags_(HandFlags(*request.kind)) {
    if (!request.text.empty()) tree_ = ParseYaml(request.text);
    file_ = tree_.root;
  }

  const YamlTree& tree() const { return tree_; }
  bool HasFile() const { return !request_.text.empty(); }
  // The file is no mapping, or not even YAML: its own mistakes say so.
  bool FileIsUnreadable() const { return HasFile() && (file_ == nullptr || file_->kind != YamlNode::kMapping); }

  // Writes the document in which the fault acts on `service` over `edge`: where a file has them, the flags are put in there.
  void Compose(const std::string& service, const std::string& edge) {
    YamlNode* root = New(YamlNode::kMapping);
    const YamlNode* version = Find(file_, "squall");
    Put(root, "squall", version == nullptr ? Scalar("1") : version);
    Put(root, "name", Scalar(absl::StrCat(YamlName(*request_.kind), "-by-hand")));
    for (const char* key : {"vars", "agents"}) {
      if (const YamlNode* kept = Find(file_, key)) Put(root, key, kept);
    }
    Put(root, "services", WithFlags(Find(file_, "services"), service, HandFlag::kService));
    const YamlNode* edges = Find(file_, "edges");
    if (ActsOnEdge()) edges = WithFlags(edges, edge, HandFlag::kEdge);
    if (edges != nullptr) Put(root, "edges", edges);
    YamlNode* fault = New(YamlNode::kMapping);
    YamlNode* kind = New(YamlNode::kMapping);
    PutFlags(kind, HandFlag::kFault);
    Put(fault, YamlName(*request_.kind), kind);
    PutFlags(fault, HandFlag::kTiming);
    YamlNode* faults = New(YamlNode::kList);
    faults->items.push_back(fault);
    Put(root, "faults", faults);
    tree_.root = root;
  }

  // Some faults act on an edge unless something else is given.
  bool ActsOnEdge() const {
    const FieldDescriptor* edge = ReferenceTo(*request_.kind, "edge");
    return edge != nullptr && (RulesOf(*edge).unless().empty() || request_.values.count(RulesOf(*edge).unless()) == 0);
  }

  bool Given(HandFlag::Of of) const {
    return std::any_of(flags_.begin(), flags_.end(), [&](const HandFlag& flag) {
      return flag.of == of && request_.values.count(flag.name) > 0;
    });
  }

  // The mistake in the words of who wrote flags.
  std::string InFlags(const Mistake& mistake) const {
    if (mistake.line < kFirstFlagLine) {
      return absl::StrCat(request_.path, ":", mistake.line, ":", mistake.column, ": ", mistake.message);
    }
    std::string message = mistake.message;
    std::string front;
    const size_t index = static_cast<size_t>(mistake.line - kFirstFlagLine);
    if (index < flags_.size()) {
      front = absl::StrCat("--", flags_[index].name, ": ");
      message = std::string(absl::StripPrefix(message, absl::StrCat(YamlName(*flags_[index].field), ": ")));
    }
    for (const HandFlag& flag : flags_) Reword(flag, message);
    return absl::StrCat(front, message);
  }

 private:
  // "delay is missing; write for example delay: 500ms" is for files.
  static void Reword(const HandFlag& flag, std::string& message) {
    const std::string key = YamlName(*flag.field);
    const std::string dashed = absl::StrCat("--", flag.name);
    if (absl::StartsWith(message, absl::StrCat(key, " is missing"))) message.replace(0, key.size(), dashed);
    const std::string in_yaml = absl::StrCat(" ", key, ": ");
    for (size_t at = message.find(in_yaml); at != std::string::npos; at = message.find(in_yaml, at + 1)) {
      message.replace(at, in_yaml.size(), absl::StrCat(" ", dashed, " "));
      const size_t value = at + dashed.size() + 2;
      const size_t end = message.find(']', value);
      if (message.compare(value, 1, "[") != 0 || end == std::string::npos) continue;
      message.erase(end, 1);
      message.erase(value, 1);
    }
    message = absl::StrReplaceAll(message, {{"{NAME: VALUE}", "NAME=VALUE"}});
  }

  YamlNode* New(YamlNode::Kind kind) {
    YamlNode& node = tree_.nodes.emplace_back();
    node.kind = kind;
    node.at.line = kFirstFlagLine + static_cast<int>(flags_.size());
    return &node;
  }
  YamlNode* Scalar(const std::string& text) {
    YamlNode* node = New(YamlNode::kScalar);
    node->text = text;
    return node;
  }
  void Put(YamlNode* mapping, const std::string& key, const YamlNode* value) {
    YamlNode* key_node = Scalar(key);
    key_node->at = value->at;
    mapping->items.push_back(key_node);
    mapping->items.push_back(value);
  }

  // A mapping of "NAME=VALUE" each. What is no such pair stays as it is, for the reader to say so.
  YamlNode* Pairs(const std::vector<std::string>& texts, Position at) {
    YamlNode* pairs = New(YamlNode::kMapping);
    pairs->at = at;
    for (const std::string& text : texts) {
      const size_t equals = text.find('=');
      YamlNode* value = Scalar(text.substr(equals == std::string::npos ? 0 : equals + 1));
      value->at = at;
      if (equals == std::string::npos) return value;
      Put(pairs, text.substr(0, equals), value);
    }
    return pairs;
  }

  void PutFlags(YamlNode* mapping, HandFlag::Of of) {
    for (size_t i = 0; i < flags_.size(); ++i) {
      const auto given = request_.values.find(flags_[i].name);
      if (flags_[i].of != of || given == request_.values.end()) continue;
      const Position at = {kFirstFlagLine + static_cast<int>(i), 1};
      if (flags_[i].field->is_map()) {
        Put(mapping, YamlName(*flags_[i].field), Pairs(given->second, at));
        continue;
      }
      YamlNode* value = New(YamlNode::kList);
      value->at = at;
      for (const std::string& text : given->second) {
        YamlNode* scalar = Scalar(text);
        scalar->at = at;
        value->items.push_back(scalar);
      }
      const bool is_list = flags_[i].field->is_repeated();
      Put(mapping, YamlName(*flags_[i].field), is_list ? value : value->items.front());
    }
  }

  // The entries of the file, with what the flags say in the place of what the file says of `name`.
  const YamlNode* WithFlags(const YamlNode* entries, const std::string& name, HandFlag::Of of) {
    YamlNode* one = New(YamlNode::kMapping);
    const YamlNode* before = Find(entries, name);
    const bool attached = of == HandFlag::kService && (!HasFile() || Given(HandFlag::kAttach));
    if (of == HandFlag::kService) PutFlags(one, HandFlag::kService);
    if (of == HandFlag::kEdge) PutFlags(one, HandFlag::kEdge);
    if (attached) {
      YamlNode* attach = New(YamlNode::kMapping);
      PutFlags(attach, HandFlag::kAttach);
      Put(one, "attach", attach);
    }
    const auto is_of_run = [](const std::string& key) {
      return std::any_of(std::begin(kOfRun), std::end(kOfRun), [&](const char* of_run) { return key == of_run; });
    };
    for (size_t i = 0; before != nullptr && i + 1 < before->items.size(); i += 2) {
      const YamlNode& key = *before->items[i];
      if (Find(one, key.text) != nullptr || (attached && is_of_run(key.text))) continue;
      one->items.push_back(before->items[i]);
      one->items.push_back(before->items[i + 1]);
    }
    if (before != nullptr) one->at = before->at;
    if (!HasFile()) {
      YamlNode* only = New(YamlNode::kMapping);
      Put(only, name, one);
      return only;
    }
    // What the file does not have is left to the reader to find.
    if (before == nullptr) return entries == nullptr ? New(YamlNode::kMapping) : entries;
    YamlNode* all = New(YamlNode::kMapping);
    all->at = entries->at;
    for (size_t i = 0; i + 1 < entries->items.size(); i += 2) {
      all->items.push_back(entries->items[i]);
      all->items.push_back(entries->items[i + 1] == before ? one : entries->items[i + 1]);
    }
    return all;
  }

  const HandRequest& request_;
  const std::vector<HandFlag> flags_;
  YamlTree tree_;
  const YamlNode* file_ = nullptr;
};

// On what the only fault of the scenario acts; empty where that is nothing, or not known.
struct ActsOn {
  std::string service, edge;
};

ActsOn Target(const Scenario& scenario, const FieldDescriptor& kind) {
  ActsOn target;
  if (scenario.faults_size() != 1) return target;
  const google::protobuf::Message& fault = scenario.faults(0).GetReflection()->GetMessage(scenario.faults(0), &kind);
  const auto named = [&](absl::string_view noun) -> std::string {
    const FieldDescriptor* field = ReferenceTo(kind, noun);
    return field == nullptr ? "" : fault.GetReflection()->GetString(fault, field);
  };
  target.service = named("service");
  target.edge = named("edge");
  for (const Edge& edge : scenario.edges()) {
    if (edge.name() == target.edge && target.service.empty()) target.service = edge.from();
  }
  return target;
}

// Leaves nothing in the scenario that the fault does not act on: it is not held, redirected or watched either.
void Prune(Scenario& scenario, const ActsOn& target) {
  const auto keep = [](auto& list, const std::string& name) {
    for (int i = list.size() - 1; i >= 0; --i) {
      if (list[i].name() != name) list.DeleteSubrange(i, 1);
    }
  };
  keep(*scenario.mutable_services(), target.service);
  keep(*scenario.mutable_edges(), target.edge);
  scenario.clear_vars();
}

std::string GivenOr(const HandRequest& request, const FieldDescriptor* reference, const char* otherwise) {
  const auto given = reference == nullptr ? request.values.end() : request.values.find(YamlName(*reference));
  return given == request.values.end() || given->second.empty() ? otherwise : given->second.front();
}

}  // namespace

std::vector<const FieldDescriptor*> FaultKinds() {
  const google::protobuf::OneofDescriptor& kinds = *Fault::descriptor()->FindOneofByName("kind");
  std::vector<const FieldDescriptor*> fields;
  for (int i = 0; i < kinds.field_count(); ++i) {
    if (ReferenceTo(*kinds.field(i), "load") == nullptr) fields.push_back(kinds.field(i));
  }
  return fields;
}

bool NeedsALoad(absl::string_view kind) {
  const google::protobuf::OneofDescriptor& kinds = *Fault::descriptor()->FindOneofByName("kind");
  for (int i = 0; i < kinds.field_count(); ++i) {
    if (YamlName(*kinds.field(i)) == kind) return ReferenceTo(*kinds.field(i), "load") != nullptr;
  }
  return false;
}

std::vector<HandFlag> HandFlags(const FieldDescriptor& kind) {
  std::vector<HandFlag> flags;
  for (int i = 0; i < kind.message_type()->field_count(); ++i) {
    const FieldDescriptor* field = kind.message_type()->field(i);
    if (!IsNested(*field)) flags.push_back(MakeFlag(HandFlag::kFault, field));
  }
  flags.push_back(MakeFlag(HandFlag::kTiming, Field(*Fault::descriptor(), "for")));
  const google::protobuf::OneofDescriptor& by = *Attach::descriptor()->FindOneofByName("by");
  for (int i = 0; i < by.field_count(); ++i) flags.push_back(MakeFlag(HandFlag::kAttach, by.field(i)));
  if (ReferenceTo(kind, "edge") != nullptr) {
    for (const char* name : {"to", "protocol", "relay_at", "existing"}) {
      // A fault's own field of the same name is meant.
      if (Field(*kind.message_type(), name) != nullptr) continue;
      flags.push_back(MakeFlag(HandFlag::kEdge, Field(*Edge::descriptor(), name)));
    }
  }
  // Only where queries are answered does it matter which server the service asks.
  if (kind.number() == Fault::kDnsFieldNumber) {
    for (const char* name : {"nameserver", "resolver_at"}) {
      flags.push_back(MakeFlag(HandFlag::kService, Field(*Service::descriptor(), name)));
    }
  }
  return flags;
}

HandScenario ReadByHand(const HandRequest& request) {
  HandScenario hand;
  for (const HandFlag& flag : HandFlags(*request.kind)) {
    const auto given = request.values.find(flag.name);
    if (given == request.values.end() || flag.field->is_repeated() || given->second.size() == 1) continue;
    hand.mistakes.push_back(absl::StrCat("--", flag.name, " is given ", given->second.size(), " times; write it once"));
  }
  if (!hand.mistakes.empty()) return hand;

  Document document(request);
  ActsOn target = {GivenOr(request, ReferenceTo(*request.kind, "service"), kService),
                   GivenOr(request, ReferenceTo(*request.kind, "edge"), kEdge)};
  if (document.HasFile() && !document.FileIsUnreadable()) {
    // Read once to find which of the file's services and edges is meant, and then with the flags put in there.
    document.Compose("", "");
    target = Target(ReadScenario(document.tree(), request.vars, /*must_assert=*/false).scenario, *request.kind);
  }
  if (!document.FileIsUnreadable()) document.Compose(target.service, target.edge);
  const LoadedScenario loaded = ReadScenario(document.tree(), request.vars, /*must_assert=*/false);
  for (const Mistake& mistake : loaded.mistakes) hand.mistakes.push_back(document.InFlags(mistake));
  if (!hand.mistakes.empty()) return hand;

  hand.scenario = loaded.scenario;
  Prune(hand.scenario, Target(hand.scenario, *request.kind));
  for (const Service& service : hand.scenario.services()) {
    if (service.run().empty()) continue;
    hand.mistakes.push_back(absl::StrCat(
        "service ", Quoted(service.name()), ": the file would run it, and by hand squall only attaches to what is running; ",
        "say which process it is: --listen PORT, --pid N, --command TEXT or --cgroup PATH"));
  }
  return hand;
}

std::string HandExample(const FieldDescriptor& kind) {
  std::string example = absl::StrCat("squall inject ", YamlName(kind), " --listen 8080");
  const auto add = [&](const HandFlag& flag) {
    std::string value = ExampleValue(*flag.field);
    if (absl::StartsWith(value, "[")) value = value.substr(1, value.find_first_of(",]") - 1);
    absl::StrAppend(&example, " --", flag.name, " ", absl::StrReplaceAll(value, {{"\"", ""}}));
  };
  const auto is_chosen = [](const FieldDescriptor& field) {
    const google::protobuf::OneofDescriptor* oneof = field.real_containing_oneof();
    return oneof != nullptr && MustChooseOne(*oneof) && oneof->field(0) == &field;
  };
  // Where, what, and for how long.
  for (const HandFlag& flag : HandFlags(kind)) {
    if (flag.of == HandFlag::kEdge && RulesOf(*flag.field).required()) add(flag);
  }
  for (const HandFlag& flag : HandFlags(kind)) {
    const FieldRules& field_rules = RulesOf(*flag.field);
    if (flag.of == HandFlag::kFault && (field_rules.required() || field_rules.shown() || is_chosen(*flag.field))) add(flag);
  }
  for (const HandFlag& flag : HandFlags(kind)) {
    // A kill is the one fault that happens at an instant.
    if (flag.of == HandFlag::kTiming && kind.number() != Fault::kKillFieldNumber) add(flag);
  }
  return example;
}

}  // namespace squall
